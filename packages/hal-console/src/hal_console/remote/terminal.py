"""Somebody's own terminal, over ssh or wherever: raw while it is attached, and as it was afterwards."""

from __future__ import annotations

import contextlib
import os
import termios
import tty
from collections.abc import Iterator

from hal_core.errors import HostError

STDIN, STDOUT = 0, 1
DETACH_HINT = "detach: Ctrl+]"
_LONGEST = 1 << 12  # bytes of typing that are read at once: a paste


@contextlib.contextmanager
def raw() -> Iterator[None]:
    """Standard input without echo, editing and signals.

    :raise HostError: it is no terminal.
    """
    try:
        before = termios.tcgetattr(STDIN)
    except termios.error:
        raise HostError("standard input is no terminal", "over ssh: ssh -t SERVER hal console --attach") from None
    try:
        tty.setraw(STDIN)
        yield
    finally:
        termios.tcsetattr(STDIN, termios.TCSADRAIN, before)


def size() -> tuple[int, int]:
    """Columns and lines; a PC's where the terminal does not know, as at the end of a serial cable (tty_ioctl(4))."""
    columns, lines = os.get_terminal_size(STDOUT)
    return columns or 80, lines or 25


def read() -> bytes:
    """What was typed; b"" when the terminal is gone."""
    return os.read(STDIN, _LONGEST)


def write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(STDOUT, view) :]
