"""A fake virtual terminal: what the resident does to it is written down, and keys are put in by hand."""

from __future__ import annotations

import os
import socket

from hal_console.terminal.vt import Terminal


class FakeTerminal(Terminal):
    """:ivar keyboard: what is written there, the resident reads. :ivar done: what it has done, in order."""

    name = "/dev/fake"
    number = 1
    in_front = True  # at first; afterwards the signals say it

    def __init__(self, columns: int = 80, lines: int = 25) -> None:
        self.keyboard, self._ours = socket.socketpair()
        super().__init__(self._ours.fileno())
        self.done: list[str] = []
        self.said = b""
        self.lamp_state = 0
        self._size = os.terminal_size((columns, lines))

    def close(self) -> None:
        self.keyboard.close()
        self._ours.close()

    def take(self, release_signal: int, acquire_signal: int) -> None:
        self.done.append("take")

    def restore(self) -> None:
        self.done.append("restore")

    def graphics(self, wanted: bool) -> None:
        if wanted != self._graphics:
            self._graphics = wanted
            self.done.append("graphics" if wanted else "text")

    def size(self) -> os.terminal_size:
        return self._size

    def let_go(self) -> None:
        self.done.append("let go")

    def taken_back(self) -> None:
        self.done.append("taken back")

    def switch_to(self, number: int) -> None:
        self.done.append(f"switch to {number}")

    def lamps(self, state: int) -> None:
        self.lamp_state = state

    def tone(self, hertz: int) -> None:
        self.done.append(f"{hertz} Hz")

    def write(self, data: bytes) -> None:
        self.said = data if data.startswith(b"\033c") else self.said + data
