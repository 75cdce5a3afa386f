"""Which keys are down, as far as the product knows; and the support engineer's way out.

Whoever leaves for another terminal lets go of the keys there: without their releases the product would go on as if Ctrl
and Alt were down.
"""

from __future__ import annotations

from typing import Optional

from hal_console.terminal.keys import Key
from hal_console.terminal.scancodes import SCANCODES

# include/uapi/linux/input-event-codes.h: left and right
_CTRL, _SHIFT, _ALT = frozenset({29, 97}), frozenset({42, 54}), frozenset({56, 100})
# F2 to F12 → the number of a virtual terminal; F1 would be this one.
_FUNCTION_KEYS = {code: code - 58 for code in range(60, 69)}
_FUNCTION_KEYS.update({87: 11, 88: 12})


class Keyboard:
    """:param escape: whether Ctrl+Alt+Shift+F2 to F12 are the host's."""

    def __init__(self, escape: bool) -> None:
        self._escape = escape
        self._down: dict[int, None] = {}  # key codes, in the order in which they were pressed

    def escape_to(self, key: Key) -> Optional[int]:
        """The terminal that this key leads to, if it does."""
        if not self._escape or not key.down or key.code not in _FUNCTION_KEYS:
            return None
        held = self._down.keys()
        return _FUNCTION_KEYS[key.code] if held & _CTRL and held & _SHIFT and held & _ALT else None

    def translate(self, key: Key) -> Optional[tuple[bool, int]]:
        """Down or up, and the scan code; nothing for a key that a PC's keyboard does not have."""
        scancode = SCANCODES.get(key.code)
        if scancode is None:
            return None
        if key.down:
            self._down[key.code] = None
        elif self._down.pop(key.code, ...) is ...:
            return None  # it was pressed before the product was there, or somewhere else
        return key.down, scancode

    def release_all(self) -> list[tuple[bool, int]]:
        """What lets the product believe that nobody touches the keyboard."""
        released = [(False, SCANCODES[code]) for code in reversed(self._down)]
        self._down.clear()
        return released
