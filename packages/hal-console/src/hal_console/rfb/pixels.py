"""How a pixel is made of bytes: what a framebuffer says of itself, and what the VNC server is asked for.

The server is asked for exactly what the framebuffer has, so that nothing is converted here: rows are only copied.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class PixelFormat:
    """True colour, little-endian. Each colour has so many bits from some bit on, counted from the lowest."""

    bits: int  # per pixel: 32 or 16 on the wire
    red: tuple[int, int]  # first bit, and how many
    green: tuple[int, int]
    blue: tuple[int, int]

    @property
    def size(self) -> int:
        """Bytes of one pixel."""
        return self.bits // 8

    def wire(self) -> bytes:
        """As RFC 6143 has it, 7.4: 16 bytes."""
        colours = (self.red, self.green, self.blue)
        depth = sum(length for _, length in colours)
        maxima = [(1 << length) - 1 for _, length in colours]
        return struct.pack(">BBBB3H3B3x", self.bits, depth, 0, 1, *maxima, *(first for first, _ in colours))


#: What nearly every framebuffer has: blue in the lowest byte.
XRGB32 = PixelFormat(32, (16, 8), (8, 8), (0, 8))
