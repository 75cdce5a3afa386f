"""One connection to one QEMU's VNC server: its picture, its keyboard, its sound.

There is no listening VNC server, and no password: QEMU is handed one end of a socket pair over QMP (``getfd``,
``add_client``), and the other one is here.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from typing import Optional

from hal_console.rfb import messages
from hal_console.rfb.picture import Picture
from hal_console.rfb.pixels import PixelFormat
from hal_console.rfb.stream import Event, ProtocolError, Stream, Updated
from hal_core.qmp import Session

logger = logging.getLogger(__name__)

_NAME = "hal-console"  # of the descriptor in QEMU, for the moment between getfd and add_client
# Somebody who does not read any more: QEMU hangs. What is typed then is lost, as it is on a machine that hangs.
_MOST_UNSENT = 1 << 16
_LONGEST_REST_SECONDS = 0.2


async def connect(session: Session) -> socket.socket:
    """One end of a connection whose other end is QEMU's VNC server.

    :raise QmpError: QEMU refuses, does not answer, or is gone.
    """
    ours, theirs = socket.socketpair()
    try:
        await session.execute_with_fd("getfd", {"fdname": _NAME}, theirs.fileno())
        await session.execute("add_client", {"protocol": "vnc", "fdname": _NAME, "skipauth": True})
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    ours.setblocking(False)
    return ours


class Viewer:
    """:param on_event: called for each event; what has changed of the picture is in it by then.

    :ivar ended: set when the connection is over; ``reason`` says why, "" if QEMU has just gone.
    """

    def __init__(
        self, sock: socket.socket, wanted: PixelFormat, sound: bool, on_event: Callable[[Event], None]
    ) -> None:
        self.ended = asyncio.Event()
        self.reason = ""
        self._socket = sock
        self._stream = Stream(wanted, sound)
        self._on_event = on_event
        self._watching = True
        self._writing = False
        self._asking: Optional[asyncio.TimerHandle] = None  # the next update will be asked for
        self._resized = False
        self._spent = 0.0  # seconds, on the last update
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._readable)

    @property
    def picture(self) -> Picture:
        return self._stream.picture

    def watch(self, wanted: bool) -> None:
        """Whether updates are asked for. When they are again, the whole picture comes first."""
        if wanted and not self._watching:
            self._stream.ask(incremental=False)
        self._watching = wanted
        self._send()

    def key(self, down: bool, scancode: int) -> None:
        if len(self._stream.outgoing) < _MOST_UNSENT:
            self._stream.outgoing += messages.extended_key(down, scancode)
            self._send()

    def close(self) -> None:
        self._end("")
        self._socket.close()

    def _readable(self) -> None:
        begun = time.perf_counter()
        self._read()
        self._spent += time.perf_counter() - begun

    def _read(self) -> None:
        try:
            count = self._socket.recv_into(self._stream.space())
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error.strerror or str(error))
            return
        if not count:
            self._end("")
            return
        try:
            events = self._stream.received(count)
        except ProtocolError as error:
            self._end(f"QEMU's VNC server: {error}")
            return
        for event in events:
            self._on_event(event)
            if isinstance(event, Updated) and self._watching:
                self._resized = self._resized or event.resized
                if self._asking is None:
                    self._asking = self._loop.call_later(min(self._spent, _LONGEST_REST_SECONDS), self._ask)
        self._send()

    def _ask(self) -> None:
        """For the next update: after as long a rest as the last one took, so that half of a slow processor is free."""
        self._asking = None
        if self._watching:
            self._stream.ask(incremental=not self._resized)
        self._resized, self._spent = False, 0.0
        self._send()

    def _send(self) -> None:
        outgoing, full = self._stream.outgoing, False
        try:
            while outgoing and not full:
                del outgoing[: self._socket.send(outgoing)]
        except BlockingIOError:
            full = True
        except OSError as error:
            self._end(error.strerror or str(error))
            return
        if full and not self._writing:
            self._loop.add_writer(self._socket, self._send)
        elif self._writing and not full:
            self._loop.remove_writer(self._socket)
        self._writing = full

    def _end(self, reason: str) -> None:
        if not self.ended.is_set():
            self.reason = reason
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            if self._asking:
                self._asking.cancel()
            self.ended.set()
