"""Where on a screen a picture goes, and how large: pure."""

from __future__ import annotations

from dataclasses import dataclass

from hal_console.rfb.picture import Box


@dataclass(frozen=True)
class Placement:
    """A picture in the middle of a screen, in whole steps, so that letters stay sharp.

    One of the two factors is 1.
    """

    zoom: int  # every pixel of the picture is so many wide and high on the screen
    shrink: int  # only one of so many pixels and rows is shown
    left: int  # pixels of the screen
    top: int
    width: int
    height: int

    def on_screen(self, box: Box) -> Box:
        """Where a box of the picture is on the screen; with ``shrink``, the rows and columns in it that are shown."""
        left, right = self._scaled(box.x), self._scaled(box.x + box.width)
        top, bottom = self._scaled(box.y), self._scaled(box.y + box.height)
        return Box(self.left + left, self.top + top, right - left, bottom - top)

    def _scaled(self, at: int) -> int:
        return -(-at // self.shrink) * self.zoom


def place(picture: tuple[int, int], screen: tuple[int, int], scale: bool) -> Placement:
    """As large as it fits.

    :param picture: width and height in pixels, neither 0. :param screen: likewise.
    :param scale: whether a small picture may be enlarged. A large one is always made to fit.
    """
    (width, height), (screen_width, screen_height) = picture, screen
    zoom = max(1, min(screen_width // width, screen_height // height)) if scale else 1
    shrink = max(1, -(-width // screen_width), -(-height // screen_height))
    shown = (-(-width // shrink) * zoom, -(-height // shrink) * zoom)
    return Placement(zoom, shrink, (screen_width - shown[0]) // 2, (screen_height - shown[1]) // 2, *shown)
