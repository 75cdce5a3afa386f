"""A serial port of a simulated server, and what a person at its terminal does: read, wait for something, type.

A thread reads all the time, because QEMU drops what nobody takes. What came is kept as lines, without the escape
sequences that only a real terminal has a use for; an unfinished line, such as a prompt, is the last one.
"""

from __future__ import annotations

import codecs
import re
import socket
import threading
import time
from typing import Optional

from lab.errors import LabError

_PROMPT = "product# "
_SHOWN = 20  # lines, when something did not come

# ECMA-48 control sequences, the shorter escape sequences of a VT100, and what moves only the cursor or rings the bell.
_NOT_TEXT = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[()][0-9A-B]|\x1b[0-Z\\^-~]|[\r\x07\x00]")
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[()])?\Z")


class SerialConsole:
    """One serial port; it keeps its text over all the times that the server is switched on.

    :param name: for messages
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._changed = threading.Condition()
        self._lines = [""]
        self._seen = (0, 0)  # line and column where the last match ended
        self._socket: Optional[socket.socket] = None
        self._thread = threading.Thread()
        self._open = False

    def attach(self, stream: socket.socket) -> None:
        """Read from, and write to, this socket; it is closed with :meth:`detach`."""
        self._socket = stream
        self._open = True
        self._thread = threading.Thread(target=self._read, args=(stream,), name=self.name, daemon=True)
        self._thread.start()

    def detach(self) -> None:
        """Hang up. What was read is kept."""
        if self._socket is not None:
            stream, self._socket = self._socket, None
            stream.shutdown(socket.SHUT_RDWR)
            self._thread.join()
            stream.close()

    @property
    def text(self) -> str:
        """All that came."""
        with self._changed:
            return "\n".join(self._lines)

    def send(self, text: str) -> None:
        """Type this; a terminal's Return key is a carriage return.

        :raise LabError: the server is off
        """
        try:
            if self._socket is None:
                raise BrokenPipeError
            self._socket.sendall(text.encode())
        except OSError:
            raise LabError(f"{self.name}: cannot type {text!r}: the server is off") from None

    def expect(self, pattern: str, seconds: float = 60.0) -> re.Match[str]:
        """Wait for a regular expression to match within one line, after the last match.

        :raise LabError: it did not in time, or the server went off; with the last lines that came
        """
        return self._expect(re.compile(pattern), seconds)[1]

    def run(self, command: str, seconds: float = 60.0) -> str:
        """Give the product's command line, which has been waiting with its prompt, a command; what it answered.

        :raise LabError: no new prompt came
        """
        with self._changed:
            self._seen = (len(self._lines) - 1, len(self._lines[-1]))
        self.send(command + "\r")
        begin, _ = self._expect(re.compile(re.escape(command)), seconds)  # its echo
        end, match = self._expect(re.compile(re.escape(_PROMPT)), seconds)
        with self._changed:
            return "\n".join([*self._lines[begin + 1 : end], self._lines[end][: match.start()]]).rstrip("\n")

    def _expect(self, pattern: re.Pattern[str], seconds: float) -> tuple[int, re.Match[str]]:
        """The number of the line, and the match in it."""
        until = time.monotonic() + seconds
        with self._changed:
            line, column = self._seen
            while True:
                match = pattern.search(self._lines[line], column)
                if match:
                    self._seen = (line, match.end())
                    return line, match
                if line < len(self._lines) - 1:
                    line, column = line + 1, 0
                elif not self._open:
                    raise self._missed(pattern, "before the server went off")
                elif (left := until - time.monotonic()) > 0:
                    self._changed.wait(left)
                else:
                    raise self._missed(pattern, f"within {seconds:g} s")

    def _missed(self, pattern: re.Pattern[str], when: str) -> LabError:
        last = "\n".join(self._lines[-_SHOWN:])
        return LabError(f"{self.name}: {pattern.pattern!r} did not come {when}; the last lines are:\n{last}")

    def _read(self, stream: socket.socket) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        while True:
            try:
                data = stream.recv(1 << 16)
            except ConnectionResetError:  # QEMU was killed with something of ours unread
                data = b""
            text = rest + decoder.decode(data)
            unfinished = _UNFINISHED.search(text)
            rest = unfinished.group() if unfinished else ""
            with self._changed:
                first, *more = _NOT_TEXT.sub("", text[: len(text) - len(rest)]).split("\n")
                self._lines[-1] += first
                self._lines += more
                self._open = bool(data)
                self._changed.notify_all()
            if not data:
                return
