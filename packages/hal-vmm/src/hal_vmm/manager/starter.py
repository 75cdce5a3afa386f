"""Starting QEMU: through systemd's unit, or as a child where there is no systemd. The launcher is the same."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import sys
from typing import Protocol

from hal_core import notify
from hal_core.errors import HostError

logger = logging.getLogger(__name__)

UNIT = "hal-qemu.service"
PLAN_UNIT = "hal-qemu-plan.service"
_PRIORITY = re.compile("^<[0-7]>")  # sd-daemon(3); nobody but us reads it here
READY_SECONDS = 30.0  # opening devices takes milliseconds; a disk that must spin up first may take its time


class Starter(Protocol):
    async def plan(self) -> None:
        """Compile the plan anew, for the hardware that is there now: `hal-vmm apply`, as a process of its own.

        It is not imported: the resident would carry the whole planner for the rest of its life.

        :raise HostError: it failed; the message says why, or where to read it.
        """

    async def start(self) -> None:
        """Return when the launcher has opened everything and is about to become QEMU.

        :raise HostError: it could not; the message says why, or where to read it.
        """

    def last_words(self) -> str:
        """What QEMU said before it gave up, in one line, or where to read it; "" if it said nothing."""


class UnitStarter:
    """hal-qemu.service: it is of Type=notify, so `systemctl start` returns when the launcher says that it is ready.

    Planning has a unit, too: it may do what the guest manager may not (huge pages, /dev/kvm).
    """

    async def plan(self) -> None:
        await _run("systemctl", "restart", PLAN_UNIT, hint=f"see: journalctl -b -u {PLAN_UNIT}")

    async def start(self) -> None:
        await _run("systemctl", "start", UNIT, hint=self.last_words())

    def last_words(self) -> str:
        return f"see: journalctl -b -u {UNIT}"


class ChildStarter:
    """The launcher as a process of its own session, which outlives the guest manager as the unit does."""

    def __init__(self, run_dir: str) -> None:
        self._run_dir = run_dir
        self._log = os.path.join(run_dir, "qemu.log")

    async def plan(self) -> None:
        await _run(find_command("hal-vmm"), "apply", hint="try: hal-vmm apply")

    async def start(self) -> None:
        address = os.path.join(self._run_dir, "vmm", "ready.sock")
        with _ready_socket(address) as ready:
            pid = self._spawn(address)
            await self._await_ready(ready, pid)

    def last_words(self) -> str:
        with open(self._log, encoding="utf-8", errors="replace") as file:
            lines = [_PRIORITY.sub("", line.strip()) for line in file if line.strip()]
        said = [line for line in lines if ": hint: " not in line]
        return said[-1] if said else ""

    def _spawn(self, notify_socket: str) -> int:
        launcher = find_command("hal-qemu-launch")
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.posix_spawn(
                launcher,
                [launcher, os.path.join(self._run_dir, "qemu.json")],
                {**os.environ, "NOTIFY_SOCKET": notify_socket},
                setsid=True,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, null, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
            )
        finally:
            os.close(log)
            os.close(null)

    async def _await_ready(self, ready: socket.socket, pid: int) -> None:
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        pidfd = os.pidfd_open(pid)
        loop.add_reader(ready.fileno(), done.set)
        loop.add_reader(pidfd, done.set)
        try:
            await asyncio.wait_for(done.wait(), READY_SECONDS)
        except asyncio.TimeoutError:
            os.kill(pid, 9)
            raise HostError(f"the launcher was not ready after {READY_SECONDS:.0f} s: {self.last_words()}") from None
        finally:
            loop.remove_reader(ready.fileno())
            loop.remove_reader(pidfd)
            os.close(pidfd)
        # A launcher that was ready and has died since is an ended run; one that was never ready did not start.
        try:
            ready.recv(64)
        except BlockingIOError:
            os.waitpid(pid, 0)
            raise HostError(self.last_words() or "the launcher ended without a word") from None


def _ready_socket(address: str) -> socket.socket:
    os.makedirs(os.path.dirname(address), exist_ok=True)
    if os.path.exists(address):
        os.unlink(address)
    ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    ready.bind(address)
    return ready


def find_command(name: str) -> str:
    """One of HAL's own programs: beside the running one, in libexec, or on the path.

    :raise HostError: it is not installed.
    """
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), name)
    for path in (beside, f"/usr/libexec/hal/{name}"):
        if os.access(path, os.X_OK):
            return path
    import shutil  # never needed where HAL is installed, and its compression libraries would stay in memory for ever

    found = shutil.which(name)
    if not found:
        raise HostError(f"{name} is not installed", "reinstall hal-vmm")
    return found


async def _run(*command: str, hint: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=notify.environment_of_children(),
    )
    _, errors = await process.communicate()
    if process.returncode:
        lines = errors.decode(errors="replace").strip().splitlines()
        raise HostError(lines[0] if lines else f"{' '.join(command)} failed", hint)
