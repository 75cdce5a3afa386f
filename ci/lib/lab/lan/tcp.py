"""One end of a TCP connection, pure: segments and the time come in, segments go out.

As much of RFC 9293 as a patient client or an echo service needs: in order, one segment sent again at a time, no
options. Offsets count what was sent: 0 is the SYN, then the data, then the FIN. Times are monotonic seconds.
"""

from __future__ import annotations

from typing import Optional

from lab.lan.frames import Flag, Tcp

SEGMENT = 536  # bytes: the most that may be sent to somebody whose options were not read (RFC 9293, 3.7.1)
UNDER_WAY = 4 * SEGMENT  # bytes: a unix socket holds ten datagrams (net.unix.max_dgram_qlen), and loses the next
FIRST_WAIT = 1.0  # seconds, then twice as long each time
LONGEST_WAIT = 8.0
TRIES = 12  # then the other end is gone: after 80 seconds

_SEQUENCES = 1 << 32
_NONE = Flag(0)


class Connection:
    """Begins closed, with :meth:`connect` or :meth:`accept`.

    :ivar received: what came; whoever takes it clears it
    :ivar connected: the other end has agreed
    :ivar ended: the other end has no more to send
    :ivar reset: there is no connection: refused, reset, or nobody there any more
    :ivar due: when :meth:`again` wants to be called, or None
    """

    def __init__(self, local_port: int, remote_port: int, sequence: int) -> None:
        self.received = bytearray()
        self.ended = False
        self.reset = False
        self.due: Optional[float] = None
        self._ports = (local_port, remote_port)
        self._first = sequence
        self._data = bytearray()
        self._finished = False
        self._sent = 0
        self._acknowledged = 0
        self._window = 1
        self._next: Optional[int] = None  # the sequence number that the other end sends next, once it is known
        self._tries = 0

    @property
    def connected(self) -> bool:
        return self._next is not None and self._acknowledged > 0

    @property
    def done(self) -> bool:
        """Nothing will come or go any more."""
        return self.reset or (self.ended and self._finished and self._acknowledged == self._end)

    @property
    def _end(self) -> int:
        return 1 + len(self._data) + self._finished

    def connect(self, now: float) -> list[Tcp]:
        return self._continue(now)

    def accept(self, untrusted: Tcp, now: float) -> list[Tcp]:
        """:param untrusted: the SYN of the other end"""
        self._next = (untrusted.sequence + 1) % _SEQUENCES
        return self._continue(now)

    def send(self, data: bytes, now: float) -> list[Tcp]:
        """Send this after everything before it, as soon as the other end takes it."""
        self._data += data
        return self._continue(now)

    def finish(self, now: float) -> list[Tcp]:
        """No more will be sent."""
        self._finished = True
        return self._continue(now)

    def forget(self) -> None:
        """There is no such connection; :func:`refusal` tells the other end when it speaks."""
        self.reset, self.due = True, None

    def handle(self, untrusted: Tcp, now: float) -> list[Tcp]:
        """What to answer to a segment of the other end."""
        acknowledged = (untrusted.acknowledgement - self._first) % _SEQUENCES
        sensible = Flag.ACK in untrusted.flags and acknowledged <= self._sent
        if Flag.RST in untrusted.flags:
            if untrusted.sequence == self._next or (self._next is None and sensible and acknowledged):
                self.forget()
            return []
        if self._next is None:
            if Flag.SYN not in untrusted.flags or not sensible or not acknowledged:
                return []
            self._next = untrusted.sequence  # the SYN itself is taken below, as what is new
        if sensible:
            self._window = max(untrusted.window, 1)  # a window that is shut is tried with one byte, over and over
            if acknowledged > self._acknowledged:
                self._acknowledged, self._tries, self.due = acknowledged, 0, None
        self._next = self._take(untrusted, self._next)
        answer = self._continue(now)
        return answer or ([self._segment(self._sent)] if _length(untrusted) else [])

    def again(self, now: float) -> list[Tcp]:
        """What is overdue."""
        if self.due is None or now < self.due:
            return []
        if self._tries == TRIES:
            self.forget()
            return []
        self._tries += 1
        self.due = now + self._wait()
        return self._from(self._acknowledged)[:1]

    def _take(self, untrusted: Tcp, expected: int) -> int:
        """Keep what is new and next in order (the other end sends the rest again), and say what is expected then."""
        behind = (expected - untrusted.sequence) % _SEQUENCES
        length = _length(untrusted)
        if behind >= length or self.ended:
            return expected
        self.received += untrusted.data[max(behind - (Flag.SYN in untrusted.flags), 0) :]
        self.ended = Flag.FIN in untrusted.flags
        return (untrusted.sequence + length) % _SEQUENCES

    def _continue(self, now: float) -> list[Tcp]:
        segments = self._from(self._sent)
        self._sent += sum(_length(segment) for segment in segments)
        if self._sent > self._acknowledged and self.due is None:
            self.due = now + self._wait()
        return segments

    def _wait(self) -> float:
        return min(FIRST_WAIT * 2.0**self._tries, LONGEST_WAIT)

    def _from(self, offset: int) -> list[Tcp]:
        """What may be sent from there on."""
        if offset == 0:
            return [self._segment(0, Flag.SYN)]
        if not self.connected:
            return []
        segments = []
        limit = min(self._end, self._acknowledged + min(self._window, UNDER_WAY))
        while offset < limit:
            data = bytes(self._data[offset - 1 : min(offset - 1 + SEGMENT, limit - 1)])
            offset_after = offset + len(data)
            last = self._finished and offset_after == 1 + len(self._data) and offset_after < limit
            segments.append(self._segment(offset, Flag.FIN if last else _NONE, data))
            offset = offset_after + last
        return segments

    def _segment(self, offset: int, flags: Flag = _NONE, data: bytes = b"") -> Tcp:
        acknowledges = self._next is not None
        return Tcp(
            *self._ports,
            sequence=(self._first + offset) % _SEQUENCES,
            acknowledgement=self._next or 0,
            flags=flags | Flag.ACK if acknowledges else flags,
            data=data,
        )


def refusal(untrusted: Tcp) -> list[Tcp]:
    """What to answer to a segment that belongs to no connection (RFC 9293, 3.5.2)."""
    ports = (untrusted.destination_port, untrusted.source_port)
    if Flag.RST in untrusted.flags:
        return []
    if Flag.ACK in untrusted.flags:
        return [Tcp(*ports, untrusted.acknowledgement, 0, Flag.RST)]
    return [Tcp(*ports, 0, (untrusted.sequence + _length(untrusted)) % _SEQUENCES, Flag.RST | Flag.ACK)]


def _length(segment: Tcp) -> int:
    """How many sequence numbers it takes."""
    return len(segment.data) + (Flag.SYN in segment.flags) + (Flag.FIN in segment.flags)
