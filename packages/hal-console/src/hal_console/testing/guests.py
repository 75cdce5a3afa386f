"""Guests in one boot sector, for tests and measurements of the screen and the keyboard: real QEMU, real BIOS, real VGA.

``KEYS`` writes ``!`` to COM1, and then every byte that its keyboard sends: scan codes, as an operating system's driver
sees them. It obeys single letters on COM1:

=====  ============================================================================================================
``s``  shows graphics: 640x480 in 16 colours, all of it in cyan
``t``  shows text again
``b``  beeps, 1000 Hz, until
``q``  it is quiet
``l``  switches its keyboard's Caps Lock lamp on
=====  ============================================================================================================

``SCROLL`` writes numbered lines on its screen, so that the whole of it changes all the time, and never stops. ``FILM``
shows 1024x768 pixels in 256 colours, all of which change all the time. ``ECHO`` puts what is typed on its screen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Union

IMAGE_BYTES = 1 << 20  # SeaBIOS boots from nothing smaller

# bytes stand for themselves; a (jump opcode, label) for a short jump; a str for a label.
Code = Union[bytes, tuple[bytes, str], str]
_JMP, _JZ, _JNZ = b"\xeb", b"\x74", b"\x75"

KEYS: tuple[Code, ...] = (
    b"\x31\xc0\x8e\xd8\xfa",  # xor ax,ax; mov ds,ax; cli: the BIOS does not take the keys
    b"\xba\xf8\x03\xb0\x21\xee",  # mov dx,0x3f8; mov al,'!'; out dx,al
    "next",
    b"\xe4\x64\xa8\x01",  # in al,0x64; test al,1 (a byte has come)
    (_JZ, "serial"),
    b"\xe4\x60\xba\xf8\x03\xee",  # in al,0x60; mov dx,0x3f8; out dx,al
    "serial",
    b"\xba\xfd\x03\xec\xa8\x01",  # mov dx,0x3fd; in al,dx; test al,1
    (_JZ, "next"),
    b"\xba\xf8\x03\xec",  # mov dx,0x3f8; in al,dx
    b"\x3cs",
    (_JZ, "graphics"),
    b"\x3ct",
    (_JZ, "text"),
    b"\x3cb",
    (_JZ, "beep"),
    b"\x3cq",
    (_JZ, "quiet"),
    b"\x3cl",
    (_JZ, "lamp"),
    (_JMP, "next"),
    "graphics",
    b"\xb8\x12\x00\xcd\x10",  # mov ax,0x12; int 0x10 (640x480)
    b"\xba\xc4\x03\xb8\x02\x03\xef",  # mov dx,0x3c4; mov ax,0x0302; out dx,ax (planes 0 and 1: blue and green)
    b"\xb8\x00\xa0\x8e\xc0\x31\xff",  # mov ax,0xa000; mov es,ax; xor di,di
    b"\xb8\xff\xff\xb9\x00\x4b\xf3\xab\xfa",  # mov ax,0xffff; mov cx,19200; rep stosw; cli
    (_JMP, "next"),
    "text",
    b"\xb8\x03\x00\xcd\x10\xfa",  # mov ax,3; int 0x10 (80x25); cli
    (_JMP, "next"),
    "beep",
    b"\xb0\xb6\xe6\x43\xb0\xa9\xe6\x42\xb0\x04\xe6\x42",  # PIT channel 2, square wave, 1193182 / 0x04a9 = 1000 Hz
    b"\xe4\x61\x0c\x03\xe6\x61",  # in al,0x61; or al,3; out 0x61,al
    (_JMP, "next"),
    "quiet",
    b"\xe4\x61\x24\xfc\xe6\x61",  # in al,0x61; and al,0xfc; out 0x61,al
    (_JMP, "next"),
    "lamp",
    b"\xb0\xed\xe6\x60",  # mov al,0xed; out 0x60,al (set LEDs; QEMU's keyboard is never busy)
    b"\xb0\x04\xe6\x60",  # mov al,4; out 0x60,al (Caps Lock)
    (_JMP, "next"),
)

SCROLL: tuple[Code, ...] = (
    b"\x31\xdb",  # xor bx,bx: the line's number
    "line",
    b"\xb9\x4f\x00",  # mov cx,79
    "letter",
    b"\x88\xd8\x00\xc8\x24\x3f\x04\x30",  # mov al,bl; add al,cl; and al,63; add al,'0'
    b"\xb4\x0e\xcd\x10",  # mov ah,0x0e; int 0x10 (teletype)
    b"\xe2\xf2",  # loop letter
    b"\xb8\x0d\x0e\xcd\x10\xb8\x0a\x0e\xcd\x10",  # CR, LF
    b"\x43",  # inc bx
    (_JMP, "line"),
)

FILM: tuple[Code, ...] = (
    b"\xb8\x02\x4f\xbb\x05\x01\xcd\x10",  # mov ax,0x4f02; mov bx,0x105; int 0x10 (VBE: 1024x768, 8 bits)
    b"\xb8\x00\xa0\x8e\xc0",  # mov ax,0xa000; mov es,ax
    "frame",
    b"\x31\xf6",  # xor si,si: the bank
    "bank",
    b"\xba\xce\x01\xb8\x05\x00\xef\x42\x89\xf0\xef",  # mov dx,0x1ce; mov ax,5; out dx,ax; inc dx; mov ax,si; out dx,ax
    b"\x31\xff\x89\xd8\xb9\x00\x80\xf3\xab",  # xor di,di; mov ax,bx; mov cx,0x8000; rep stosw
    b"\x46\x83\xfe\x0c",  # inc si; cmp si,12 (banks of 64 KiB)
    (_JNZ, "bank"),
    b"\x81\xc3\x01\x01",  # add bx,0x0101: the next colour
    (_JMP, "frame"),
)

ECHO: tuple[Code, ...] = (
    b"\xfb",  # sti
    "next",
    b"\x31\xc0\xcd\x16",  # xor ax,ax; int 0x16 (wait for a key)
    b"\xb4\x0e\xcd\x10",  # mov ah,0x0e; int 0x10
    (_JMP, "next"),
)


def boot_sector(program: tuple[Code, ...]) -> bytes:
    """The 512 bytes."""
    offsets: dict[str, int] = {}
    position = 0
    for item in program:
        if isinstance(item, str):
            offsets[item] = position
        else:
            position += 2 if isinstance(item, tuple) else len(item)
    code = b""
    for item in program:
        if isinstance(item, tuple):
            code += item[0] + (offsets[item[1]] - len(code) - 2).to_bytes(1, "little", signed=True)
        elif isinstance(item, bytes):
            code += item
    return code.ljust(510, b"\0") + b"\x55\xaa"


def write_image(path: Path, program: tuple[Code, ...]) -> None:
    path.write_bytes(boot_sector(program).ljust(IMAGE_BYTES, b"\0"))
