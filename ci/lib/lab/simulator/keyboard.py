"""A US keyboard: which keys a person presses to type a text, by the names that QEMU has for them (QKeyCode)."""

from __future__ import annotations

from lab.errors import LabError

_NAMED = "spc ret tab esc backspace minus equal bracket_left bracket_right backslash semicolon apostrophe grave_accent"
_PLAIN = {
    **{character: character for character in "abcdefghijklmnopqrstuvwxyz0123456789"},
    **dict(zip(" \n\t\x1b\x08-=[]\\;'`,./", [*_NAMED.split(), "comma", "dot", "slash"])),
}
_SHIFTED = dict(
    zip('ABCDEFGHIJKLMNOPQRSTUVWXYZ!@#$%^&*()_+{}|:"~<>?', "abcdefghijklmnopqrstuvwxyz1234567890-=[]\\;'`,./")
)


def presses(text: str) -> list[list[str]]:
    """The keys that are held down together, one press after the other.

    :raise LabError: there is no key for a character
    """
    return [_press(character) for character in text]


def _press(character: str) -> list[str]:
    if character in _PLAIN:
        return [_PLAIN[character]]
    if character in _SHIFTED:
        return ["shift", _PLAIN[_SHIFTED[character]]]
    raise LabError(f"{character!r} cannot be typed on a US keyboard")
