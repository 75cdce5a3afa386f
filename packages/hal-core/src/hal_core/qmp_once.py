"""A QMP client for one-shot commands: blocking, and with no asyncio, whose import alone takes longer than the answer.

::

    with Once("/run/hal/qmp/cli", deadline=3.0) as qmp:
        qmp.execute("system_powerdown")

``Once.over(socket)`` talks to a QEMU that was started with one end of a socket pair as its QMP chardev, to probe it.
"""

from __future__ import annotations

import json
import socket
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Optional

from hal_core import unixsocket
from hal_core.errors import QmpDisconnected, QmpError, QmpRefused, QmpTimeout

_LONGEST_LINE = 16 << 20  # bytes; query-qmp-schema is the longest answer there is, about 0.3 MiB
_MOST_EVENTS = 64


class Once:
    """A connection to QEMU for a few commands.

    :param path: the unix socket. :param deadline: seconds, for connecting, and then for each command.
    :raise QmpTimeout: no greeting: another client holds the socket, or QEMU hangs.
    :raise QmpDisconnected: nobody listens there, or it hung up. :raise HostError: no permission.
    """

    def __init__(self, path: str, deadline: float = 3.0) -> None:
        self._begin(unixsocket.connect(path), deadline, path)

    @classmethod
    def over(cls, sock: socket.socket, deadline: float = 3.0, name: str = "QEMU") -> Once:
        """The same over a socket that is connected already; it is closed with this.

        :raise QmpTimeout, QmpDisconnected: as above.
        """
        once = cls.__new__(cls)
        once._begin(sock, deadline, name)
        return once

    def _begin(self, sock: socket.socket, deadline: float, path: str) -> None:
        self.path = path
        self.deadline = deadline
        #: Events that came while something else was awaited, as QEMU sent them; the 64 newest.
        self.untrusted_events: deque[dict[str, Any]] = deque(maxlen=_MOST_EVENTS)
        self._socket = sock
        self._received = bytearray()
        self._searched = 0
        self._last_id = 0
        try:
            until = time.monotonic() + deadline
            if "QMP" not in self._message("greeting", until):
                raise unixsocket.protocol_error(path, "not QMP: no greeting")
            self._execute("qmp_capabilities", None, until, None)
        except QmpTimeout as error:
            sock.close()
            hint = f"QEMU is busy, or another client is there: {unixsocket.BUSY_HINT}"
            raise QmpTimeout(error.message, hint) from error
        except QmpError:
            sock.close()
            raise

    def __enter__(self) -> Once:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def execute(
        self,
        command: str,
        arguments: Optional[Mapping[str, object]] = None,
        deadline: Optional[float] = None,
        fd: Optional[int] = None,
    ) -> Any:
        """Let QEMU do something; its return value, as JSON has it.

        :param deadline: seconds, where not the one given at first. :param fd: sent along, for add-fd and getfd.
        :raise QmpTimeout: no answer; QEMU may still do it. :raise QmpRefused: QEMU said no.
        :raise QmpDisconnected: QEMU went away.
        """
        return self._execute(command, arguments, time.monotonic() + (deadline or self.deadline), fd)

    def wait_event(self, names: tuple[str, ...], deadline: float) -> dict[str, Any]:
        """The next event of one of these names, one that came already included; events of other names are dropped.

        :raise QmpTimeout: none within ``deadline`` seconds. :raise QmpDisconnected: QEMU went away.
        """
        until = time.monotonic() + deadline
        while True:
            while self.untrusted_events:
                event = self.untrusted_events.popleft()
                if event["event"] in names:
                    return event
            self._keep_event(self._message(" or ".join(names), until))

    def _execute(self, command: str, arguments: Optional[Mapping[str, object]], until: float, fd: Optional[int]) -> Any:
        self._last_id += 1
        request: dict[str, object] = {"execute": command, "id": self._last_id}
        if arguments is not None:
            request["arguments"] = dict(arguments)
        self._send(json.dumps(request).encode(), fd, command, until)
        while True:
            reply = self._message(f"answer to {command}", until)
            if reply.get("id") != self._last_id:
                # An event, or the answer to a command that came too late for its own deadline.
                self._keep_event(reply)
            elif "return" in reply:
                return reply["return"]
            else:
                message, error_class = unixsocket.refused(command, reply.get("error"))
                raise QmpRefused(message, error_class)

    def _keep_event(self, message: dict[str, Any]) -> None:
        if isinstance(message.get("event"), str):
            self.untrusted_events.append(message)

    def _send(self, data: bytes, fd: Optional[int], command: str, until: float) -> None:
        try:
            self._socket.settimeout(max(0.001, until - time.monotonic()))
            if fd is not None:
                socket.send_fds(self._socket, [b" "], [fd])
            self._socket.sendall(data + b"\n")
        except socket.timeout as error:
            raise QmpTimeout(f"{self.path}: {command} not sent: QEMU does not read") from error
        except OSError as error:
            raise QmpDisconnected(f"{self.path}: {command} not sent: {error.strerror or error}") from error

    def _message(self, what: str, until: float) -> dict[str, Any]:
        """The next JSON object, awaited until ``until`` on the monotonic clock."""
        while True:
            end = self._received.find(b"\n", self._searched)
            if end >= 0:
                untrusted_line = bytes(self._received[:end])
                del self._received[: end + 1]
                self._searched = 0
                return self._parsed(untrusted_line)
            self._searched = len(self._received)
            if len(self._received) > _LONGEST_LINE:
                raise unixsocket.protocol_error(self.path, f"more than {_LONGEST_LINE} bytes in one line")
            self._receive(what, until)

    def _receive(self, what: str, until: float) -> None:
        left = until - time.monotonic()
        try:
            if left <= 0:
                raise socket.timeout
            self._socket.settimeout(left)
            data = self._socket.recv(1 << 16)
        except socket.timeout as error:
            raise QmpTimeout(f"{self.path}: no {what} in time") from error
        except OSError as error:
            raise QmpDisconnected(f"{self.path}: {error.strerror or error}") from error
        if not data:
            raise QmpDisconnected(f"{self.path}: QEMU hung up")
        self._received += data

    def _parsed(self, untrusted_line: bytes) -> dict[str, Any]:
        try:
            message = json.loads(untrusted_line)
        except (ValueError, RecursionError) as error:
            raise unixsocket.protocol_error(self.path, f"not JSON: {unixsocket.plain(error)}") from error
        if not isinstance(message, dict):
            raise unixsocket.protocol_error(self.path, "not QMP: JSON, but no object")
        return message
