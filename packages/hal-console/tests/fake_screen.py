"""A fake framebuffer, in ordinary memory: what is drawn on it can be looked at. And pictures to draw."""

from __future__ import annotations

from hal_console.rfb.picture import Box, Picture
from hal_console.rfb.pixels import XRGB32, PixelFormat
from hal_console.screen.framebuffer import Framebuffer, Geometry

RGB16 = PixelFormat(16, (11, 5), (5, 6), (0, 5))
OUTSIDE = 0xEE  # what the fake's memory is full of at first: what nobody may draw on keeps it


def fake_framebuffer(width: int, height: int, bits: int = 32, gap: int = 12, offset: int = 8) -> Framebuffer:
    """:param gap: bytes between two rows that belong to neither. :param offset: and before the first one."""
    stride = width * bits // 8 + gap
    length = offset + height * stride
    wanted = RGB16 if bits == 16 else XRGB32
    geometry = Geometry(width, height, bits, stride, offset, length, wanted, "fake")
    return Framebuffer(memoryview(bytearray([OUTSIDE]) * length), geometry)


def pixels_of(screen: Framebuffer) -> list[list[int]]:
    """Every visible pixel as a number."""
    geometry, size = screen.geometry, screen.geometry.bits // 8
    rows = []
    for y in range(geometry.height):
        at = geometry.offset + y * geometry.stride
        row = bytes(screen.memory[at : at + geometry.width * size])
        rows.append([int.from_bytes(row[x : x + size], "little") for x in range(0, len(row), size)])
    return rows


def outside_of(screen: Framebuffer) -> set[int]:
    """What is in the bytes that are no pixels."""
    geometry = screen.geometry
    found = set(bytes(screen.memory[: geometry.offset]))
    for y in range(geometry.height):
        end = geometry.offset + y * geometry.stride + geometry.width * geometry.bits // 8
        found |= set(bytes(screen.memory[end : geometry.offset + (y + 1) * geometry.stride]))
    return found


def picture(width: int, height: int, pixel_bytes: int = 4) -> Picture:
    """A picture in which every pixel differs from its neighbours; the fourth byte is 0."""
    made = Picture(pixel_bytes)
    made.resize(width, height)
    data = b"".join(
        (1 + x + y * width).to_bytes(3, "little")[: min(3, pixel_bytes)].ljust(pixel_bytes, b"\0")
        for y in range(height)
        for x in range(width)
    )
    made.put(made.whole(), memoryview(data))
    return made


def pixel(made: Picture, x: int, y: int) -> int:
    at = y * made.stride + x * made.pixel_bytes
    return int.from_bytes(made.view[at : at + made.pixel_bytes], "little")


def box_within(width: int, height: int, numbers: tuple[float, float, float, float]) -> Box:
    """A box in a picture, from four numbers between 0 and 1."""
    left, right = sorted(int(number * width) for number in numbers[:2])
    top, bottom = sorted(int(number * height) for number in numbers[2:])
    return Box(left, top, right - left, bottom - top)
