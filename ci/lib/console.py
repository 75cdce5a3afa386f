"""The serial console of the demo's product: a pseudo-terminal that plays the server's serial port."""

from __future__ import annotations

import os
import pty
import re
import select
import threading
import time
import tty

_CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Console:
    """The host's end of the line: what the product prints is collected, and shown while ``live``."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        os.close(slave)  # a serial port that somebody else holds is not given to the product
        self.live = False
        self._lines: list[str] = []
        self._news = threading.Condition()
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self) -> None:
        rest = b""
        while True:
            try:
                chunk = os.read(self._master, 4096)
            except OSError:  # EIO: nobody has the port open; a QEMU that is started again will
                select.select([], [], [], 0.05)
                continue
            *lines, rest = (rest + chunk).split(b"\n")
            with self._news:
                for raw in lines:
                    line = _CONTROL.sub(b"", raw).decode(errors="replace").rstrip()
                    self._lines.append(line)
                    if self.live and line:
                        print(f"    │ {line}", flush=True)
                self._news.notify_all()

    def mark(self) -> int:
        """A place in the output, for :meth:`wait_for`."""
        with self._news:
            return len(self._lines)

    def wait_for(self, text: str, since: int, seconds: float) -> bool:
        """Whether a line with ``text`` appears after ``since`` within some seconds."""
        deadline = time.monotonic() + seconds
        with self._news:
            while not any(text in line for line in self._lines[since:]):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._news.wait(left)
        return True

    def type(self, text: str) -> None:
        os.write(self._master, text.encode() + b"\n")
