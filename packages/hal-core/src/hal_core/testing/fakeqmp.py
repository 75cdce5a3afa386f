r"""A QMP peer on a real unix socket that answers what a test told it to, and misbehaves on request.

::

    with FakeQmp(path) as qemu:
        qemu.on("query-status", {"status": "running"})
        qemu.on("device_add", Refusal("DeviceNotFound", "Device 'x' not found"))
        qemu.on("stop", LATE)          # answered when the test calls qemu.release()
        qemu.on("cont", SILENCE)       # never answered
        qemu.on("quit", HANG_UP)
        qemu.on("query-name", Raw(b"garbage\n"))
        qemu.on("getfd", lambda arguments: {})
        ... the code under test ...
        qemu.wait_for("stop")
        qemu.event("SHUTDOWN", {"guest": True, "reason": "guest-reset"})
        assert ("stop", {}) in qemu.received

It runs in a thread of its own, so that blocking and asyncio clients are tested alike. Like QEMU, it serves one client
at a time: the next one connects but gets no greeting until the first has gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Optional, Union

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": ""}, "capabilities": ["oob"]}}


@dataclass(frozen=True)
class Refusal:
    """Answer with an error."""

    error_class: str = "GenericError"
    description: str = "refused by the test"


@dataclass(frozen=True)
class Raw:
    """Answer with just these bytes."""

    data: bytes


class Behaviour:
    """What else a peer can do when it is asked something: one of the constants below."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


SILENCE = Behaviour("SILENCE")
LATE = Behaviour("LATE")
HANG_UP = Behaviour("HANG_UP")

Answer = Union[Refusal, Raw, Behaviour, Mapping[str, object], "list[Any]", Callable[[dict[str, Any]], object]]


class FakeQmp:
    """See the module's text.

    :param greets: whether a client is greeted at all; without it this is a QEMU that hangs.
    """

    def __init__(self, path: str | os.PathLike[str], greets: bool = True) -> None:
        self.path = os.fspath(path)
        self.received: list[tuple[str, dict[str, Any]]] = []  #: every command but qmp_capabilities, in order
        self.fds: list[int] = []  #: descriptors that were sent to us; closed at the end
        self._greets = greets
        self._answers: dict[str, Answer] = {}
        self._held: list[object] = []  # ids of commands to be answered late
        self._changed = threading.Condition()
        self._client: Optional[socket.socket] = None
        self._ended = False
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve, name="fake QMP", daemon=True)

    def __enter__(self) -> FakeQmp:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._ended = True
        # Shutting a listening socket down wakes its accept(), with EINVAL (Linux).
        self._listener.shutdown(socket.SHUT_RDWR)
        self.hang_up()
        self._thread.join()
        self._listener.close()
        for fd in self.fds:
            os.close(fd)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def on(self, command: str, answer: Answer) -> None:
        """What to answer from now on; a command nobody told us about is answered with ``{}``."""
        self._answers[command] = answer

    def event(self, name: str, data: Optional[Mapping[str, object]] = None) -> None:
        stamp = {"seconds": 1700000000, "microseconds": 0}
        self.send({"event": name, "timestamp": stamp, **({"data": dict(data)} if data else {})})

    def release(self) -> None:
        """Answer all commands that were held back by ``LATE``."""
        held, self._held = self._held, []
        for identity in held:
            self.send({"return": {"late": True}, "id": identity})

    def send(self, message: Mapping[str, object] | bytes) -> None:
        """Send anything at all to the client that is connected."""
        data = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\r\n"
        with self._changed:
            client = self._client
        if client is None:
            raise AssertionError("the test sends something, but no client is connected")
        client.sendall(data)

    def hang_up(self) -> None:
        """What the client sees when QEMU dies."""
        with self._changed:
            client = self._client
        if client:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def wait_for(self, command: str, seconds: float = 10.0) -> None:
        """Wait until the command has been received.

        :raise AssertionError: it was not.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: any(name == command for name, _ in self.received), seconds):
                raise AssertionError(f"{command} did not come within {seconds} s, only {self.received}")

    def _serve(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, contextlib.suppress(ConnectionError):
                with self._changed:
                    self._client = client
                if self._ended:
                    return
                self._serve_one(client)
            with self._changed:
                self._client = None

    def _serve_one(self, client: socket.socket) -> None:
        if self._greets:
            self.send(GREETING)
        untrusted = b""
        while True:
            data, fds, _, _ = socket.recv_fds(client, 65536, 8)
            self.fds.extend(fds)
            if not data:
                return
            *lines, untrusted = (untrusted + data).replace(b"}{", b"}\n{").split(b"\n")
            # qemu.qmp ends no line: a text that parses is a whole one.
            if _is_whole(untrusted):
                lines, untrusted = [*lines, untrusted], b""
            for line in filter(bytes.strip, lines):
                if self._greets and not self._answer(json.loads(line)):
                    return

    def _answer(self, request: dict[str, Any]) -> bool:
        """Do as told; False when that is to hang up."""
        command, arguments = request.get("execute") or request.get("exec-oob"), request.get("arguments", {})
        reply: dict[str, object] = {"id": request["id"]} if "id" in request else {}
        answer = self._answers.get(str(command), {})
        if command != "qmp_capabilities" or command in self._answers:
            with self._changed:
                self.received.append((str(command), arguments))
                self._changed.notify_all()
        if callable(answer):
            answer = answer(arguments)  # type: ignore[assignment]  # a test's function returns what it likes
        if answer is LATE:
            self._held.append(request.get("id"))
        elif isinstance(answer, Raw):
            self.send(answer.data)
        elif isinstance(answer, Refusal):
            self.send({"error": {"class": answer.error_class, "desc": answer.description}, **reply})
        elif not isinstance(answer, Behaviour):
            self.send({"return": answer, **reply})
        return answer is not HANG_UP


def _is_whole(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
