"""`hal console --attach` in a real terminal, a pseudo-terminal, with a real QEMU; and a serial port's mirror."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from hal_console.testing import guests, qemu

pytestmark = [pytest.mark.component, pytest.mark.skipif(not qemu.find(), reason="no QEMU is installed")]
PATIENCE = 60.0
PROGRAM = "import sys; sys.argv[0] = 'hal-console'; from hal_console.main import run; sys.exit(run())"


class Attached:
    """The program, and the other end of its terminal."""

    def __init__(self, run_dir: Path, arguments: Sequence[str], size: tuple[int, int]) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "HAL_RUN_DIR": str(run_dir)},
        )
        os.close(slave)
        self.said = b""

    def until(self, text: bytes) -> None:
        """Read until it has said this."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.said:
            left = deadline - time.monotonic()
            assert left > 0, self.said
            if select.select([self.master], [], [], left)[0]:
                self.said += os.read(self.master, 65536)

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@contextlib.contextmanager
def attached(run_dir: Path, *arguments: str, size: tuple[int, int] = (25, 80)) -> Iterator[Attached]:
    """:param size: lines and columns."""
    one = Attached(run_dir, arguments, size)
    try:
        yield one
    finally:
        one.close()


def test_the_screen_typing_and_the_next_product(tmp_path: Path) -> None:
    with attached(tmp_path, "--attach") as one:
        one.until(b"[the product does not run; waiting for it; detach: Ctrl+]]")
        with qemu.running(tmp_path, guests.ECHO):
            one.until(b"SeaBIOS (version ")
            one.until(b"Booting from Hard Disk")
            one.said = b""
            one.type(b"Hello!")
            one.until(b"Hello!")
        (tmp_path / "qmp" / "cli").unlink()
        one.said = b""
        one.until(b"waiting for it")
        with qemu.running(tmp_path, guests.ECHO):
            one.until(b"SeaBIOS (version ")
            one.type(b"\x1d")
            assert one.process.wait(PATIENCE) == 0


def test_a_terminal_that_does_not_know_its_size_shows_a_pcs_screen(tmp_path: Path) -> None:
    """As at the end of a serial cable."""
    with qemu.running(tmp_path, guests.ECHO), attached(tmp_path, "--attach", size=(0, 0)) as one:
        one.until(b"Booting from Hard Disk")
        one.said = b""
        one.type(b"Hello!")
        one.until(b"Hello!")


def test_the_terminal_is_as_it_was(tmp_path: Path) -> None:
    with attached(tmp_path, "attach") as one:
        one.until(b"waiting for it")
        assert not termios.tcgetattr(one.master)[3] & termios.ECHO
        one.type(b"\x1d")
        assert one.process.wait(PATIENCE) == 0
        assert termios.tcgetattr(one.master)[3] & termios.ECHO


def test_a_serial_port_is_mirrored_and_typed_to(tmp_path: Path) -> None:
    """The port is a pseudo-terminal: what is typed comes out of it as if it had come over the line."""
    cable, port = pty.openpty()
    try:
        plan = {"serial": [{"host": os.ttyname(port), "index": 0, "present": True}]}
        (tmp_path / "plan.json").write_text(json.dumps(plan))
        (tmp_path / "events").mkdir()
        log = tmp_path / "events" / "com1.log"
        log.write_bytes(b"said long ago".ljust(1 << 15, b".") + b"login: ")
        attributes = termios.tcgetattr(port)
        attributes[3] &= ~(termios.ICANON | termios.ECHO)
        termios.tcsetattr(port, termios.TCSANOW, attributes)
        with attached(tmp_path, "attach", "--serial", "com1") as one:
            one.until(b"login: ")
            assert one.said.count(b".") == (1 << 14) - len(b"login: "), "the last 16 KiB"
            with log.open("ab") as file:
                file.write(b"Password: ")
            one.until(b"Password: ")
            one.type(b"root")
            assert select.select([port], [], [], PATIENCE)[0], one.said
            got = b""
            while len(got) < 4:
                got += os.read(port, 4)
            assert got == b"root"
            one.type(b"\x1d")
            assert one.process.wait(PATIENCE) == 0
    finally:
        os.close(cable)
        os.close(port)
