"""The text on a screenshot of a simulated server's display.

Text on a display here comes from a handful of programs, each with its font and its place for the cells; and an emulated
display has no noise. So a cell is read by looking up its bitmap, whatever its two colours, and the right grid of cells
is the one in which most of them can be read. The fonts are in GNU Unifont's format, in each line a code point and the
rows of a glyph that is 8 pixels wide; each file says where its glyphs come from.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Union

from PIL import Image

from lab.errors import LabError

FONTS = Path(__file__).with_name("fonts")
UNKNOWN = "\ufffd"
NEAR = 4  # pixels that a glyph may differ in, in another version of a font

_VGA = ("vga",)
_LINUX = ("linux", "vga")
_UEFI = ("ovmf",)
_GRUB = ("grub",)


@dataclass(frozen=True)
class Grid:
    """Where the cells are, in pixels.

    :ivar name: whose they are
    :ivar cell: width and height of one; glyphs are its left 8 pixels
    :ivar origin: of the first one
    :ivar size: columns and rows
    :ivar fonts: where its glyphs are looked for
    """

    name: str
    fonts: tuple[str, ...]
    cell: tuple[int, int]
    origin: tuple[int, int]
    size: tuple[int, int]


@dataclass(frozen=True)
class Screen:
    """What is on the display.

    :ivar lines: the grid's rows, without the blanks at their ends; U+FFFD is a glyph that no font has
    :ivar grid: the name of the grid that they are in
    :ivar unknown: those glyphs as the font files write them: with a code point in place of U+FFFD, a font learns them
    """

    lines: list[str]
    grid: str
    unknown: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def contains(self, expression: str) -> bool:
        """Whether a regular expression is found on it; ``^`` and ``$`` are the ends of a line."""
        return re.search(expression, self.text, re.MULTILINE) is not None


def read(picture: Union[Path, bytes]) -> Screen:
    """Read a screenshot, in any format that QEMU's screendump makes (PPM, PNG): the file, or what is in it.

    :raise LabError: it is no picture
    """
    try:
        with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as opened:
            image = opened.convert("L")
    except OSError as error:
        raise LabError(f"{picture if isinstance(picture, Path) else 'this'} is no screenshot: {error}") from None
    pixels = image.tobytes()
    candidates = [(grid, _cells(pixels, image.width, grid)) for grid in grids(*image.size)]
    if not candidates:
        raise LabError(f"a screenshot of {image.width}x{image.height} pixels has no room for text")
    grid, rows = max(candidates, key=lambda candidate: _score(candidate[1], candidate[0].fonts))
    lines = ["".join(_character(cell, grid.fonts) for cell in row).rstrip() for row in rows]
    unknown = {cell for row in rows for cell in row if len(set(cell)) == 2 and _character(cell, grid.fonts) == UNKNOWN}
    return Screen(lines, grid.name, sorted(f"{UNKNOWN}:{_bits(cell):0{len(cell) // 4}X}" for cell in unknown))


def grids(width: int, height: int) -> list[Grid]:
    """Every place that text has on a display of this size; the more likely of two that say the same comes first."""

    def fill(name: str, fonts: tuple[str, ...], cell: tuple[int, int], margin: int = 0) -> Grid:
        size = ((width - 2 * margin) // cell[0], (height - 2 * margin) // cell[1])
        return Grid(name, fonts, cell, (margin, margin), size)

    def centre(name: str, fonts: tuple[str, ...], cell: tuple[int, int], columns: int, rows: int) -> Grid:
        origin = ((width - columns * cell[0]) // 2, (height - rows * cell[1]) // 2)
        return Grid(name, fonts, cell, origin, (columns, rows))

    every = (
        fill("Linux console", _LINUX, (8, 16)),
        centre("VGA text", _VGA, (9, 16), 80, 25),  # the whole display, or a guest's within it
        centre("VGA text, narrow", _LINUX, (8, 16), 80, 25),
        centre("UEFI console", _UEFI, (8, 19), width // 8, height // 19),
        *(centre("UEFI console", _UEFI, (8, 19), *mode) for mode in ((80, 25), (80, 50), (100, 31))),
        fill("GRUB gfxterm", _GRUB, (8, 16), 10),  # DEFAULT_BORDER_WIDTH in its gfxterm.c
    )
    return [grid for grid in every if min(grid.origin) >= 0 and min(grid.size) > 0]


def _cells(pixels: bytes, width: int, grid: Grid) -> list[list[bytes]]:
    """The cells of each row, each as one brightness per pixel; a row that is all of one colour has none."""
    (cell_width, cell_height), (left, top), (columns, rows) = grid.cell, grid.origin, grid.size
    cells: list[list[bytes]] = []
    for row in range(rows):
        begin = (top + row * cell_height) * width + left
        lines = [pixels[at : at + columns * cell_width] for at in range(begin, begin + cell_height * width, width)]
        blank = all(line.count(lines[0][:1]) == len(line) for line in lines)
        places = range(0, 0 if blank else columns * cell_width, cell_width)
        cells.append([b"".join([line[x : x + 8] for line in lines]) for x in places])
    return cells


def _score(rows: Iterable[Iterable[bytes]], fonts: tuple[str, ...]) -> int:
    """How much better this grid is than nothing. Where areas meet, lines and blocks are seen in every grid."""
    found = [_recognize(cell, fonts) for row in rows for cell in row]
    return sum(1 if character else -1 for character in found if not character or not _is_drawn(character))


def _is_drawn(character: str) -> bool:
    """A blank, or one of Unicode's Box Drawing and Block Elements."""
    return character == " " or "\u2500" <= character <= "\u259f"


def _character(cell: bytes, fonts: tuple[str, ...]) -> str:
    return _recognize(cell, fonts) or _nearest(cell, fonts)


@functools.lru_cache(maxsize=1 << 16)
def _recognize(cell: bytes, fonts: tuple[str, ...]) -> str:
    """The character, or nothing."""
    colours = len(set(cell))
    if colours != 2:
        return " " if colours == 1 else ""
    bits = _bits(cell)
    font = _font(fonts, len(cell) // 8)
    # The glyph, inverted, or underlined by a cursor, with which there may be none.
    for candidate in (bits, bits ^ _full(cell), _without_cursor(bits)):
        if candidate == 0 or candidate in font:
            return font.get(candidate, " ")
    return ""


@functools.lru_cache(maxsize=1 << 12)
def _nearest(cell: bytes, fonts: tuple[str, ...]) -> str:
    if len(set(cell)) != 2:
        return UNKNOWN
    bits = _bits(cell)
    distance, character = min(
        (bin(glyph ^ candidate).count("1"), character)
        for glyph, character in _font(fonts, len(cell) // 8).items()
        for candidate in (bits, bits ^ _full(cell))
    )
    return character if distance <= NEAR else UNKNOWN


def _bits(cell: bytes) -> int:
    """The bitmap of a cell of two colours: 0 is the more frequent one, or the darker."""
    dark, bright = sorted(set(cell))
    background = dark if cell.count(dark) >= cell.count(bright) else bright
    return int("".join("0" if pixel == background else "1" for pixel in cell), 2)


def _full(cell: bytes) -> int:
    return (1 << len(cell)) - 1


def _without_cursor(bits: int) -> int:
    """Without those of the lowest four rows that are full."""
    for row in range(4):
        if bits >> row * 8 & 0xFF == 0xFF:
            bits &= ~(0xFF << row * 8)
    return bits


@functools.cache
def _font(names: tuple[str, ...], height: int) -> dict[int, str]:
    """The fonts' glyphs of that height, by bitmap. The first one decides where two have the same."""
    font: dict[int, str] = {}
    for name in names:
        for line in (FONTS / f"{name}.hex").read_text(encoding="utf-8").splitlines():
            point, _, rows = line.partition(":")
            if not line.startswith("#") and len(rows) == height * 2:
                font.setdefault(int(rows, 16), chr(int(point, 16)))
    return font
