"""The VNC server's words, whatever pieces they come in, and whatever nonsense."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_console.rfb import messages
from hal_console.rfb.picture import Box
from hal_console.rfb.pixels import XRGB32
from hal_console.rfb.stream import Bell, Event, Lamps, ProtocolError, Sound, Stream, Updated

HELLO = b"RFB 003.008\n" + b"\x01\x01" + bytes(4)
NAME = b"QEMU (hal)"


def init(width: int, height: int) -> bytes:
    return struct.pack(">HH16xI", width, height, len(NAME)) + NAME


def rectangle(x: int, y: int, width: int, height: int, encoding: int, content: bytes = b"") -> bytes:
    return struct.pack(">HHHHi", x, y, width, height, encoding) + content


def update(*rectangles: bytes) -> bytes:
    return struct.pack(">BxH", 0, len(rectangles)) + b"".join(rectangles)


def feed(stream: Stream, pieces: Iterable[bytes]) -> list[Event]:
    events: list[Event] = []
    for piece in pieces:
        while piece:
            space = stream.space()
            now, piece = piece[: len(space)], piece[len(space) :]
            space[: len(now)] = now
            events += stream.received(len(now))
    return events


def connected(width: int = 4, height: int = 3, sound: bool = False) -> Stream:
    stream = Stream(XRGB32, sound)
    assert feed(stream, [HELLO + init(width, height)]) == []
    stream.outgoing.clear()
    return stream


def test_what_is_said_to_a_server() -> None:
    stream = Stream(XRGB32)
    feed(stream, [HELLO + init(720, 400)])
    expected = (
        b"RFB 003.008\n"
        + b"\x01"  # no password
        + b"\x01"  # shared
        + bytes.fromhex("00000000 20180001 00ff00ff00ff 100800 000000")
        + struct.pack(">BxH5i", 2, 5, 0, -223, -258, -259, -261)
        + bytes.fromhex("03 00 0000 0000 02d0 0190")
    )
    assert bytes(stream.outgoing) == expected
    assert (stream.picture.width, stream.picture.height) == (720, 400)


def test_pixels_land_in_the_picture() -> None:
    stream = connected(4, 3)
    stream.picture.changed.clear()
    pixels = bytes(range(2 * 2 * 4))
    assert feed(stream, [update(rectangle(1, 1, 2, 2, messages.RAW, pixels))]) == [Updated(resized=False)]
    rows = [bytes(stream.picture.view[y * 16 : y * 16 + 16]) for y in range(3)]
    assert rows == [bytes(16), bytes(4) + pixels[:8] + bytes(4), bytes(4) + pixels[8:] + bytes(4)]
    assert stream.picture.changed == [Box(1, 1, 2, 2)]


def test_another_size_is_a_new_black_picture() -> None:
    stream = connected(4, 3)
    feed(stream, [update(rectangle(0, 0, 4, 3, messages.RAW, b"\xff" * 48))])
    events = feed(stream, [update(rectangle(0, 0, 2, 5, messages.DESKTOP_SIZE))])
    assert events == [Updated(resized=True)]
    assert bytes(stream.picture.view) == bytes(2 * 5 * 4)
    assert feed(stream, [update(rectangle(0, 0, 2, 5, messages.DESKTOP_SIZE))]) == []


def test_what_else_a_server_says() -> None:
    stream = connected()
    assert not stream.extended_keys
    said = [
        update(rectangle(0, 0, 4, 3, messages.EXTENDED_KEY)),
        update(rectangle(0, 0, 4, 3, messages.LED_STATE, b"\x06")),
        b"\x02",
        struct.pack(">BxxxI", 3, 5) + b"a cut",
        struct.pack(">BxHH", 1, 0, 2) + bytes(12),
        struct.pack(">BBHI", 255, 1, 2, 4) + b"\x80\x90\x80\x70",
        struct.pack(">BBH", 255, 1, 1),
        struct.pack(">BBH", 255, 1, 0),
    ]
    events = feed(stream, said)
    assert events == [Lamps(6), Bell(), Sound(b"\x80\x90\x80\x70"), Sound(b"")]
    assert stream.extended_keys
    assert bytes(stream.outgoing) == b""


@pytest.mark.parametrize("wanted", [True, False])
def test_sound_is_asked_for_where_it_is_wanted(wanted: bool) -> None:
    stream = connected(sound=wanted)
    feed(stream, [update(rectangle(0, 0, 4, 3, messages.AUDIO))])
    assert bytes(stream.outgoing) == (bytes.fromhex("ff01 0002 00 01 00002b11 ff01 0000") if wanted else b"")


@given(st.data())
def test_pieces_do_not_matter(data: st.DataObject) -> None:
    said = HELLO + init(3, 2)
    for _ in range(data.draw(st.integers(0, 4))):
        content = data.draw(st.binary(min_size=24, max_size=24))
        said += update(
            rectangle(0, 0, 3, 2, messages.RAW, content), rectangle(0, 0, 3, 2, messages.LED_STATE, content[:1])
        )
    whole, parts = Stream(XRGB32), Stream(XRGB32)
    events = feed(whole, [said])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=20)))
    pieces = [said[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(said)])]
    assert feed(parts, pieces) == events
    assert bytes(parts.picture.view) == bytes(whole.picture.view)
    assert parts.outgoing == whole.outgoing


def test_a_rectangle_larger_than_the_buffer() -> None:
    stream = connected(1000, 700)
    pixels = b"".join(number.to_bytes(4, "little") for number in range(1000 * 700))
    pieces = [pixels[at : at + 65536] for at in range(0, len(pixels), 65536)]
    head = update(rectangle(0, 0, 1000, 700, messages.RAW))
    assert feed(stream, [head, *pieces]) == [Updated(resized=False)]
    assert bytes(stream.picture.view) == pixels


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (b"SSH-2.0-OpenSSH", "no RFB 3.8"),
        (b"RFB 003.003\n", "no RFB 3.8"),
        (b"RFB 003.008\n\x00", "refused"),
        (b"RFB 003.008\n\x01\x02", "password"),
        (b"RFB 003.008\n\x01\x01\x00\x00\x00\x01", "lets nobody in"),
        (HELLO + init(16385, 1), "16385x1"),
        (HELLO + init(8192, 8192), "8192x8192"),
        (HELLO + init(4, 3) + b"\x07", "type 7"),
        (HELLO + init(4, 3) + b"\xff\x02\x00\x00", "of QEMU's of type 2"),
        (HELLO + init(4, 3) + update(rectangle(1, 0, 4, 3, 0)), "does not hold"),
        (HELLO + init(4, 3) + update(rectangle(0, 3, 1, 1, 0)), "does not hold"),
        (HELLO + init(4, 3) + update(rectangle(0, 0, 4, 3, 5)), "encoding 5"),
        (HELLO + init(4, 3) + update(rectangle(0, 0, 60000, 60000, -223)), "60000x60000"),
    ],
)
def test_nonsense_ends_it(said: bytes, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        feed(Stream(XRGB32), [said])


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_noise_never_does_anything_else(noise: list[bytes]) -> None:
    stream = connected()
    try:
        feed(stream, noise)
    except ProtocolError:
        return
    assert stream.picture.width * stream.picture.height <= 1 << 25
