"""``hal-vmm stop``: end the product as politely as it lets us; the host goes on."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time

from hal_core import arguments, config, guestagent, paths
from hal_core.errors import HalError, HostError, QmpDisconnected, QmpTimeout
from hal_core.notify import notify
from hal_core.qmp_once import Once
from hal_vmm.config import StopConfig, VmmConfig
from hal_vmm.manager.markers import Markers
from hal_vmm.manager.qemulock import running_pid

ASK_SECONDS = 5.0  # for the agent to take the request
PRESS_EVERY = 10.0  # seconds: a product that boots loses a press of the power button, so it is pressed again
QUIT_SECONDS = 5.0
RETRY_SECONDS = 1.0  # between two attempts to get hold of QEMU's socket

USAGE = """\
usage: hal-vmm stop [--force] [--if-running]

End the product; the host goes on. The product is asked through its guest agent, then by the ACPI power button, then it
is ended by force; hal.toml(5), [vmm.stop], has the deadlines. Start it again with: hal vmm start

options:
  --force       do not ask the product first, as if the power cord were pulled
  --if-running  do nothing if it does not run (hal-qemu.service's ExecStop, which systemd also runs when QEMU has ended)
"""


def main(argv: list[str]) -> int:
    """Stop the product and say how it ended.

    :raise HalError: it could not be stopped.
    """
    given = arguments.parse("hal-vmm stop", argv, {"--force", "--if-running"}, ())
    if "help" in given:
        sys.stdout.write(USAGE)
        return 0
    deadlines = config.load(VmmConfig, "vmm").stop
    run_dir = paths.run_dir()
    pid = running_pid(run_dir)
    if pid is None and "if-running" in given:
        return 0
    Markers(run_dir).set_stopped(pid)
    if pid is None:
        print("the product is not running; it will not be started until: hal vmm start")
        return 0
    begun = time.monotonic()
    _ask_for_time(deadlines)
    how = end(run_dir, pid, deadlines, "force" in given)
    print(f"the product has ended ({how}, {time.monotonic() - begun:.0f} s)")
    return 0


def end(run_dir: str, pid: int, deadlines: StopConfig, force: bool) -> str:
    """Bring QEMU ``pid`` to its end; how that was done.

    :raise HostError: not even SIGKILL ended it: it hangs in the kernel.
    """
    how = "it ended by itself"
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return how
    try:
        try:
            patience = 0.0 if force else deadlines.agent + deadlines.acpi
            with _connect(os.path.join(run_dir, "qmp", "cli"), pidfd, patience) as qmp:
                how = "by force" if force else _ask(run_dir, qmp, deadlines)
                qmp.execute("quit")
        except QmpDisconnected as error:
            _say(f"QEMU has gone: {error.message}")
        except QmpTimeout as error:
            _say(f"QEMU does not answer, killing it: {error.message}")
            how = "killed, QEMU did not answer"
            _kill(pidfd)
        if not _ended(pidfd, QUIT_SECONDS):
            how = "killed, QEMU did not quit"
            _kill(pidfd)
            if not _ended(pidfd, QUIT_SECONDS):
                raise HostError(f"QEMU, pid {pid}, does not end", "it waits in the kernel, for a disk? see: dmesg")
        return how
    finally:
        os.close(pidfd)


def _connect(path: str, pidfd: int, patience: float) -> Once:
    """QEMU's socket serves one client: another command there is waited for, since it does not mean that QEMU hangs.

    :raise QmpTimeout: not even after ``patience`` seconds.
    """
    until = time.monotonic() + patience
    told = False
    while True:
        try:
            qmp = Once(path)
            qmp.deadline = max(qmp.deadline, patience)  # a QEMU that waits for a disk is late, not dead
            return qmp
        except QmpTimeout as error:
            left = until - time.monotonic()
            if left <= 0:
                raise
            if not told:
                _say(f"waiting up to {left:.0f} s: {error.message}")
                told = True
            _ended(pidfd, min(RETRY_SECONDS, left))  # or until QEMU ends: then the next attempt says so


def _ask(run_dir: str, qmp: Once, deadlines: StopConfig) -> str:
    """Ask the product to end and wait for it; in what way it was made to."""
    status = qmp.execute("query-status")["status"]
    if status not in ("running", "io-error", "suspended"):
        return f"it was not running: {status}"
    if deadlines.agent:
        try:
            guestagent.shutdown(os.path.join(run_dir, "agent.sock"), "powerdown", ASK_SECONDS)
        except HalError as error:
            _say(f"no guest agent: {error.message}")
        else:
            _say(f"the guest agent has been asked; waiting up to {deadlines.agent} s")
            if _has_shut_down(qmp, deadlines.agent):
                return "guest agent"
    until = time.monotonic() + deadlines.acpi
    if deadlines.acpi:
        _say(f"pressing the ACPI power button; waiting up to {deadlines.acpi} s")
    while (left := until - time.monotonic()) > 0:
        qmp.execute("system_powerdown")
        if _has_shut_down(qmp, min(PRESS_EVERY, left)):
            return "ACPI power button"
    _say("the product did not end by itself")
    return "by force"


def _has_shut_down(qmp: Once, seconds: float) -> bool:
    try:
        qmp.wait_event(("SHUTDOWN",), seconds)
    except QmpTimeout:
        return False
    return True


def _ended(pidfd: int, seconds: float) -> bool:
    """Whether the process has ended; waits for it (pidfd_open(2): readable at the end)."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _kill(pidfd: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def _ask_for_time(deadlines: StopConfig) -> None:
    """As hal-qemu.service's ExecStop=: hal.toml's deadlines count, not the unit's TimeoutStopSec= (sd_notify(3)).

    Waiting for QEMU's socket may take as long as both deadlines together, and asking then takes them again.
    """
    seconds = 2 * (deadlines.agent + deadlines.acpi) + 30
    try:
        notify(f"EXTEND_TIMEOUT_USEC={seconds * 1_000_000}")
    except OSError as error:
        _say(f"the service manager could not be asked for {seconds} s: {error.strerror}")


def _say(text: str) -> None:
    sys.stderr.write(f"hal-vmm stop: {text}\n")
