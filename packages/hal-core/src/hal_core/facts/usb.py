"""USB devices (Documentation/ABI/stable/sysfs-bus-usb of Linux); not root hubs, which are part of their controller."""

from __future__ import annotations

import re
from typing import Optional

from hal_core.facts.tree import Tree
from hal_core.machine import UsbDevice

ROOT = "/sys/bus/usb/devices"
HUB_CLASS = "09"  # USB 2.0 specification, 11.23.1


def read(tree: Tree) -> tuple[UsbDevice, ...]:
    """By port path, counted. Names with a colon are interfaces, ``usb1`` is a root hub."""
    return tuple(_device(tree, name) for name in tree.names(ROOT) if re.fullmatch(r"[0-9]+-[0-9]+(\.[0-9]+)*", name))


def _device(tree: Tree, port: str) -> UsbDevice:
    directory = f"{ROOT}/{port}"
    return UsbDevice(
        port=port,
        vendor_id=tree.line(f"{directory}/idVendor"),
        product_id=tree.line(f"{directory}/idProduct"),
        manufacturer=tree.line(f"{directory}/manufacturer"),
        product=tree.line(f"{directory}/product"),
        serial=tree.line(f"{directory}/serial"),
        speed_mbps=_speed(tree.line(f"{directory}/speed")),
        hub=tree.line(f"{directory}/bDeviceClass") == HUB_CLASS,
    )


def _speed(text: str) -> Optional[int]:
    """In whole Mbit/s: the 1.5 of a low-speed device becomes 1."""
    match = re.match("[0-9]{1,9}", text)
    return int(match[0]) if match else None
