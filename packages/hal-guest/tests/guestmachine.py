"""What the tests of hal-guest have in common: made-up machines, and hal-heartbeat running on one of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional

import pytest

PACKAGE = Path(__file__).resolve().parents[1]
HEARTBEAT = PACKAGE / "sbin/hal-heartbeat"
PATIENCE = 20.0  # seconds: for what takes a moment, on a busy machine

SHELLS = [["dash"], ["bash", "--posix"], ["busybox", "ash"]]
PRESENT = [shell for shell in SHELLS if shutil.which(shell[0])] or [["sh"]]
# busybox finds its own sleep first, which no fake can hurry.
SLOW = ["busybox"]

in_every_shell = pytest.mark.parametrize(
    "shell",
    [pytest.param(shell, id=shell[0], marks=[pytest.mark.component] * (shell[0] in SLOW)) for shell in PRESENT],
)

VIRTIO_SERIAL, QEMU_VGA = "1af41003", "12341111"
COM4_LINE = "3: uart:16550A port:000002E8 irq:3 tx:0 rx:0"
PORT = "dev/virtio-ports/hal.heartbeat.0"

# A fake of sleep(1) that makes a second last a tenth of one.
HURRIED_SLEEP = '#!/bin/sh\nexec /bin/sleep "$(($1 / 10)).$(($1 % 10))"\n'


def make_machine(root: Path, *pci: str, serial: str = "", config: str = "INTERVAL=1\n") -> Path:
    """A product's / with what hal-heartbeat looks at.

    :param pci: vendor and device numbers. :param serial: lines of the serial driver about its ports.
    """
    for directory in ("proc/bus/pci", "proc/tty/driver", "sys/class/virtio-ports", "dev/virtio-ports", "etc/sysconfig"):
        (root / directory).mkdir(parents=True)
    lines = (f"{slot:02x}00\t{device}\tb\t{' 0' * 14}\tdriver\n" for slot, device in enumerate(pci))
    (root / "proc/bus/pci/devices").write_text("".join(lines))
    (root / "proc/tty/driver/serial").write_text(f"serinfo:1.0 driver revision:\n{serial}\n")
    (root / "etc/sysconfig/hal-heartbeat").write_text(config)
    return root


def add_fake(directory: Path, name: str, script: str) -> None:
    """A fake of a system's program, for :class:`Running`."""
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(script)
    (directory / name).chmod(0o755)


def wait_for(condition: Callable[[], object], explain: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.01)


def processes(field: int, value: int) -> set[int]:
    """Those whose field of /proc/PID/stat (proc_pid_stat(5)) has this value; zombies are none any more."""
    found = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it has just ended
            if entry.name.isdigit():
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z" and int(fields[field - 3]) == value:
                    found.add(int(entry.name))
    return found


class Running:
    """A hal-heartbeat, in a session of its own."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> list[str]:
        return self._log.read_text().splitlines()

    def await_log(self, text: str, times: int = 1) -> None:
        wait_for(
            lambda: sum(text in line for line in self.log) >= times,
            lambda: f"{text!r} was not said {times} times: {self.log}",
        )

    @property
    def children(self) -> set[int]:
        return processes(4, self.process.pid)

    @property
    def session(self) -> set[int]:
        return processes(6, self.process.pid)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Its exit status, by a signal that it has to answer at once; nothing of it is left."""
        begun = time.monotonic()
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE)
        assert time.monotonic() - begun < 2
        wait_for(lambda: not self.session, lambda: f"left over: {self.session}")
        return status


@contextlib.contextmanager
def running(
    shell: list[str], machine: Path, *options: str, fakes: Optional[Path] = None, log: str = "log"
) -> Iterator[Running]:
    """:param fakes: a directory with programs that are found before the system's."""
    path = machine / log
    with path.open("wb") as stream:
        process = subprocess.Popen(
            [*shell, str(HEARTBEAT), "--root", str(machine), *options],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env={"PATH": f"{fakes}:/usr/sbin:/usr/bin:/sbin:/bin" if fakes else "/usr/sbin:/usr/bin:/sbin:/bin"},
            start_new_session=True,
        )
    try:
        yield Running(process, path)
    finally:
        for pid in processes(6, process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
