"""Security tokens that look like keyboards, as long as they are plugged in: /run/hal/udev/tokens.json, a contract.

Such a token is known by what the host's HID driver has read from it. When the product has it, that driver has let go of
it, and nothing in sysfs tells any more. So hal-udev writes down which ones they are before it hands them over, and the
facts read it::

    [{"port": "1-4.1", "bus": 1, "number": 6, "id": "1050:0403"}]

``number`` is another one after every replug, and none of this outlives a boot.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from hal_core import atomic

if TYPE_CHECKING:
    from hal_core.machine_usb import UsbDevice

RECORDED = "/hal/usb-tokens"  # where facts, and a recording, have what is written down


@dataclass(frozen=True)
class Token:
    """One that is plugged in: once pulled out, it is never seen again."""

    port: str
    bus: Optional[int]
    number: Optional[int]
    id: str  # vendor and product, as lsusb shows them


def of(device: UsbDevice) -> Token:
    """The device as it would be written down."""
    return Token(device.port, device.bus, device.number, f"{device.vendor_id}:{device.product_id}")


def path(run_dir: str) -> str:
    return os.path.join(run_dir, "udev", "tokens.json")


def parsed(text: str) -> frozenset[Token]:
    """None where it is not what hal-udev writes: a token is then taken for a keyboard until a driver tells."""
    try:
        found = frozenset(Token(**one) for one in json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return frozenset()
    return found if all(isinstance(one.port, str) for one in found) else frozenset()


def read(run_dir: str) -> frozenset[Token]:
    """None where nothing was written, or it cannot be read."""
    try:
        with open(path(run_dir), encoding="utf-8") as file:
            return parsed(file.read())
    except (OSError, ValueError):
        return frozenset()


def text(tokens: Iterable[Token]) -> str:
    return json.dumps([vars(one) for one in sorted(tokens, key=lambda one: one.port)]) + "\n"


def write(run_dir: str, tokens: Iterable[Token]) -> None:
    """:raise OSError: it cannot be written."""
    atomic.write(path(run_dir), text(tokens))
