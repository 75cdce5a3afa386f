"""The product's signs of life: two transports behind one interface.

* ``agent``: QEMU's guest agent is asked (``guest-ping``), and its answer is a heartbeat.
* ``line``: the product writes one line per beat, ``hal-beat NUMBER``, to a serial channel. Any shell can do that:
  ``echo "hal-beat $n" >/dev/virtio-ports/hal.heartbeat.0`` (a serial port on products without virtio).

Nothing read here is trusted. A product that sends garbage is not alive by it; one that floods is read slowly, which
stops it by flow control instead of costing the host CPU time or memory.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from typing import Callable, Protocol

from hal_core import guestagent, unixsocket
from hal_core.errors import HalError

logger = logging.getLogger(__name__)

READ_BYTES = 4096  # at most, per READ_PAUSE
READ_PAUSE = 1.0  # seconds between two reads
RETRY = 1.0  # seconds before a lost channel is opened again
LONGEST_LINE = 64  # bytes
_BEAT = re.compile(rb"hal-beat [0-9]{1,20}\r?")

OnBeat = Callable[[], None]


class Transport(Protocol):
    """Calls ``on_beat`` for every sign of life until it is cancelled; never raises for what the guest does."""

    name: str

    async def run(self, on_beat: OnBeat) -> None: ...


class AgentTransport:
    name = "agent"

    def __init__(self, path: str, interval: float) -> None:
        """
        :param path: the agent channel's unix socket.
        :param interval: seconds between two questions; an answer may take as long.
        """
        self._path = path
        self._interval = interval

    async def run(self, on_beat: OnBeat) -> None:
        loop = asyncio.get_running_loop()
        while True:
            asked = loop.time()
            try:
                await guestagent.ping(self._path, self._interval)
            except HalError as error:
                logger.debug("guest agent: %s", error)
            else:
                on_beat()
            await asyncio.sleep(max(0.0, asked + self._interval - loop.time()))


class LineTransport:
    name = "line"

    def __init__(self, path: str) -> None:
        """:param path: the heartbeat channel's unix socket."""
        self._path = path
        self._garbage = 0

    async def run(self, on_beat: OnBeat) -> None:
        while True:
            try:
                with unixsocket.connect(self._path) as channel:
                    await self._listen(channel, on_beat)
            except (HalError, OSError) as error:
                logger.debug("heartbeat channel: %s", error)
            await asyncio.sleep(RETRY)

    async def _listen(self, channel: socket.socket, on_beat: OnBeat) -> None:
        """Read until the channel ends: whole lines, at most one beat per read (more would be no more alive).

        Not by an asyncio stream, which reads a quarter of a mebibyte ahead, whatever its limit.
        """
        loop = asyncio.get_running_loop()
        untrusted_rest = b""
        while True:
            untrusted_chunk = await loop.sock_recv(channel, READ_BYTES)
            if not untrusted_chunk:
                return
            *untrusted_lines, untrusted_rest = (untrusted_rest + untrusted_chunk).split(b"\n")
            untrusted_rest = untrusted_rest[-LONGEST_LINE:]
            beats = sum(1 for line in untrusted_lines if _BEAT.fullmatch(line))
            if beats:
                on_beat()
            self._report_garbage(len(untrusted_lines) - beats)
            await asyncio.sleep(READ_PAUSE)

    def _report_garbage(self, lines: int) -> None:
        """Say so at the first garbage, then at every tenfold, so that the log cannot be flooded either."""
        before, self._garbage = self._garbage, self._garbage + lines
        if lines and (before == 0 or len(str(self._garbage)) > len(str(before))):
            logger.warning("heartbeat channel: %d lines so far that are no heartbeat (hal-beat NUMBER)", self._garbage)
