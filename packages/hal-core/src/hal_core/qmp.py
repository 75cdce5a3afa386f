"""A QMP session for residents: qemu.qmp, with deadlines, bounded memory, and an end that is always clean.

qemu.qmp is QEMU's own client and does the protocol. What it leaves to its user is done here, once for all of HAL:

* A command has a deadline. When QEMU misses it the session stays usable: the late answer is awaited in the background,
  and can never be taken for the answer to something else.
* Not more than 64 commands may be without an answer, and not more than 256 events without a reader. (qemu.qmp itself
  keeps every event for ever.) Losing old events is harmless: an event only says "look again".
* When QEMU goes away the session notices by itself, wakes whoever waits for events, and can be connected again.
* A socket that another client holds gives no greeting (a QMP socket serves one client): that is a ``QmpTimeout``.

Cold one-shot commands use :mod:`hal_core.qmp_once`, which imports no asyncio.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from qemu.qmp import (
    ConnectError,
    ExecInterruptedError,
    ExecuteError,
    Message,
    QMPClient,
    QMPError,
    Runstate,
    StateError,
)

from hal_core import unixsocket
from hal_core.errors import HostError, QmpDisconnected, QmpError, QmpRefused, QmpTimeout

_MOST_UNANSWERED = 64  # few enough that the socket's buffer takes them all while QEMU does not read
_MOST_EVENTS = 256
_CLOSE_SECONDS = 1.0
_FIRST_PAUSE_SECONDS = 0.05

_log = logging.getLogger(__name__)
# Whatever goes wrong there is raised here, once, with a hint; its own lines for it would only be the same again.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Event:
    """Something happened in QEMU (QEMU's docs/interop/qmp-spec, "Asynchronous events")."""

    name: str  # "SHUTDOWN"
    data: Mapping[str, Any]  # as QEMU sent it; {} where it sent none
    seconds: float  # QEMU's wall clock, for the log only: never compute with it


class Session:
    """One client of one QMP socket. Make it, and use it, within one running event loop.

    :param path: the unix socket. :param name: who we are, for messages: "manager".
    :param on_event: called for every event as it arrives, inside the reader: it must be quick and must not raise.
    """

    def __init__(self, path: str, name: str, on_event: Optional[Callable[[Event], None]] = None) -> None:
        self.path = path
        self.name = name
        self.again = asyncio.Event()  #: set by every event and when the connection is lost; its user clears it
        self.peer_pid = 0  #: QEMU's process, see :func:`hal_core.unixsocket.peer_pid`; 0 before the first connect
        self._on_event = on_event
        self._events: deque[Event] = deque(maxlen=_MOST_EVENTS)
        self._arrived = asyncio.Event()
        self._client: Optional[QMPClient] = None
        self._socket: Optional[socket.socket] = None
        self._attendant: Optional[asyncio.Task[None]] = None
        self._closing = asyncio.Event()
        self._unanswered: set[asyncio.Task[object]] = set()
        self._late: set[asyncio.Task[object]] = set()  # those whose caller has given up
        self._fd_lock = asyncio.Lock()

    @property
    def connected(self) -> bool:
        return self._client is not None and self._client.runstate is Runstate.RUNNING

    async def connect(self, deadline: float = 3.0) -> None:
        """Connect, take the greeting, negotiate; all within ``deadline`` seconds.

        :raise QmpTimeout: no greeting: another client holds the socket, or QEMU hangs.
        :raise QmpDisconnected: nobody listens there, or it hung up. :raise HostError: no permission.
        :raise QmpError: that is no QMP.
        """
        await self.close()
        sock = unixsocket.connect(self.path)
        client = QMPClient(self.name)  # a new one every time: nothing of a connection that failed is left over
        # A filter that never accepts: what it accepts, the library keeps for ever.
        client.events.event_filter = self._take
        try:
            self.peer_pid = unixsocket.peer_pid(sock)
            await asyncio.wait_for(client.connect(sock), deadline)
            self._client, self._socket = client, sock
        except asyncio.TimeoutError as error:
            message = f"{self.path}: no greeting from QEMU within {deadline:g} s"
            raise QmpTimeout(message, f"QEMU is busy, or another client is there: {unixsocket.BUSY_HINT}") from error
        except ConnectError as error:
            if isinstance(error.exc, (EOFError, OSError)):
                raise QmpDisconnected(f"{self.path}: hung up before the greeting was over") from error
            raise unixsocket.protocol_error(self.path, f"not QMP: {unixsocket.plain(error.exc)}") from error
        finally:
            if self._socket is not sock:
                sock.close()
        self._closing.clear()
        self._attendant = asyncio.create_task(self._attend(client, sock))

    async def execute(
        self, command: str, arguments: Optional[Mapping[str, object]] = None, deadline: float = 3.0
    ) -> object:
        """Let QEMU do something; its return value, as JSON has it.

        :param deadline: seconds. Missing it says nothing about QEMU's health by itself: a busy QEMU is late too.
        :raise QmpTimeout: no answer yet. QEMU may still do it; its answer is dropped when it comes.
        :raise QmpRefused: QEMU said no. :raise QmpDisconnected: QEMU went away, or was not there.
        """
        if self._client is None:
            raise QmpDisconnected(f"{self.path}: not connected")
        if len(self._unanswered) >= _MOST_UNANSWERED:
            message = f"{self.path}: {command} not sent: {len(self._unanswered)} earlier commands have no answer yet"
            raise QmpTimeout(message, "QEMU hangs or is very busy")
        call = asyncio.create_task(self._client.execute(command, arguments))
        self._unanswered.add(call)
        call.add_done_callback(self._answered)
        try:
            await asyncio.wait({call}, timeout=deadline)
        finally:
            if not call.done():
                self._late.add(call)
        if not call.done():
            raise QmpTimeout(f"{self.path}: no answer to {command} within {deadline:g} s", "QEMU hangs or is very busy")
        return self._result(command, call)

    async def execute_with_fd(
        self, command: str, arguments: Optional[Mapping[str, object]], fd: int, deadline: float = 3.0
    ) -> object:
        """:meth:`execute` with a file descriptor for it, for ``add-fd`` and ``getfd``; ``fd`` stays the caller's.

        QEMU gives the descriptor that arrived last to the next command that asks for one. So this runs alone, and not
        at all while an answer is overdue: QEMU could take it for another command's.

        :raise QmpTimeout, QmpRefused, QmpDisconnected: as :meth:`execute`.
        """
        async with self._fd_lock:
            if self._late:
                raise QmpTimeout(f"{self.path}: {command} not sent: QEMU is late with earlier answers")
            if self._socket is None or not self.connected:
                raise QmpDisconnected(f"{self.path}: not connected")
            try:
                # White space between JSON texts is ignored; what was sent before went out whole (_MOST_UNANSWERED).
                socket.send_fds(self._socket, [b" "], [fd])
            except BlockingIOError as error:
                raise QmpTimeout(f"{self.path}: {command} not sent: QEMU does not read") from error
            except (BrokenPipeError, ConnectionResetError) as error:
                raise QmpDisconnected(f"{self.path}: {command} not sent: QEMU went away") from error
            return await self.execute(command, arguments, deadline)

    async def events(self) -> AsyncIterator[Event]:
        """Every event in turn, those included that came since the last time; ends when the connection does.

        For one reader. The 256 newest are kept while it is busy.
        """
        while True:
            while self._events:
                yield self._events.popleft()
            if not self.connected:
                return
            self._arrived.clear()
            await self._arrived.wait()

    async def lost(self) -> None:
        """Wait until the connection is lost or closed."""
        if self._attendant:
            await asyncio.wait({self._attendant})

    async def close(self) -> None:
        """Hang up. Never raises, leaves no task behind, and takes 2 s at most, even when QEMU hangs."""
        self._closing.set()
        await self.lost()
        await asyncio.gather(*self._unanswered, return_exceptions=True)

    async def reconnect(self, deadline: float = 3.0, longest_pause: float = 10.0) -> None:
        """Connect, however many attempts it takes; the pause between them doubles up to ``longest_pause`` seconds."""
        pause, complained = _FIRST_PAUSE_SECONDS, False
        while True:
            try:
                await self.connect(deadline)
            except (QmpError, HostError) as error:
                _log.log(logging.DEBUG if complained else logging.WARNING, "%s: %s", self.name, error)
                complained = True
            else:
                if complained:
                    _log.info("%s: connected to %s", self.name, self.path)
                return
            await asyncio.sleep(pause)  # there is no event for "QEMU has time for us again"
            pause = min(2 * pause, longest_pause)

    def _take(self, message: Message) -> bool:
        """Turn a message into an event for our reader; says no, so that the library does not keep it as well."""
        data, stamp = message.get("data"), message.get("timestamp")
        seconds = stamp.get("seconds") if isinstance(stamp, dict) else None
        event = Event(
            name=unixsocket.plain(message.get("event")),
            data=data if isinstance(data, dict) else {},
            seconds=float(seconds) if isinstance(seconds, (int, float)) else 0.0,
        )
        self._events.append(event)
        self._arrived.set()
        self.again.set()
        if self._on_event:
            self._on_event(event)
        return False

    async def _attend(self, client: QMPClient, sock: socket.socket) -> None:
        """Wait for the end of the connection, from either side, and clean up: the only caller of ``disconnect()``."""
        ends = [asyncio.ensure_future(_until_lost(client)), asyncio.ensure_future(self._closing.wait())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        hanging_up = asyncio.ensure_future(client.disconnect())
        if not (await asyncio.wait({hanging_up}, timeout=_CLOSE_SECONDS))[0]:
            # It waits until QEMU has read everything, which a QEMU that hangs never does.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        *_, reason = await asyncio.gather(*ends, hanging_up, return_exceptions=True)
        if isinstance(reason, Exception) and not isinstance(reason, (EOFError, OSError)):
            _log.warning("%s: %s: %s", self.name, self.path, unixsocket.plain(reason))
        self._client = self._socket = None
        self._arrived.set()
        self.again.set()

    def _answered(self, call: asyncio.Task[object]) -> None:
        self._unanswered.discard(call)
        self._late.discard(call)
        if not call.cancelled():
            call.exception()  # look at it, or asyncio complains where its caller has given up

    def _result(self, command: str, call: asyncio.Task[object]) -> object:
        try:
            return call.result()
        except ExecuteError as error:
            message, error_class = unixsocket.refused(command, error.received.get("error"))
            raise QmpRefused(message, error_class) from error
        except (ExecInterruptedError, StateError) as error:
            raise QmpDisconnected(f"{self.path}: QEMU went away during {command}") from error
        except QMPError as error:
            raise unixsocket.protocol_error(self.path, f"answer to {command}: {unixsocket.plain(error)}") from error


async def _until_lost(client: QMPClient) -> None:
    while client.runstate is Runstate.RUNNING:
        await client.runstate_changed()


async def keep(session: Session, use: Callable[[Session], Awaitable[None]], longest_pause: float = 10.0) -> None:
    """Connect, ``use``, and connect again whenever QEMU goes away; returns when ``use`` is done by itself.

    :param longest_pause: seconds between two attempts to connect, at most.

    ``use`` returns, or raises ``QmpDisconnected``, when the connection is lost. Cancel this to end it.
    """
    loop = asyncio.get_running_loop()
    while True:
        await session.reconnect(longest_pause=longest_pause)
        since = loop.time()
        try:
            await use(session)
            if session.connected:
                return
        except QmpDisconnected as error:
            _log.info("%s: %s", session.name, error)
        finally:
            await session.close()
        # Whoever greets us and hangs up at once must not make this spin.
        await asyncio.sleep(max(0.0, 1.0 - (loop.time() - since)))
