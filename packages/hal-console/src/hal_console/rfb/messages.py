"""What the client says to the server: RFC 6143, 7.5, and the QEMU extensions of the community's rfbproto."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from hal_console.rfb.pixels import PixelFormat

VERSION = b"RFB 003.008\n"
SHARED = b"\x01"  # ClientInit: other clients, as `hal console --attach`, may stay

RAW = 0
DESKTOP_SIZE = -223
EXTENDED_KEY = -258  # QEMU: key events with scan codes
AUDIO = -259  # QEMU: the product's sound
LED_STATE = -261  # QEMU: Scroll Lock, Num Lock, Caps Lock

_SOUND_U8 = 0  # audio sample format: one unsigned byte
SOUND_RATE = 11025  # samples per second: enough to hear how high a beep is


def pixel_format(wanted: PixelFormat) -> bytes:
    return b"\x00\x00\x00\x00" + wanted.wire()


def encodings(wanted: Sequence[int]) -> bytes:
    return struct.pack(f">BxH{len(wanted)}i", 2, len(wanted), *wanted)


def update_request(width: int, height: int, incremental: bool) -> bytes:
    """Ask for the whole picture, or for what changes in it from now on."""
    return struct.pack(">BBHHHH", 3, incremental, 0, 0, width, height)


def extended_key(down: bool, scancode: int) -> bytes:
    """A key by its place on the keyboard; no keysym: what is printed on it is the product's business.

    :param scancode: of the PC's set 1; with 0x80 where it has the prefix 0xe0.
    """
    return struct.pack(">BBHII", 255, 0, down, 0, scancode)


def sound(wanted: bool) -> bytes:
    """Have the product's sound sent, one channel of bytes at :data:`SOUND_RATE`; or not any more."""
    chosen = struct.pack(">BBHBBI", 255, 1, 2, _SOUND_U8, 1, SOUND_RATE) if wanted else b""
    return chosen + struct.pack(">BBH", 255, 1, 0 if wanted else 1)
