"""From what a terminal sends to the keys that somebody would have pressed: a terminal sends letters, a PC wants keys.

The keys are those of a US keyboard. A product with another layout takes some of them for other letters, as it would if
such a keyboard were plugged in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: Ctrl+], as in telnet(1): detaches.
DETACH = b"\x1d"

_SHIFT, _CTRL, _ALT = 0x2A, 0x1D, 0x38
# Rows of keys from left to right, plain and with Shift, and the first one's scan code.
_ROWS = (
    (0x02, "1234567890-=", "!@#$%^&*()_+"),
    (0x10, "qwertyuiop[]", "QWERTYUIOP{}"),
    (0x1E, "asdfghjkl;'`", 'ASDFGHJKL:"~'),
    (0x2B, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
)
_PLAIN = {letter: first + place for first, row, _ in _ROWS for place, letter in enumerate(row)}
_SHIFTED = {letter: first + place for first, _, row in _ROWS for place, letter in enumerate(row)}
_PLAIN.update({" ": 0x39, "\r": 0x1C, "\n": 0x1C, "\t": 0x0F, "\x7f": 0x0E, "\x08": 0x0E, "\x1b": 0x01})

# What follows ESC: terminals of the xterm and the linux kind.
_CURSOR = {"A": 0xC8, "B": 0xD0, "C": 0xCD, "D": 0xCB, "H": 0xC7, "F": 0xCF}
_BACK_TAB = "[Z"
_SEQUENCES = {
    **{lead + letter: code for lead in ("[", "[1", "O") for letter, code in _CURSOR.items()},
    **{lead + letter: 0x3B + number for lead in ("[1", "O") for number, letter in enumerate("PQRS")},
    **{f"[[{letter}": 0x3B + number for number, letter in enumerate("ABCDE")},
    **{f"[{number}~": 0x3B + place for place, number in enumerate((11, 12, 13, 14, 15, 17, 18, 19, 20, 21))},
    "[23~": 0x57,
    "[24~": 0x58,
    "[1~": 0xC7,
    "[7~": 0xC7,
    "[4~": 0xCF,
    "[8~": 0xCF,
    "[2~": 0xD2,
    "[3~": 0xD3,
    "[5~": 0xC9,
    "[6~": 0xD1,
    _BACK_TAB: 0x0F,
}
# The Linux console's F1 to F5, SS3 and one character, or any control sequence (ECMA-48, 5.4). Whatever it means, what
# it is made of was not typed.
_SEQUENCE = re.compile(r"\x1b(\[\[[A-E]|O[@-~]|\[[0-?]*[ -/]*[@-~])")
# xterm's second parameter is 1 more than the sum of what is held (ctlseqs, "PC-Style Function Keys").
_MODIFIED = re.compile(r"(\[\d+);([1-9]\d?)(.)")
_MODIFIERS = {1: _SHIFT, 2: _ALT, 4: _CTRL}


def keys(typed: bytes) -> Iterator[tuple[bool, int]]:
    """Down or up, and the scan code. What a US keyboard does not have is left out.

    :param typed: as it was read at once: an ESC at its end is the key, not the beginning of a sequence.
    """
    text = typed.decode("utf-8", "replace")
    at = 0
    while at < len(text):
        sequence = _SEQUENCE.match(text, at)
        if sequence:
            at = sequence.end()
            yield from _special(sequence[1])
        elif text[at] == "\x1b" and at + 1 < len(text) and text[at + 1] != "\x1b":
            yield from _letter(text[at + 1], _ALT)
            at += 2
        else:
            yield from _letter(text[at])
            at += 1


def _special(sequence: str) -> Iterator[tuple[bool, int]]:
    held = [_SHIFT] if sequence == _BACK_TAB else []
    modified = _MODIFIED.fullmatch(sequence)
    if modified:
        sequence = modified[1] + modified[3]
        held = [key for bit, key in _MODIFIERS.items() if int(modified[2]) - 1 & bit]
    if sequence in _SEQUENCES:
        yield from _press(_SEQUENCES[sequence], *held)


def _letter(letter: str, *held: int) -> Iterator[tuple[bool, int]]:
    if letter in _PLAIN:
        yield from _press(_PLAIN[letter], *held)
    elif letter in _SHIFTED:
        yield from _press(_SHIFTED[letter], *held, _SHIFT)
    elif letter < " ":
        plain = chr(ord(letter) + 0x40).lower()  # ^A to ^Z, and the four after them
        if plain in _PLAIN:
            yield from _press(_PLAIN[plain], *held, _CTRL)


def _press(code: int, *held: int) -> Iterator[tuple[bool, int]]:
    yield from ((True, other) for other in held)
    yield True, code
    yield False, code
    yield from ((False, other) for other in reversed(held))
