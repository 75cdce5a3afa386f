"""From the kernel's key codes to the scan codes of a PC's keyboard, set 1, as QEMU's VNC server wants them.

A key is known by its place, not by what is printed on it: the product has its own layout, as on bare metal.
"""

from __future__ import annotations

_PREFIXED = 0x80  # the scan code comes after 0xe0

# Keys 1 to 83, and F11, F12 and the one beside the left shift key, have the same number in both.
_SAME = (*range(1, 84), 86, 87, 88)
# input-event-codes.h → the byte after 0xe0
_AFTER_E0 = {
    96: 0x1C,  # keypad Enter
    97: 0x1D,  # right Ctrl
    98: 0x35,  # keypad /
    99: 0x37,  # Print; with Alt QEMU makes it SysRq, as a keyboard does
    100: 0x38,  # right Alt
    102: 0x47,  # Home
    103: 0x48,  # up
    104: 0x49,  # Page Up
    105: 0x4B,  # left
    106: 0x4D,  # right
    107: 0x4F,  # End
    108: 0x50,  # down
    109: 0x51,  # Page Down
    110: 0x52,  # Insert
    111: 0x53,  # Delete
    113: 0x20,  # mute
    114: 0x2E,  # volume down
    115: 0x30,  # volume up
    119: 0x46,  # Pause
    125: 0x5B,  # left Windows key
    126: 0x5C,  # right Windows key
    127: 0x5D,  # menu
}
_OTHERS = {
    89: 0x73,  # Ro: Japanese and Brazilian keyboards
    92: 0x79,  # Henkan
    93: 0x70,  # Katakana/Hiragana
    94: 0x7B,  # Muhenkan
    121: 0x7E,  # keypad comma (Brazilian)
    124: 0x7D,  # Yen
}
# Left out: Power, Sleep and Wake Up. The server's power button is such a keyboard, and is the host's business.

SCANCODES = {
    **{code: code for code in _SAME},
    **{code: _PREFIXED | byte for code, byte in _AFTER_E0.items()},
    **_OTHERS,
}
