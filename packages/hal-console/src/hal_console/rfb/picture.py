"""The product's picture, as this side knows it: complete at any time, so that it can be drawn again after a switch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A part of a picture, in pixels."""

    x: int
    y: int
    width: int
    height: int


class Picture:
    """Rows of pixels without gaps.

    :ivar view: all of it, as bytes. :ivar changed: the boxes that have changed since somebody emptied the list.
    """

    def __init__(self, pixel_bytes: int) -> None:
        self.pixel_bytes = pixel_bytes
        self.changed: list[Box] = []
        self.resize(0, 0)

    def resize(self, width: int, height: int) -> None:
        """A new, black picture of this size."""
        self.width, self.height = width, height
        self.stride = width * self.pixel_bytes
        self.view = memoryview(bytearray(self.stride * height))
        self.changed = [Box(0, 0, width, height)] if width and height else []

    def put(self, box: Box, pixels: memoryview) -> None:
        """Replace a box, which lies within the picture, by these pixels."""
        row, stride, view = box.width * self.pixel_bytes, self.stride, self.view
        target = box.y * stride + box.x * self.pixel_bytes
        if row == stride:
            view[target : target + len(pixels)] = pixels
        else:
            for source in range(0, len(pixels), row):
                view[target : target + row] = pixels[source : source + row]
                target += stride
        self.changed.append(box)

    def holds(self, box: Box) -> bool:
        return box.x + box.width <= self.width and box.y + box.height <= self.height

    def whole(self) -> Box:
        return Box(0, 0, self.width, self.height)
