"""QMP, QEMU's own remote control: commands, and a record of all that it tells, which a thread keeps."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from hal_core.errors import HalError, QmpError, QmpTimeout
from hal_core.qmp_once import Once
from lab.errors import LabError

_PATIENCE = 60.0  # seconds for an answer: QEMU writes its disks first, on a machine that may be busy
OFF = "OFF"  # our own event: QEMU is gone

# Those that somebody here waits for, or wants to see when a story failed.
_KEPT = (
    "BLOCK_IO_ERROR",
    "DEVICE_DELETED",
    "DEVICE_TRAY_MOVED",
    "GUEST_PANICKED",
    "MEMORY_FAILURE",
    "MIGRATION",
    "POWERDOWN",
    "RESET",
    "RESUME",
    "SHUTDOWN",
    "STOP",
    "VSERPORT_CHANGE",
    "WATCHDOG",
)


@dataclass(frozen=True)
class Event:
    """Something that happened.

    :ivar name: as in QEMU's QMP reference, or :data:`OFF`
    :ivar at: when the lab heard of it, in seconds of :func:`time.monotonic`
    """

    name: str
    data: Mapping[str, Any]
    at: float


class Record:
    """Events in their order; it outlives the QEMU that they come from. For any thread."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._events)

    def add(self, name: str, data: Optional[Mapping[str, Any]] = None) -> None:
        with self._changed:
            self._events.append(Event(name, data or {}, time.monotonic()))
            self._changed.notify_all()

    def all(self) -> tuple[Event, ...]:
        with self._changed:
            return tuple(self._events)

    def wait(self, wanted: Callable[[Event], bool], begin: int, seconds: float) -> Optional[int]:
        """The place of the first such event from the place ``begin`` on, awaited if need be; None: it did not come."""
        until = time.monotonic() + seconds
        with self._changed:
            while True:
                for place in range(begin, len(self._events)):
                    if wanted(self._events[place]):
                        return place
                begin = max(begin, len(self._events))
                left = until - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)


class Control:
    """The remote control of one running QEMU.

    :param commands: connected to one of its monitors; :param events: to another one. Both are closed with this.
    :raise LabError: QEMU does not answer
    """

    def __init__(self, commands: socket.socket, events: socket.socket, record: Record) -> None:
        self._record = record
        self._lock = threading.Lock()
        self._socket = events
        try:
            self._events = Once.over(events, _PATIENCE)
            self._commands = Once.over(commands, _PATIENCE)
        except QmpError as error:
            commands.close()
            events.close()
            raise LabError(str(error)) from None
        self._thread = threading.Thread(target=self._listen, name="qmp-events", daemon=True)
        self._thread.start()

    def execute(self, command: str, arguments: Optional[Mapping[str, object]] = None) -> Any:
        """What QEMU returns.

        :raise LabError: it refuses, or is gone
        """
        with self._lock:
            try:
                return self._commands.execute(command, arguments)
            except HalError as error:
                raise LabError(str(error)) from None

    def close(self) -> None:
        """Hang up, when all that QEMU had to tell was heard."""
        self._commands.close()
        self._socket.shutdown(socket.SHUT_RDWR)  # what came already is read all the same
        self._thread.join()
        self._events.close()

    def _listen(self) -> None:
        while True:
            try:
                event = self._events.wait_event(_KEPT, _PATIENCE)
            except QmpTimeout:
                continue
            except QmpError:
                break
            self._record.add(event["event"], event.get("data"))
        self._record.add(OFF)
