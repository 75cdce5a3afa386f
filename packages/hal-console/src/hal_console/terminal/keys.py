"""Keys as the kernel's terminal gives them in medium-raw mode: its key codes, of all keyboards that there are.

This mode, rather than /dev/input: keyboards come and go without this program's doing, nothing has to be opened or
grabbed, and only the terminal that is in the front gets anything. The kernel handles no key itself then, so that
Ctrl+Alt+F2, Ctrl+Alt+Del and Shift+PageUp are the product's (drivers/tty/vt/keyboard.c, kbd_keycode()).
"""

from __future__ import annotations

from dataclasses import dataclass

_RELEASED = 0x80


@dataclass(frozen=True)
class Key:
    code: int  # include/uapi/linux/input-event-codes.h, KEY_*
    down: bool  # again and again while it is held


class Decoder:
    """Bytes to keys. Codes from 128 on are three bytes: 0, seven bits, seven bits."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Key]:
        data = self._rest + data
        keys, at = [], 0
        while at < len(data):
            down, code, length = not data[at] & _RELEASED, data[at] & 0x7F, 1
            if not code:
                if at + 3 > len(data):
                    break
                length = 3
                # Their highest bits are set, so that nobody takes one for the beginning of another key.
                code = (data[at + 1] & 0x7F) << 7 | data[at + 2] & 0x7F
            keys.append(Key(code, down))
            at += length
        self._rest = data[at:]
        return keys
