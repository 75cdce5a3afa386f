"""The text on a picture: where the PC's letters are in their cells, they can be read without doubt.

An emulated screen has no noise: a cell is looked up by its bitmap, whatever its two colours. What is no letter is shown
as :data:`UNKNOWN`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Optional

from hal_console.rfb.picture import Picture
from hal_console.rfb.pixels import PixelFormat
from hal_console.screen import font

#: One byte per pixel is enough for sixteen colours, and a quarter of the work.
WANTED = PixelFormat(8, (0, 3), (3, 3), (6, 2))
UNKNOWN = "▒"

_MOST_REMEMBERED = 1 << 14  # cells: a screen that shows films would fill the memory otherwise
_CURSOR_ROWS = range(10, 16)  # where a text cursor is, of the cell's rows


@dataclass(frozen=True)
class Cell:
    letter: str
    ink: int  # 0 to 15, as the terminal numbers colours: 1 red, 2 green, 4 blue, 8 bright
    paper: int
    cursor: bool = False


@dataclass
class Reader:
    """Reads one picture after the other; remembers what it has seen."""

    letters: dict[bytes, str] = field(default_factory=font.letters)
    _seen: dict[bytes, Cell] = field(default_factory=dict)

    def rows(self, picture: Picture, first: int = 0, last: Optional[int] = None) -> list[list[Cell]]:
        """The rows of text from ``first`` to before ``last``; all of them, if these are not given."""
        # The VGA's own text mode has cells of 9 pixels, of which the last is a gap.
        width = 9 if picture.height == 400 and picture.width % 9 == 0 else 8
        columns, count = picture.width // width, picture.height // font.HEIGHT
        return [self._row(picture, row, columns, width) for row in range(first, count if last is None else last)]

    def _row(self, picture: Picture, row: int, columns: int, width: int) -> list[Cell]:
        stride, view = picture.stride, picture.view
        begin = row * font.HEIGHT * stride
        lines = [bytes(view[at : at + stride]) for at in range(begin, begin + font.HEIGHT * stride, stride)]
        first = lines[0][:1]
        if all(line.count(first) == len(line) for line in lines):
            return [self._cell(first * 8 * font.HEIGHT)] * columns
        places = range(0, columns * width, width)
        return [self._cell(b"".join([line[x : x + 8] for line in lines])) for x in places]

    def _cell(self, pixels: bytes) -> Cell:
        cell = self._seen.get(pixels)
        if cell is None:
            if len(self._seen) >= _MOST_REMEMBERED:
                self._seen.clear()
            cell = self._seen[pixels] = self._recognize(pixels)
        return cell

    def _recognize(self, pixels: bytes) -> Cell:
        colours = sorted(set(pixels), key=lambda colour: (-pixels.count(colour), colour))
        if len(colours) == 1:
            return Cell(" ", 7, colour(colours[0]))
        if len(colours) > 2:
            return Cell(UNKNOWN, 7, 0)
        for paper, ink in (colours, reversed(colours)):
            bitmap = _bitmap(pixels, ink)
            for candidate, cursor in ((bitmap, False), (_without_cursor(bitmap), True)):
                letter = self.letters.get(candidate)
                if letter is not None:
                    return Cell(letter, colour(ink), colour(paper), cursor and candidate != bitmap)
        return Cell(UNKNOWN, colour(colours[1]), colour(colours[0]))


@functools.lru_cache(maxsize=256)
def colour(pixel: int) -> int:
    """The terminal's number of a colour: of the PC's sixteen, the nearest."""
    found = (pixel & 7) * 255 // 7, (pixel >> 3 & 7) * 255 // 7, (pixel >> 6) * 255 // 3
    return min(range(16), key=lambda number: sum((one - other) ** 2 for one, other in zip(found, _colour(number))))


def _colour(number: int) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, as a VGA's text mode has them."""
    low, high = (85, 255) if number & 8 else (0, 170)
    red, green, blue = (high if number & bit else low for bit in (1, 2, 4))
    return (red, 85, blue) if number == 3 else (red, green, blue)  # brown, where dark yellow would be


def _bitmap(pixels: bytes, ink: int) -> bytes:
    bits = int("".join("1" if pixel == ink else "0" for pixel in pixels), 2)
    return bits.to_bytes(len(pixels) // 8, "big")


def _without_cursor(bitmap: bytes) -> bytes:
    """Without those of the lowest rows that are full, as a cursor fills them."""
    return bytes(0 if row in _CURSOR_ROWS and line == 0xFF else line for row, line in enumerate(bitmap))
