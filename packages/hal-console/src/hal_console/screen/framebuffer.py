"""The kernel's framebuffer, /dev/fb0: what it says of itself, and its memory.

Every driver of EL's and Fedora's has one: those of fbdev's own kind, as efifb, and those of DRM by its emulation
(drivers/gpu/drm/drm_fbdev_*.c), with or without a driver for the very graphics chip.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from dataclasses import dataclass

from hal_console.rfb.pixels import PixelFormat
from hal_core.errors import HostError

# include/uapi/linux/fb.h
_FBIOGET_VSCREENINFO, _FBIOGET_FSCREENINFO = 0x4600, 0x4602
_VARIABLE = struct.Struct("40I")
_FIXED = struct.Struct("@16sLIIIIHHHILIIHHH")
_PACKED_PIXELS = 0
_TRUE_COLOUR = (2, 4)  # FB_VISUAL_TRUECOLOR, FB_VISUAL_DIRECTCOLOR


@dataclass(frozen=True)
class Geometry:
    """Where the visible pixels are in the framebuffer's memory."""

    width: int  # pixels
    height: int
    bits: int  # per pixel in memory: 16, 24 or 32
    stride: int  # bytes from one row to the next
    offset: int  # bytes before the first visible pixel
    length: int  # bytes, all of it
    format: PixelFormat  # as the picture has to have it: 32 bits for a framebuffer of 24
    driver: str  # "EFI VGA", "bochs-drmdrmfb"

    def __str__(self) -> str:
        return f"{self.width}x{self.height}, {self.bits} bits per pixel, {self.driver}"


class Framebuffer:
    """A framebuffer that is mapped, or, in a test, any memory.

    :param memory: at least ``geometry.length`` bytes.
    """

    def __init__(self, memory: memoryview, geometry: Geometry) -> None:
        self.geometry = geometry
        self.memory = memory

    def clear(self) -> None:
        """Make it black."""
        geometry = self.geometry
        black = bytes(geometry.width * geometry.bits // 8)
        for row in range(geometry.height):
            at = geometry.offset + row * geometry.stride
            self.memory[at : at + len(black)] = black


def read(path: str) -> Geometry:
    """What the framebuffer says of itself now.

    :raise HostError: there is none, or it is of a kind that nothing can be drawn on in rows of pixels.
    """
    fd = _open(path)
    try:
        return _geometry(path, fd)
    finally:
        os.close(fd)


def mapped(path: str) -> Framebuffer:
    """The framebuffer, to be drawn on.

    :raise HostError: as :func:`read`.
    """
    fd = _open(path)
    try:
        geometry = _geometry(path, fd)
        return Framebuffer(memoryview(mmap.mmap(fd, geometry.length)), geometry)
    except (OSError, ValueError) as error:
        raise HostError(f"{path}: its memory cannot be mapped: {error}") from None
    finally:
        os.close(fd)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise HostError(
            f"{path}: {error.strerror}: this server's kernel gives no framebuffer",
            "is the graphics driver loaded? see: cat /proc/fb; journalctl -k -g 'fb0|drm'",
        ) from None


def _geometry(path: str, fd: int) -> Geometry:
    try:
        variable = fcntl.ioctl(fd, _FBIOGET_VSCREENINFO, bytes(_VARIABLE.size))
        fixed = fcntl.ioctl(fd, _FBIOGET_FSCREENINFO, bytes(_FIXED.size))
    except OSError as error:
        raise HostError(f"{path}: not a framebuffer: {error.strerror}") from None
    return decode(path, variable, fixed)


def decode(path: str, variable: bytes, fixed: bytes) -> Geometry:
    """From the kernel's two structures, fb_var_screeninfo and fb_fix_screeninfo.

    :raise HostError: as :func:`read`.
    """
    words = _VARIABLE.unpack(variable)
    width, height, _, _, x_offset, y_offset, bits = words[:7]
    red, green, blue = ((words[at], words[at + 1]) for at in (8, 11, 14))
    name, _, length, kind, _, visual, _, _, _, stride, *_ = _FIXED.unpack(fixed)
    if kind != _PACKED_PIXELS or visual not in _TRUE_COLOUR or bits not in (16, 24, 32) or words[7]:
        raise HostError(
            f"{path}: {bits} bits per pixel, type {kind}, visual {visual}: allowed is true colour of 16, 24 or 32 bits",
            "a video mode with more colours, for instance with video= on the kernel's command line",
        )
    offset = y_offset * stride + x_offset * bits // 8
    needed = offset + (height - 1) * stride + width * bits // 8
    if not width or not height or needed > length:
        raise HostError(f"{path}: {width}x{height} pixels do not fit in its {length} bytes")
    pixel_format = PixelFormat(16 if bits == 16 else 32, red, green, blue)
    driver = name.split(b"\0")[0].decode("ascii", "replace")
    return Geometry(width, height, bits, stride, offset, length, pixel_format, driver)
