"""Text read off pictures, with the letters of the VGA BIOS that QEMU has; and written on a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_console.rfb.picture import Box, Picture
from hal_console.screen import ansi, font, letters
from hal_console.screen.ansi import TextScreen
from hal_console.screen.letters import UNKNOWN, Cell, Reader

needs_font = pytest.mark.skipif(not font.letters(), reason="QEMU's VGA BIOS is not installed")
ASCII = st.characters(min_codepoint=33, max_codepoint=126)


def pixel(number: int) -> int:
    """One of the PC's sixteen colours, as QEMU makes it of red, green and blue with 3, 3 and 2 bits."""
    low, high = (0x55, 0xFF) if number & 8 else (0, 0xAA)
    red, green, blue = (high if number & bit else low for bit in (1, 2, 4))
    if number == 3:
        green = 0x55
    return red >> 5 | green >> 5 << 3 | blue >> 6 << 6


def drawn(text: list[str], ink: int = 7, paper: int = 0, width: int = 9, columns: int = 80, rows: int = 25) -> Picture:
    """A picture with this text."""
    bitmaps = {letter: bitmap for bitmap, letter in font.letters().items()}
    picture = Picture(1)
    picture.resize(columns * width, rows * 16)
    picture.put(picture.whole(), memoryview(bytes([pixel(paper)]) * len(picture.view)))
    for y, line in enumerate(text):
        for x, letter in enumerate(line):
            for row, bits in enumerate(bitmaps[letter]):
                shown = bytes(pixel(ink) if bits >> 7 - bit & 1 else pixel(paper) for bit in range(8))
                picture.put(Box(x * width, y * 16 + row, 8, 1), memoryview(shown))
    return picture


def texts(rows: list[list[Cell]]) -> list[str]:
    return ["".join(cell.letter for cell in row).rstrip() for row in rows]


@needs_font
@given(
    st.lists(st.text(ASCII, max_size=80), max_size=4),
    st.integers(0, 15),
    st.sampled_from([8, 9]),
    st.integers(0, 7),
)
def test_what_was_written_is_read(text: list[str], ink: int, width: int, paper: int) -> None:
    if ink == paper:
        return
    rows = Reader().rows(drawn(text, ink, paper, width))
    assert texts(rows)[: len(text)] == text
    assert len(rows) == 25
    assert {len(row) for row in rows} == {80}


@needs_font
@pytest.mark.parametrize("number", range(16))
def test_the_sixteen_colours(number: int) -> None:
    assert letters.colour(pixel(number)) == number
    if number:
        (cell, *_), *_ = Reader().rows(drawn(["A"], ink=number))
        assert cell == Cell("A", number, 0)


@needs_font
def test_the_cursor() -> None:
    picture = drawn(["login: "])
    for row in (13, 14):
        picture.put(Box(7 * 9, row, 9, 1), memoryview(bytes([pixel(7)]) * 9))
    cells_of_row = Reader().rows(picture)[0]
    assert "".join(cell.letter for cell in cells_of_row).rstrip() == "login:"
    assert [column for column, cell in enumerate(cells_of_row) if cell.cursor] == [7]


@needs_font
def test_a_drawing_is_no_letter() -> None:
    picture = drawn(["AB"])
    picture.put(Box(0, 0, 2, 2), memoryview(bytes([3, 200, 17, 90])))
    assert texts(Reader().rows(picture))[0] == UNKNOWN + "B"


def test_without_a_font_there_is_nothing_but_unknown_letters() -> None:
    assert font.decode(b"no VGA BIOS") == {}
    picture = Picture(1)
    picture.resize(8, 16)
    picture.put(Box(3, 3, 1, 1), memoryview(b"\xff"))
    assert texts(Reader({}).rows(picture)) == [UNKNOWN]


# --- on a terminal ----------------------------------------------------------------------------------------------------


def cells(text: str, ink: int = 7, paper: int = 0) -> list[Cell]:
    return [Cell(letter, ink, paper) for letter in text]


def test_only_what_is_new_is_written() -> None:
    screen = TextScreen(80, 25)
    assert screen.show([cells("one  "), cells("two")], "") == (
        "\033[0m\033[2J\033[1H\033[37;40mone\033[0m\033[K\033[2H\033[37;40mtwo\033[0m\033[K"
    )
    assert screen.show([cells("one  "), cells("two")], "") == ""
    assert screen.show([cells("one  "), cells("2", 9, 4)], "") == "\033[2H\033[91;44m2\033[0m\033[K"
    screen.forget()
    assert "one" in screen.show([cells("one"), cells("2")], "")


def test_the_terminal_s_cursor_is_where_the_product_s_is() -> None:
    screen = TextScreen(80, 25)
    row = [*cells("ab"), Cell(" ", 7, 0, cursor=True)]
    assert screen.show([cells("x"), row], "").endswith("\033[2;3H")


def test_a_smaller_terminal_shows_the_lower_lines() -> None:
    said = TextScreen(3, 2).show([cells("first"), cells("second"), cells("third")], "")
    assert "first" not in said
    assert "\033[1H\033[37;40msec\033[0m" in said
    assert "\033[2H\033[37;40mthi\033[0m" in said


def test_graphics_are_told_not_shown() -> None:
    rows = [cells(UNKNOWN * 80)] * 25
    assert ansi.mostly_unknown(rows)
    assert not ansi.mostly_unknown([cells("text" + UNKNOWN)])
    assert not ansi.mostly_unknown([cells("   ")])
    assert "640x480" in TextScreen(80, 25).show(rows, "640x480")
