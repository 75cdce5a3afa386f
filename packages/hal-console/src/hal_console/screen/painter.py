"""From the picture to the screen: rows are copied as they are, or every pixel several times, or only some of them.

Python touches rows, never pixels: a slice of a memoryview is copied by one memcpy, and one with a step by a loop in C.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hal_console.rfb.picture import Box, Picture
from hal_console.screen.framebuffer import Framebuffer
from hal_console.screen.geometry import Placement, place

_BAND = 16  # rows: a line of text


class Painter:
    """Draws one picture on one screen."""

    def __init__(self, screen: Framebuffer, picture: Picture, scale: bool) -> None:
        self._screen = screen
        self._picture = picture
        self._scale = scale
        self._size = (0, 0)  # of the picture that the placement is for
        self._placement = Placement(1, 1, 0, 0, 0, 0)

    def paint_all(self) -> None:
        """The whole screen, whatever was on it."""
        picture, geometry = self._picture, self._screen.geometry
        picture.changed.clear()
        self._screen.clear()
        self._size = (picture.width, picture.height)
        if picture.width and picture.height:
            self._placement = place(self._size, (geometry.width, geometry.height), self._scale)
            self._paint(picture.whole())

    def paint_changes(self) -> None:
        """What has changed since the last time; all of it where the picture has another size now."""
        if self._size != (self._picture.width, self._picture.height):
            self.paint_all()
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
    """Boxes that cover at least these, and are drawn faster: one for each band of the screen at most.

    QEMU sends hundreds of small ones for a screen that scrolls, and a few pixels more cost less than one box more.
    """
    bands: dict[int, list[int]] = {}  # number → left, right, top, bottom of what has changed in it
    for box in boxes:
        right, bottom = box.x + box.width, box.y + box.height
        for number in range(box.y // _BAND, (bottom - 1) // _BAND + 1):
            top, below = max(box.y, number * _BAND), min(bottom, (number + 1) * _BAND)
            band = bands.get(number)
            if band is None:
                bands[number] = [box.x, right, top, below]
                continue
            if box.x < band[0]:
                band[0] = box.x
            if right > band[1]:
                band[1] = right
            if top < band[2]:
                band[2] = top
            if below > band[3]:
                band[3] = below
    found: list[Box] = []
    for _, (left, right, top, bottom) in sorted(bands.items()):
        last = found[-1] if found else None
        if last and last.x == left and last.width == right - left and last.y + last.height == top:
            found[-1] = Box(left, last.y, last.width, last.height + bottom - top)
        else:
            found.append(Box(left, top, right - left, bottom - top))
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
