"""A root shell in the HAL host: through the QEMU guest agent, which needs no network, no login and no console.

The agent's channel is a virtio serial port. What is sent while no agent listens (the host boots) waits there, and what
was sent before a reset may be lost or answered late. So every conversation begins with ``guest-sync-delimited`` and a
new number (QEMU's qga/qapi-schema.json): what comes before the answer with that number belongs to nobody.
"""

from __future__ import annotations

import base64
import itertools
import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from lab.errors import LabError
from lab.simulator import sockets

_AGAIN = 2.0  # seconds: a question that a booting host lost is asked again
_ANSWER = 60.0  # seconds; the agent itself answers at once, but a simulated server may be slow
_FIRST_POLL, _SLOWEST_POLL = 0.01, 0.5  # seconds
_CHUNK = 1 << 20  # bytes of a file in one message
_SENTINEL = b"\xff"
_NUMBERS = itertools.count(1)


class _Silence(Exception):
    """Nothing came in time."""


class HostShell:
    """Commands, as root, in the host of one simulated server. One thread at a time.

    :param path: the agent's socket
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: Optional[socket.socket] = None
        self._received = bytearray()

    def close(self) -> None:
        """Hang up; the next command connects again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._received.clear()

    def wait_until_up(self, seconds: float) -> None:
        """Return when the agent answers.

        :raise LabError: it does not in that time; the server is off
        """
        until = time.monotonic() + seconds
        while True:
            left = until - time.monotonic()
            try:
                # Most often the first question waits in the port until the agent comes; only a reset loses it.
                return self._synchronize(max(0.0, min(_AGAIN, left)))
            except _Silence:
                if left <= _AGAIN:
                    raise LabError(f"{self._path}: the host's agent did not answer within {seconds:g} s") from None

    def run(self, *argv: str, input: str = "", seconds: float = 60.0) -> str:  # noqa: A002 - as in subprocess
        """Run a program to its end; its standard output.

        :raise LabError: it ended with another status than 0; or as :meth:`ask`
        """
        status, said, complained = self.ask(*argv, input=input, seconds=seconds)
        if status:
            last = " | ".join((complained.strip() or said.strip() or "it said nothing").splitlines()[-5:])
            raise LabError(f"in the host, `{' '.join(argv)}` failed with status {status}: {last}")
        return said

    def ask(self, *argv: str, input: str = "", seconds: float = 60.0) -> tuple[int, str, str]:  # noqa: A002
        """Run a program to its end; its status (negative: the signal that ended it), standard output and error.

        :raise LabError: the host does not answer; there is no such program; it did not end in time, and goes on
        """
        until = time.monotonic() + seconds
        asked: dict[str, object] = {"path": argv[0], "arg": list(argv[1:]), "capture-output": True}
        if input:
            asked["input-data"] = base64.b64encode(input.encode()).decode()
        pid = self._ask("guest-exec", asked)["pid"]
        pause = _FIRST_POLL
        while True:
            # The agent has no events, so it is asked again and again: soon at first, since most commands are short.
            status = self._ask("guest-exec-status", {"pid": pid})
            if status["exited"]:
                break
            if time.monotonic() > until:
                raise LabError(f"in the host, `{' '.join(argv)}` did not end within {seconds:g} s, and still runs")
            time.sleep(pause)
            pause = min(2 * pause, _SLOWEST_POLL)
        said, complained = (_decoded(status.get(key, "")).decode(errors="replace") for key in ("out-data", "err-data"))
        return -status["signal"] if "signal" in status else status["exitcode"], said, complained

    def begin(self, *argv: str) -> None:
        """Start a program, and do not wait for anything: the host may be gone a moment later.

        :raise LabError: as :meth:`ask`
        """
        self._synchronize(_ANSWER)
        self._send("guest-exec", {"path": argv[0], "arg": list(argv[1:])})

    def read(self, path: str) -> str:
        """A text file's content; what is not UTF-8 in it is replaced.

        :raise LabError: it cannot be read
        """
        return self.read_bytes(path).decode(errors="replace")

    def read_bytes(self, path: str) -> bytes:
        """A file's content.

        :raise LabError: it cannot be read
        """
        handle = self._ask("guest-file-open", {"path": path, "mode": "r"})
        content = b""
        while True:
            part = self._ask("guest-file-read", {"handle": handle, "count": _CHUNK})
            content += _decoded(part["buf-b64"])
            if part["eof"]:
                self._ask("guest-file-close", {"handle": handle})
                return content

    def write(self, path: str, data: str | bytes) -> None:
        """Make this a file's whole content.

        :raise LabError: it cannot be written
        """
        content = data.encode() if isinstance(data, str) else data
        handle = self._ask("guest-file-open", {"path": path, "mode": "w"})
        for begin in range(0, len(content), _CHUNK):
            part = base64.b64encode(content[begin : begin + _CHUNK]).decode()
            self._ask("guest-file-write", {"handle": handle, "buf-b64": part})
        self._ask("guest-file-close", {"handle": handle})

    def _ask(self, command: str, arguments: Mapping[str, object]) -> Any:
        """What one of the agent's commands returns."""
        try:
            self._synchronize(_ANSWER)
            self._send(command, arguments)
            reply = self._reply(time.monotonic() + _ANSWER)
        except _Silence:
            raise LabError(f"{self._path}: the host's agent did not answer {command} within {_ANSWER:g} s") from None
        if "return" not in reply:
            what = arguments.get("path", "")
            raise LabError(f"in the host, {command} {what}: {reply.get('error', {}).get('desc', 'no reason given')}")
        return reply["return"]

    def _synchronize(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        number = next(_NUMBERS)
        self._send("guest-sync-delimited", {"id": number}, _SENTINEL)
        while self._reply(until).get("return") != number:
            pass

    def _send(self, command: str, arguments: Mapping[str, object], before: bytes = b"") -> None:
        data = before + json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"
        if self._socket is None:
            self._socket = sockets.connect(self._path)
        try:
            self._socket.settimeout(_ANSWER)
            self._socket.sendall(data)
        except OSError as error:
            raise self._gone(error) from None

    def _reply(self, until: float) -> dict[str, Any]:
        """The next line that is a JSON object: after a reset, half a line may be in the way."""
        while True:
            line, end, rest = self._received.partition(b"\n")
            if end:
                self._received = rest
                try:
                    reply = json.loads(line.rpartition(_SENTINEL)[2])
                except ValueError:
                    continue
                if isinstance(reply, dict):
                    return reply
            else:
                self._receive(until)

    def _receive(self, until: float) -> None:
        left = until - time.monotonic()
        if self._socket is None or left <= 0:
            raise _Silence
        try:
            self._socket.settimeout(left)
            data = self._socket.recv(1 << 16)
        except socket.timeout:
            raise _Silence from None
        except OSError as error:
            raise self._gone(error) from None
        if not data:
            raise self._gone(None)
        self._received += data

    def _gone(self, error: Optional[OSError]) -> LabError:
        self.close()
        return LabError(f"{self._path}: {error or 'hung up'}: did the server go off?")


def _decoded(text: str) -> bytes:
    return base64.b64decode(text)
