"""From the kernel's keys to the product's, without a key that stays down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_console.terminal.held import Keyboard
from hal_console.terminal.keys import Decoder, Key
from hal_console.terminal.scancodes import SCANCODES

CTRL, ALT, SHIFT, ALT_GR = 29, 56, 42, 100
F1, F2, F10, F11, F12, A = 59, 60, 68, 87, 88, 30
KEYS = st.builds(Key, st.integers(1, 255), st.booleans())


def encoded(key: Key) -> bytes:
    """As drivers/tty/vt/keyboard.c has it: kbd_keycode(), VC_MEDIUMRAW."""
    up = 0 if key.down else 0x80
    if key.code < 128:
        return bytes([key.code | up])
    return bytes([up, key.code >> 7 | 0x80, key.code & 0x7F | 0x80])


@given(st.lists(st.builds(Key, st.integers(1, 767), st.booleans())), st.lists(st.integers(0, 300)))
def test_keys_come_out_as_they_went_in_whatever_the_pieces(keys: list[Key], places: list[int]) -> None:
    decoder = Decoder()
    data = b"".join(encoded(key) for key in keys)
    cuts = sorted(min(place, len(data)) for place in places)
    pieces = [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)])]
    assert [key for piece in pieces for key in decoder.feed(piece)] == keys


def test_every_key_has_a_scan_code_of_its_own() -> None:
    assert len(set(SCANCODES.values())) == len(SCANCODES)
    assert all(0 < code < 0x100 for code in SCANCODES.values())


@pytest.mark.parametrize("code", [116, 142, 143])
def test_the_power_button_is_the_host_s(code: int) -> None:
    assert Keyboard(escape=False).translate(Key(code, True)) is None


@given(st.lists(KEYS))
def test_every_key_that_went_down_comes_up(keys: list[Key]) -> None:
    keyboard, down = Keyboard(escape=False), set()
    said = [pressed for key in keys if (pressed := keyboard.translate(key))] + keyboard.release_all()
    for is_down, scancode in said:
        if is_down:
            down.add(scancode)
        else:
            assert scancode in down, "let go of what was not down"
            down.remove(scancode)
    assert not down
    assert keyboard.release_all() == []


def test_a_key_that_is_held_repeats() -> None:
    keyboard = Keyboard(escape=False)
    assert [keyboard.translate(Key(A, True)) for _ in range(3)] == [(True, 0x1E)] * 3
    assert keyboard.translate(Key(A, False)) == (False, 0x1E)
    assert keyboard.translate(Key(A, False)) is None


def test_the_last_key_pressed_is_let_go_of_first() -> None:
    keyboard = Keyboard(escape=False)
    for code in (CTRL, ALT, F2):
        keyboard.translate(Key(code, True))
    assert keyboard.release_all() == [(False, 0x3C), (False, 0x38), (False, 0x1D)]


@pytest.mark.parametrize(("code", "number"), [(F2, 2), (F10, 10), (F11, 11), (F12, 12)])
@pytest.mark.parametrize("alt", [ALT, ALT_GR])
def test_the_way_out(code: int, number: int, alt: int) -> None:
    keyboard = Keyboard(escape=True)
    for held in (CTRL, alt, SHIFT):
        assert keyboard.escape_to(Key(code, True)) is None
        keyboard.translate(Key(held, True))
    assert keyboard.escape_to(Key(code, True)) == number
    assert keyboard.escape_to(Key(code, False)) is None
    assert keyboard.escape_to(Key(F1, True)) is None
    assert keyboard.escape_to(Key(A, True)) is None


def test_no_way_out_unless_it_is_configured() -> None:
    keyboard = Keyboard(escape=False)
    for held in (CTRL, ALT, SHIFT):
        keyboard.translate(Key(held, True))
    assert keyboard.escape_to(Key(F2, True)) is None
    assert keyboard.translate(Key(F2, True)) == (True, 0x3C)
