"""The letters of the PC's text mode, as pictures: read from the VGA BIOS that QEMU gives the product.

The product's screen begins with these letters, and an old product has no others; Linux' own console has nearly the
same. No font is carried here, and none can be out of date: the file belongs to QEMU's package.
"""

from __future__ import annotations

import functools
import os

HEIGHT = 16  # rows of a letter; it is 8 pixels wide

_DIRECTORIES = ("/usr/share/seabios", "/usr/share/seavgabios", "/usr/share/qemu-kvm", "/usr/share/qemu")
_FILES = ("vgabios-stdvga.bin", "vgabios.bin")
_LETTERS = 256
# The first two: nothing, and a face in outline. No other place of a BIOS has these 32 bytes.
_BEGINNING = bytes(16) + bytes.fromhex("00007e81a58181bd9981817e00000000")
# Code page 437 where Python's has control characters.
_LOW = " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼"


@functools.lru_cache(maxsize=1)
def letters() -> dict[bytes, str]:
    """Letters by their 16 rows of 8 pixels, the leftmost one in the highest bit; {} where QEMU brings no font.

    Where two look alike, it is the one that ASCII has, or the first.
    """
    return decode(_bios())


def decode(bios: bytes) -> dict[bytes, str]:
    """:param bios: the file."""
    begin = bios.find(_BEGINNING)
    if begin < 0 or len(bios) < begin + _LETTERS * HEIGHT:
        return {}
    found: dict[bytes, str] = {}
    for code in (*range(32, 127), *range(127, _LETTERS), *range(32)):
        at = begin + code * HEIGHT
        found.setdefault(bios[at : at + HEIGHT], _character(code))
    return found


def _character(code: int) -> str:
    if code < len(_LOW):
        return _LOW[code]
    return "⌂" if code == 127 else bytes([code]).decode("cp437").replace("\xa0", " ")


def _bios() -> bytes:
    for directory in _DIRECTORIES:
        for name in _FILES:
            try:
                with open(os.path.join(directory, name), "rb") as file:
                    return file.read()
            except OSError:
                continue
    return b""
