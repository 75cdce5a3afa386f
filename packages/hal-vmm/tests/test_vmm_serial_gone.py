"""A serial port that vanishes under a running product: what QEMU makes of it. A pseudo-terminal stands for the port."""

from __future__ import annotations

import os
import pty
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal_core.qmp_once import Once
from hal_vmm.launch.options import keyval

pytestmark = pytest.mark.component

BINARY = shutil.which("qemu-system-x86_64") or ""
_COM1 = 0x3F8
_STATUS = _COM1 + 5


@pytest.fixture
def product() -> Iterator[tuple[Once, int, subprocess.Popen[bytes]]]:
    """A QEMU with the port as hal-vmm gives it, and the end of the cable."""
    cable, port = pty.openpty()
    ours, theirs = socket.socketpair()
    fd = os.open(os.ttyname(port), os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
    os.close(port)
    argv = [BINARY, "-machine", "pc,accel=tcg", "-nodefaults", "-no-user-config", "-display", "none", "-m", "16", "-S"]
    argv += ["-add-fd", f"fd={fd},set={fd}", "-chardev", keyval("serial", id="com1", path=f"/dev/fdset/{fd}")]
    argv += ["-device", "isa-serial,id=serial0,chardev=com1,index=0"]
    argv += ["-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "chardev=qmp,mode=control"]
    with subprocess.Popen(argv, pass_fds=(fd, theirs.fileno()), stdin=subprocess.DEVNULL) as process:
        os.close(fd)
        theirs.close()
        with Once.over(ours, 30.0) as qmp:
            yield qmp, cable, process
        process.kill()


def says(qmp: Once, text: bytes) -> None:
    """The product writes to its port."""
    for byte in text:
        qmp.execute("human-monitor-command", {"command-line": f"o /b {_COM1:#x} {byte}"})


def seconds(process: subprocess.Popen[bytes]) -> float:
    """Processor time that it has used so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not BINARY, reason="QEMU is not installed")
def test_the_product_lives_on_with_a_port_that_leads_nowhere(
    product: tuple[Once, int, subprocess.Popen[bytes]],
) -> None:
    qmp, cable, process = product
    says(qmp, b"before")
    assert os.read(cable, 100) == b"before"
    os.close(cable)  # the adapter is pulled out: reading gives EOF or EIO from now on
    before = seconds(process)
    for _ in range(20):
        says(qmp, b"into the void, more than its queue holds")
    ready: object = qmp.execute("human-monitor-command", {"command-line": f"i /b {_STATUS:#x}"})
    assert int(str(ready).split("=")[1], 16) & 0x20, "its driver would wait for ever for the port to take more"
    assert qmp.execute("query-status", {})["running"] is False  # it was never started, and is still there
    assert process.poll() is None
    assert seconds(process) - before < 5, "it looks at the dead port all the time"
