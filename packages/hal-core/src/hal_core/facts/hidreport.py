"""What a HID device's reports are about, from its report descriptor (USB HID 1.11, 6.2.2). Pure.

A descriptor comes from whoever has made the device: whatever its bytes are, there is an answer.
"""

from __future__ import annotations

MAX_BYTES = 4096  # HID_MAX_DESCRIPTOR_SIZE (Linux, include/uapi/linux/hid.h)
FIDO = 0xF1D0  # HID Usage Tables: FIDO Alliance Page, that of security tokens (CTAP 2.0, 8.1.8.2)

# An item's first byte: its tag and type, and in the last two bits how much data follows.
_SIZES = (0, 1, 2, 4)
_USAGE_PAGE = 0x04  # a global item
_EXTENDED_USAGE = 0x0B  # a local item, Usage with four bytes: the upper two are a page of its own
_LONG = 0xFE  # the next byte tells the size, and one more is the tag; nobody has ever defined one


def usage_pages(descriptor: bytes) -> frozenset[int]:
    """Every page that is named in it: 0x01 is "Generic Desktop", 0x07 a keyboard's keys."""
    data = descriptor[:MAX_BYTES]
    found = set()
    at = 0
    while at < len(data):
        first = data[at]
        if first == _LONG:
            at += 3 + sum(data[at + 1 : at + 2])
            continue
        size = _SIZES[first & 3]
        value = data[at + 1 : at + 1 + size]
        at += 1 + size
        if len(value) < size:
            break  # it is cut short
        if first & ~3 == _USAGE_PAGE:
            found.add(int.from_bytes(value, "little"))
        elif first == _EXTENDED_USAGE:
            found.add(int.from_bytes(value[2:], "little"))
    return frozenset(found)
