"""A product under HAL, in a directory of its own: HAL's launcher and guest manager as an installed host runs them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Optional

from benchmarks.measure import BenchError
from benchmarks.watch import Lines, await_exit
from hal_vmm.commands.status import collect
from hal_vmm.manager.markers import Markers
from hal_vmm.manager.qemulock import running_pid
from hal_vmm.testing.product import private_environment
from productos import ProductOs

PATIENCE = 60.0  # seconds

CONFIG = """
[vmm.crash]
backoff = 0
limit = 100
dump = false
"""


def program(name: str) -> str:
    """One of HAL's programs, as installed beside the interpreter that runs this."""
    return os.path.join(os.path.dirname(sys.executable), name)


class HalProduct:
    """:param base: an empty directory. :param run_dir: another one, in memory. :param user: QEMU's; "" is us."""

    def __init__(
        self, base: Path, run_dir: Path, product: ProductOs, port: str, user: str, extra: tuple[str, ...]
    ) -> None:
        self.run_dir = run_dir
        self.environment = private_environment(base, run_dir)
        (base / "etc").mkdir(parents=True)
        (base / "etc" / "hal.toml").write_text(product.config(user, port) + CONFIG)
        self._manager: Optional[subprocess.Popen[bytes]] = None
        self.log: Optional[Lines] = None
        self._markers = Markers(str(self.run_dir))
        self._apply(extra)

    def _apply(self, extra: tuple[str, ...]) -> None:
        """Compile the launch plan, with some options more: the bench's own monitor."""
        done = subprocess.run(
            [program("hal-vmm"), "apply"], env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BenchError(f"hal-vmm apply: {done.stderr.strip()}")
        plan = self.plan
        plan["argv"] += extra
        self.plan_path.write_text(json.dumps(plan, indent=1))

    @property
    def plan_path(self) -> Path:
        return self.run_dir / "qemu.json"

    @property
    def plan(self) -> dict[str, Any]:
        """The compiled launch plan."""
        plan: dict[str, Any] = json.loads(self.plan_path.read_text())
        return plan

    # --- what is --------------------------------------------------------------------------------------------------

    @property
    def manager_pid(self) -> int:
        if self._manager is None:
            raise BenchError("the guest manager does not run")
        return self._manager.pid

    @property
    def qemu_pid(self) -> int:
        """:raise BenchError: there is none."""
        pid = running_pid(str(self.run_dir))
        if pid is None:
            raise BenchError("the product does not run")
        return pid

    @property
    def status(self) -> dict[str, Any]:
        return collect(str(self.run_dir), time.monotonic())

    def wait(self, what: Callable[[], object], explain: str) -> None:
        """Wait until ``what`` is true, between measurements.

        :raise BenchError: it was not in time.
        """
        deadline = time.monotonic() + PATIENCE
        while not what():
            if time.monotonic() > deadline:
                raise BenchError(f"{explain}: not within {PATIENCE:.0f} s; status: {self.status}")
            select.select([], [], [], 0.02)

    def wait_state(self, state: str) -> None:
        self.wait(lambda: self.status["state"] == state, f"state {state}")

    # --- what is done ---------------------------------------------------------------------------------------------

    def start_manager(self, stopped: bool) -> None:
        """:param stopped: it is not to start the product yet."""
        if stopped:
            self._markers.set_stopped(None)
        self._manager = subprocess.Popen(
            [program("hal-vmm"), "run", "--announce", "--child"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        if self._manager.stderr is None:
            raise BenchError("the guest manager has no standard error")
        self.log = Lines(self._manager.stderr.fileno())
        if stopped:
            self.wait_state("stopped")

    def launch(self) -> None:
        """What hal-qemu.service does: run the launcher; return when it says that it is ready."""
        address = str(self.run_dir / "ready.sock")
        Path(address).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(address)
            ready.settimeout(PATIENCE)
            launcher = program("hal-qemu-launch")
            log = os.open(self.run_dir / "qemu.log", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.posix_spawn(
                launcher,
                [launcher, str(self.plan_path)],
                {**self.environment, "NOTIFY_SOCKET": address},
                file_actions=[(os.POSIX_SPAWN_DUP2, log, number) for number in (1, 2)],
            )
            os.close(log)
            ready.recv(64)

    def allow_start(self) -> None:
        """What ``hal vmm start`` does, without a program for it: the rest is the manager and the launcher."""
        self._markers.clear_stopped()

    def ask_to_start(self) -> subprocess.Popen[bytes]:
        """``hal vmm start``, not waited for."""
        null = subprocess.DEVNULL
        command = [program("hal"), "vmm", "start"]
        return subprocess.Popen(command, env=self.environment, stdin=null, stdout=null)

    def stop(self) -> None:
        """End QEMU at once; the manager, if it runs, leaves it at that."""
        pid = running_pid(str(self.run_dir))
        self._markers.set_stopped(pid)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            await_exit(pid, PATIENCE)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        if self._manager:
            self.wait_state("stopped")

    def end(self) -> None:
        """End everything of it, and forget the run: the next one is the first since boot."""
        if self._manager:
            self._manager.kill()
            self._manager.wait()
            if self._manager.stderr:
                self._manager.stderr.close()
            self._manager = None
        self.stop()
        self._markers.clear_stopped()
        (self.run_dir / "vmm" / "state.json").unlink(missing_ok=True)
