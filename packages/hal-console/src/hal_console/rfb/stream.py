"""What the server says, taken apart: no sockets here, and never more memory than one buffer and one picture.

Bytes are received into :meth:`Stream.space`, in whatever pieces they come. Pixels go straight into the
:class:`~hal_console.rfb.picture.Picture`; everything else comes out as events, and as bytes to be sent
(:attr:`Stream.outgoing`). The product decides what is on its screen and how large it is, so all of it is untrusted:
whatever does not fit ends the connection (:class:`ProtocolError`), and QEMU is asked for another one.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from dataclasses import dataclass
from typing import Union

from hal_console.rfb import messages
from hal_console.rfb.picture import Box, Picture
from hal_console.rfb.pixels import PixelFormat

_BUFFER = 1 << 20  # bytes; the largest thing that is needed in one piece is a row of 16384 pixels
_LARGEST_SIDE, _LARGEST_AREA = 16384, 1 << 25  # pixels; a screen of 7680x4320 is the largest there is

_ENCODINGS = (
    messages.RAW,
    messages.DESKTOP_SIZE,
    messages.EXTENDED_KEY,
    messages.AUDIO,
    messages.LED_STATE,
)


class ProtocolError(Exception):
    """The other side does not speak the protocol as it ought to."""


@dataclass(frozen=True)
class Updated:
    """One update is complete: what has changed is in :attr:`Picture.changed`."""

    resized: bool


@dataclass(frozen=True)
class Lamps:
    """The product has switched the keyboard's lamps."""

    state: int  # 1 Scroll Lock, 2 Num Lock, 4 Caps Lock: the same bits as KDSETLED has


@dataclass(frozen=True)
class Sound:
    """What the product sounds like: unsigned bytes, messages.SOUND_RATE of them a second."""

    samples: bytes  # b"": it has fallen silent


@dataclass(frozen=True)
class Bell:
    """The server itself rings."""


Event = Union[Updated, Lamps, Sound, Bell]
# What a part of the parser does: it asks for so many bytes, and is given a view that is good until it asks again.
_Parser = Generator[int, memoryview, None]


class Stream:
    """One connection, from its first byte on.

    :ivar outgoing: bytes for the server; whoever sends them takes them out.
    :ivar extended_keys: whether the server takes scan codes; known before the first :class:`Updated`.
    """

    def __init__(self, wanted: PixelFormat, sound: bool = False) -> None:
        self.picture = Picture(wanted.size)
        self.outgoing = bytearray()
        self.extended_keys = False
        self._wanted = wanted
        self._sound = sound
        self._events: list[Event] = []
        self._buffer = memoryview(bytearray(_BUFFER))
        self._begin = self._end = 0
        self._parser = self._conversation()
        self._needed = next(self._parser)

    def space(self) -> memoryview:
        """Where to receive to, whatever fits."""
        if self._begin:
            rest = bytes(self._buffer[self._begin : self._end])
            self._buffer[: len(rest)] = rest
            self._begin, self._end = 0, len(rest)
        return self._buffer[self._end :]

    def received(self, count: int) -> list[Event]:
        """So many bytes have been received into :meth:`space`.

        :raise ProtocolError: they make no sense.
        """
        self._end += count
        while self._end - self._begin >= self._needed:
            piece = self._buffer[self._begin : self._begin + self._needed]
            self._begin += self._needed
            self._needed = self._parser.send(piece)
        events, self._events = self._events, []
        return events

    def ask(self, incremental: bool) -> None:
        """Ask for the picture, or for what changes in it."""
        self.outgoing += messages.update_request(self.picture.width, self.picture.height, incremental)

    def _conversation(self) -> _Parser:
        version = bytes((yield 12))
        if version != messages.VERSION:
            raise ProtocolError(f"no RFB 3.8: {version!r}")
        self.outgoing += messages.VERSION
        count = (yield 1)[0]
        if not count:
            raise ProtocolError("refused by the server")
        if 1 not in (yield count):
            raise ProtocolError("the server wants a password")
        self.outgoing += b"\x01"
        if any((yield 4)):
            raise ProtocolError("the server lets nobody in")
        self.outgoing += messages.SHARED
        width, height, name_length = struct.unpack(">HH16xI", (yield 24))
        yield from _skip(name_length)
        self._resize(width, height)
        self.outgoing += messages.pixel_format(self._wanted) + messages.encodings(_ENCODINGS)
        self.ask(incremental=False)
        readers = {0: self._update, 1: self._colours, 2: self._bell, 3: self._cut_text, 255: self._qemu}
        while True:
            kind = (yield 1)[0]
            reader = readers.get(kind)
            if reader is None:
                raise ProtocolError(f"message of type {kind}")
            yield from reader()

    def _update(self) -> _Parser:
        (count,) = struct.unpack(">xH", (yield 3))
        size = (self.picture.width, self.picture.height)
        drawn = False
        for _ in range(count):
            x, y, width, height, encoding = struct.unpack(">HHHHi", (yield 12))
            if encoding == messages.RAW:
                yield from self._raw(Box(x, y, width, height))
                drawn = True
            elif encoding == messages.DESKTOP_SIZE:
                self._resize(width, height)
            elif encoding == messages.EXTENDED_KEY:
                self.extended_keys = True
            elif encoding == messages.AUDIO:
                if self._sound:
                    self.outgoing += messages.sound(True)
            elif encoding == messages.LED_STATE:
                lamps = (yield 1)[0]  # not within the next line: the list may be another one by then
                self._events.append(Lamps(lamps & 7))
            else:
                raise ProtocolError(f"a rectangle with encoding {encoding}, which was not asked for")
        resized = size != (self.picture.width, self.picture.height)
        if drawn or resized:
            self._events.append(Updated(resized))

    def _raw(self, box: Box) -> _Parser:
        if not self.picture.holds(box):
            size = f"{self.picture.width}x{self.picture.height}"
            raise ProtocolError(f"a rectangle that the picture of {size} does not hold: {box}")
        row = box.width * self.picture.pixel_bytes
        if not row:
            return
        at_once = _BUFFER // row
        for first in range(0, box.height, at_once):
            rows = min(at_once, box.height - first)
            self.picture.put(Box(box.x, box.y + first, box.width, rows), (yield rows * row))

    def _resize(self, width: int, height: int) -> None:
        if max(width, height) > _LARGEST_SIDE or width * height > _LARGEST_AREA:
            raise ProtocolError(f"a picture of {width}x{height}: allowed are {_LARGEST_AREA >> 20} Mi pixels")
        if (width, height) != (self.picture.width, self.picture.height):
            self.picture.resize(width, height)

    def _colours(self) -> _Parser:
        """A colour map, which nobody needs who has asked for true colour."""
        (count,) = struct.unpack(">xxxH", (yield 5))
        yield from _skip(6 * count)

    def _bell(self) -> _Parser:
        self._events.append(Bell())
        yield 0

    def _cut_text(self) -> _Parser:
        (length,) = struct.unpack(">xxxI", (yield 7))
        yield from _skip(length)

    def _qemu(self) -> _Parser:
        kind, operation = struct.unpack(">BH", (yield 3))
        if kind != 1:
            raise ProtocolError(f"a message of QEMU's of type {kind}")
        if operation == 2:
            (length,) = struct.unpack(">I", (yield 4))
            while length:
                piece = yield min(length, _BUFFER // 2)
                self._events.append(Sound(bytes(piece)))
                length -= len(piece)
        elif operation == 0:
            self._events.append(Sound(b""))


def _skip(length: int) -> _Parser:
    while length:
        length -= len((yield min(length, _BUFFER // 2)))
