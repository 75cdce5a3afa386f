"""Where a picture goes on a screen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_console.rfb.picture import Box
from hal_console.screen.geometry import Placement, place

SIDES = st.integers(1, 5000)


@pytest.mark.parametrize(
    ("picture", "screen", "expected"),
    [
        ((720, 400), (1280, 800), Placement(1, 1, 280, 200, 720, 400)),
        ((640, 400), (1280, 800), Placement(2, 1, 0, 0, 1280, 800)),
        ((720, 400), (1920, 1080), Placement(2, 1, 240, 140, 1440, 800)),
        ((1024, 768), (1024, 768), Placement(1, 1, 0, 0, 1024, 768)),
        ((1920, 1080), (1024, 768), Placement(1, 2, 32, 114, 960, 540)),
        ((1, 1), (640, 480), Placement(480, 1, 80, 0, 480, 480)),
    ],
)
def test_places(picture: tuple[int, int], screen: tuple[int, int], expected: Placement) -> None:
    assert place(picture, screen, scale=True) == expected


def test_a_picture_is_enlarged_only_where_that_is_wanted() -> None:
    assert place((640, 400), (1280, 800), scale=False) == Placement(1, 1, 320, 200, 640, 400)
    assert place((2560, 1600), (1280, 800), scale=False) == Placement(1, 2, 0, 0, 1280, 800)


@given(SIDES, SIDES, SIDES, SIDES, st.booleans())
def test_it_is_always_in_the_middle_of_the_screen(width: int, height: int, wide: int, high: int, scale: bool) -> None:
    placed = place((width, height), (wide, high), scale)
    assert placed.left >= 0
    assert placed.left + placed.width <= wide
    assert placed.top >= 0
    assert placed.top + placed.height <= high
    assert abs(wide - placed.width - 2 * placed.left) <= 1
    assert abs(high - placed.height - 2 * placed.top) <= 1
    assert 1 in (placed.zoom, placed.shrink)
    whole = placed.on_screen(Box(0, 0, width, height))
    assert whole == Box(placed.left, placed.top, placed.width, placed.height)


@given(SIDES, SIDES, SIDES, SIDES, st.data())
def test_two_halves_meet_and_do_not_overlap(width: int, height: int, wide: int, high: int, data: st.DataObject) -> None:
    placed = place((width, height), (wide, high), scale=True)
    cut = data.draw(st.integers(0, width))
    left = placed.on_screen(Box(0, 0, cut, height))
    right = placed.on_screen(Box(cut, 0, width - cut, height))
    assert left.x + left.width == right.x
    assert left.width + right.width == placed.width
