"""What is typed at a terminal, as keys of a keyboard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_console.remote import typed

SHIFT, CTRL, ALT = 0x2A, 0x1D, 0x38
# What a US keyboard's keys say: rows of scan codes.
PLAIN = {2: "1234567890-=", 0x10: "qwertyuiop[]", 0x1E: "asdfghjkl;'`", 0x2B: "\\zxcvbnm,./", 0x39: " "}
SHIFTED = {2: "!@#$%^&*()_+", 0x10: "QWERTYUIOP{}", 0x1E: 'ASDFGHJKL:"~', 0x2B: "|ZXCVBNM<>?"}


def typing(pressed: list[tuple[bool, int]]) -> str:
    """What a product with a US layout makes of keys."""
    text, shift = "", False
    for down, code in pressed:
        if code == SHIFT:
            shift = down
        elif down:
            rows = SHIFTED if shift else PLAIN
            text += next(row[code - first] for first, row in rows.items() if 0 <= code - first < len(row))
    assert not shift
    return text


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_printable_text_arrives(text: str) -> None:
    assert typing(list(typed.keys(text.encode()))) == text


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"\r", [0x1C]),
        (b"\t", [0x0F]),
        (b"\x7f", [0x0E]),
        (b"\x1b", [0x01]),
        (b"\x1b\x1b", [0x01, 0x01]),
        (b"\x03", [CTRL, 0x2E]),  # ^C
        (b"\x1c", [CTRL, 0x2B]),  # ^\
        (b"\x1bx", [ALT, 0x2D]),
        (b"\x1bX", [ALT, SHIFT, 0x2D]),
        (b"\x1b[A", [0xC8]),
        (b"\x1bOA", [0xC8]),
        (b"\x1b[3~", [0xD3]),
        (b"\x1bOP", [0x3B]),
        (b"\x1b[[E", [0x3F]),
        (b"\x1b[15~", [0x3F]),
        (b"\x1b[24~", [0x58]),
        (b"\x1b[Z", [SHIFT, 0x0F]),
        (b"\x1b[1;2A", [SHIFT, 0xC8]),
        (b"\x1b[1;5C", [CTRL, 0xCD]),
        (b"\x1b[1;7D", [ALT, CTRL, 0xCB]),
        (b"\x1b[1;8H", [SHIFT, ALT, CTRL, 0xC7]),
        (b"\x1b[1;3P", [ALT, 0x3B]),
        (b"\x1b[15;2~", [SHIFT, 0x3F]),
        (b"\x1b[3;5~", [CTRL, 0xD3]),
        (b"\x1b[1;9A", [0xC8]),  # Meta, which a PC's keyboard does not have
        (b"\x1b[1;5C\x1b[1;5Cab", [CTRL, 0xCD, CTRL, 0xCD, 0x1E, 0x30]),
        # No keys of a PC's, and nothing that was typed.
        (b"\x1b[99~a", [0x1E]),
        (b"\x1b[99;5~a", [0x1E]),
        (b"\x1b[27;5;105~a", [0x1E]),
        (b"\x1b[1;0Ca", [0x1E]),
        (b"\x1b[?1;2ca", [0x1E]),
        (b"\x1b[?2026;2$ya", [0x1E]),
        (b"\x1b[200~a\x1b[201~", [0x1E]),  # a paste
        (b"\x1b[Pa", [0x1E]),  # Pause, of the Linux console's
        (b"\x1bOwa", [0x1E]),
        # No sequences: somebody holds Alt.
        (b"\x1b[", [ALT, 0x1A]),
        (b"\x1bO", [ALT, SHIFT, 0x18]),
        ("aäb".encode(), [0x1E, 0x30]),
        (b"\xff", []),
    ],
)
def test_other_keys(said: bytes, expected: list[int]) -> None:
    assert [code for down, code in typed.keys(said) if down] == expected


@given(st.from_regex(rb"\x1b(O[@-~]|\[[0-?]*[ -/]*[@-~])", fullmatch=True))
def test_a_sequence_is_one_key_at_most(said: bytes) -> None:
    pressed = [code for down, code in typed.keys(said + b"\r") if down and code not in (SHIFT, CTRL, ALT)]
    assert len(pressed) <= 2, "it was taken for what it is made of"
    assert pressed[-1] == 0x1C


@given(st.binary(max_size=60))
def test_no_key_stays_down(said: bytes) -> None:
    down: list[int] = []
    for is_down, code in typed.keys(said):
        if is_down:
            down.append(code)
        else:
            assert down.pop() == code
    assert down == []
