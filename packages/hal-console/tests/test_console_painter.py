"""What is drawn on a framebuffer: every pixel of the picture at its place, and nothing anywhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fake_screen
from fake_screen import OUTSIDE, box_within, fake_framebuffer, outside_of, pixel, pixels_of
from hal_console.rfb.picture import Box, Picture
from hal_console.screen.framebuffer import Framebuffer
from hal_console.screen.geometry import place
from hal_console.screen.painter import Painter, merged

SIDES = st.integers(1, 40)
PARTS = st.floats(0, 1)
BOXES = st.tuples(PARTS, PARTS, PARTS, PARTS)


def expected(picture: Picture, screen: Framebuffer, scale: bool) -> list[list[int]]:
    """The screen, pixel by pixel."""
    geometry = screen.geometry
    placed = place((picture.width, picture.height), (geometry.width, geometry.height), scale)
    rows = [[0] * geometry.width for _ in range(geometry.height)]
    for y in range(placed.height):
        for x in range(placed.width):
            source = (x // placed.zoom * placed.shrink, y // placed.zoom * placed.shrink)
            rows[placed.top + y][placed.left + x] = pixel(picture, *source)
    return rows


@pytest.mark.parametrize("bits", [16, 24, 32])
@given(SIDES, SIDES, SIDES, SIDES, st.booleans())
def test_the_whole_picture(bits: int, width: int, height: int, wide: int, high: int, scale: bool) -> None:
    screen = fake_framebuffer(wide, high, bits)
    picture = fake_screen.picture(width, height, 2 if bits == 16 else 4)
    Painter(screen, picture, scale).paint_all()
    assert pixels_of(screen) == expected(picture, screen, scale)
    assert outside_of(screen) == {OUTSIDE}
    assert picture.changed == []


@given(SIDES, SIDES, SIDES, SIDES, st.lists(BOXES, max_size=6))
def test_what_changes(
    width: int, height: int, wide: int, high: int, numbers: list[tuple[float, float, float, float]]
) -> None:
    screen = fake_framebuffer(wide, high)
    picture = fake_screen.picture(width, height)
    painter = Painter(screen, picture, scale=True)
    painter.paint_all()
    for colour, each in enumerate(numbers, 0x700000):
        box = box_within(width, height, each)
        if not box.width:
            continue  # no server sends one
        picture.put(box, memoryview(colour.to_bytes(4, "little") * (box.width * box.height)))
    painter.paint_changes()
    assert pixels_of(screen) == expected(picture, screen, scale=True)
    assert outside_of(screen) == {OUTSIDE}


def test_a_smaller_picture_leaves_nothing_of_a_larger_one() -> None:
    screen = fake_framebuffer(20, 10)
    picture = fake_screen.picture(20, 10)
    painter = Painter(screen, picture, scale=False)
    painter.paint_all()
    picture.resize(4, 4)
    painter.paint_all()
    assert pixels_of(screen) == [[0] * 20] * 10


def test_a_picture_of_another_size_is_painted_whole_at_its_place() -> None:
    screen = fake_framebuffer(20, 10)
    picture = fake_screen.picture(16, 4)
    painter = Painter(screen, picture, scale=True)
    painter.paint_all()
    picture.resize(10, 5)
    picture.put(Box(0, 0, 10, 5), memoryview(bytes([7, 0, 0, 0]) * 50))
    painter.paint_changes()
    assert pixels_of(screen) == [[7] * 20] * 10


def test_no_picture_yet_is_a_black_screen() -> None:
    screen = fake_framebuffer(20, 10)
    Painter(screen, Picture(4), scale=True).paint_all()
    assert pixels_of(screen) == [[0] * 20] * 10
    assert outside_of(screen) == {OUTSIDE}


@given(st.lists(st.builds(Box, *[st.integers(0, 30)] * 2, *[st.integers(1, 9)] * 2)))
def test_merged_boxes_cover_what_they_are_made_of(boxes: list[Box]) -> None:
    def area(several: list[Box]) -> set[tuple[int, int]]:
        return {
            (x, y) for box in several for x in range(box.x, box.x + box.width) for y in range(box.y, box.y + box.height)
        }

    found = merged(boxes)
    assert area(found) >= area(boxes)
    assert len(found) <= 3  # bands that 39 rows have


def test_the_tiles_of_a_line_become_one_box_and_its_lines_another() -> None:
    tiles = [Box(x, y, 16, 16) for y in (0, 16) for x in range(0, 160, 16)]
    assert merged(tiles) == [Box(0, 0, 160, 32)]
