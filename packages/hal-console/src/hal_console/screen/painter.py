"""From the picture to the screen: rows are copied as they are, or every pixel several times, or only some of them.

Python touches rows, never pixels: a slice of a memoryview is copied by one memcpy, and one with a step by a loop in C.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hal_console.rfb.picture import Box, Picture
from hal_console.screen.framebuffer import Framebuffer
from hal_console.screen.geometry import Placement, place


class Painter:
    """Draws one picture on one screen."""

    def __init__(self, screen: Framebuffer, picture: Picture, scale: bool) -> None:
        self._screen = screen
        self._picture = picture
        self._scale = scale
        self._placement = Placement(1, 1, 0, 0, 0, 0)

    def paint_all(self) -> None:
        """The whole screen, whatever was on it."""
        picture, geometry = self._picture, self._screen.geometry
        picture.changed.clear()
        self._screen.clear()
        if picture.width and picture.height:
            size = (picture.width, picture.height)
            self._placement = place(size, (geometry.width, geometry.height), self._scale)
            self._paint(picture.whole())

    def paint_changes(self) -> None:
        """What has changed since the last time."""
        for box in merged(self._picture.changed):
            self._paint(box)
        self._picture.changed.clear()

    def _paint(self, box: Box) -> None:
        geometry, placement = self._screen.geometry, self._placement
        target = placement.on_screen(box)
        if not target.width or not target.height:
            return
        pixel = geometry.bits // 8
        memory, length = self._screen.memory, target.width * pixel
        at = geometry.offset + target.y * geometry.stride + target.x * pixel
        for row in self._rows(box):
            for _ in range(placement.zoom):
                memory[at : at + length] = row
                at += geometry.stride

    def _rows(self, box: Box) -> Iterator[memoryview]:
        """The rows of the box that are shown, as the screen has them."""
        picture, placement = self._picture, self._placement
        zoom, shrink = placement.zoom, placement.shrink
        plain = zoom == 1 and shrink == 1
        pixel = picture.pixel_bytes
        first = -(-box.x // shrink) * shrink  # the first column in it that is shown
        start, end = first * pixel, (box.x + box.width) * pixel
        for y in range(-(-box.y // shrink) * shrink, box.y + box.height, shrink):
            row = picture.view[y * picture.stride + start : y * picture.stride + end]
            if not plain:
                row = _stretched(row, pixel, zoom, shrink)
            yield row if self._screen.geometry.bits == 8 * pixel else _packed(row)


def merged(boxes: Iterable[Box]) -> list[Box]:
    """Boxes that cover at least these, and are drawn faster.

    QEMU sends tiles of 16 pixels: a line of text that has changed is one box here, and so is a screen that scrolls.
    """
    rows: dict[tuple[int, int], tuple[int, int]] = {}  # y and height → leftmost and right
    for box in boxes:
        left, right = rows.get((box.y, box.height), (box.x, box.x + box.width))
        rows[box.y, box.height] = (min(left, box.x), max(right, box.x + box.width))
    found: list[Box] = []
    for (y, height), (left, right) in sorted(rows.items()):
        last = found[-1] if found else None
        if last and last.x == left and last.width == right - left and last.y + last.height == y:
            found[-1] = Box(left, last.y, last.width, last.height + height)
        else:
            found.append(Box(left, y, right - left, height))
    return found


def _stretched(row: memoryview, pixel: int, zoom: int, shrink: int) -> memoryview:
    source = (row.cast("I") if pixel == 4 else row.cast("H"))[::shrink]
    if zoom == 1:
        return memoryview(source.tobytes())
    result = memoryview(bytearray(len(source) * zoom * pixel))
    pixels = result.cast("I") if pixel == 4 else result.cast("H")
    for step in range(zoom):
        pixels[step::zoom] = source
    return result


def _packed(row: memoryview) -> memoryview:
    """32 bits per pixel to 24: the fourth byte has nothing in it."""
    result = memoryview(bytearray(len(row) // 4 * 3))
    for byte in range(3):
        result[byte::3] = row[byte::4]
    return result
