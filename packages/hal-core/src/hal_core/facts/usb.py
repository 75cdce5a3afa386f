"""USB devices (Documentation/ABI/stable/sysfs-bus-usb of Linux); not root hubs, which are part of their controller."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Optional

from hal_core.facts import blockdev, hal_device
from hal_core.facts.tree import Tree
from hal_core.machine_usb import UsbDevice, UsbInterface

ROOT = "/sys/bus/usb/devices"
HUB_CLASS = "09"  # USB 2.0 specification, 11.23.1

_PORT = re.compile(r"[0-9]+-[0-9]+(\.[0-9]+)*")


def read(tree: Tree) -> tuple[UsbDevice, ...]:
    """By port path, counted. Names with a colon are interfaces, ``usb1`` is a root hub."""
    names = tree.names(ROOT)
    own = own_directories(tree)
    return tuple(read_one(tree, name, names, own) for name in ports(names))


def ports(names: Iterable[str]) -> list[str]:
    """The devices among the names in :data:`ROOT`, in their order."""
    return [name for name in names if _PORT.fullmatch(name)]


def read_one(tree: Tree, port: str, names: Iterable[str], own: tuple[str, ...]) -> UsbDevice:
    """One device; with empty ids if it is not there (any more).

    :param names: all names in :data:`ROOT`, in order. :param own: from :func:`own_directories`.
    """
    directory = f"{ROOT}/{port}"
    real = tree.resolve(directory)
    return UsbDevice(
        port=port,
        vendor_id=tree.line(f"{directory}/idVendor"),
        product_id=tree.line(f"{directory}/idProduct"),
        manufacturer=tree.line(f"{directory}/manufacturer"),
        product=tree.line(f"{directory}/product"),
        serial=tree.line(f"{directory}/serial"),
        speed_mbps=_speed(tree.line(f"{directory}/speed")),
        hub=tree.line(f"{directory}/bDeviceClass") == HUB_CLASS,
        path=_path(tree, port, real),
        bus=tree.integer(f"{directory}/busnum"),
        number=tree.integer(f"{directory}/devnum"),
        configured=tree.integer(f"{directory}/bConfigurationValue") is not None,
        interfaces=tuple(_interface(tree, name) for name in names if name.startswith(f"{port}:")),
        hal_device=any(path.startswith(f"{real}/") for path in own),
    )


def own_directories(tree: Tree) -> tuple[str, ...]:
    """Where sysfs has the block devices that HAL runs from, and every other that the host has mounted."""
    parts: dict[str, list[str]] = {}
    for name in tree.names(blockdev.ROOT):
        # Not what is stacked on others (device-mapper, md, loop): that leads to these.
        if tree.exists(f"{blockdev.ROOT}/{name}/device"):
            below = tree.names(f"{blockdev.ROOT}/{name}", name)
            parts[name.replace("!", "/")] = [part.replace("!", "/") for part in below]
    own = hal_device.find(tree, parts)
    return tuple(sorted(tree.resolve(f"{blockdev.ROOT}/{name.replace('/', '!')}") for name in own))


def _interface(tree: Tree, name: str) -> UsbInterface:
    directory = f"{ROOT}/{name}"
    # A driver of usb-serial puts the port right there, cdc-acm puts it where the others are.
    ttys = [*tree.names(directory, "ttyUSB"), *tree.names(f"{directory}/tty", "tty")]
    return UsbInterface(
        number=tree.integer(f"{directory}/bInterfaceNumber", 16) or 0,
        class_id=tree.line(f"{directory}/bInterfaceClass"),
        subclass=tree.line(f"{directory}/bInterfaceSubClass"),
        protocol=tree.line(f"{directory}/bInterfaceProtocol"),
        driver=tree.link(f"{directory}/driver"),
        ttys=tuple(ttys),
    )


def _path(tree: Tree, port: str, real: str) -> str:
    """``/sys/devices/pci0000:00/0000:00:14.0/usb1/1-1/1-1.4`` as ``0000:00:14.0/usb2/1.4``: without the bus's number.

    An xHCI controller has two buses, for USB 2 and USB 3, whose ports have the same numbers.
    """
    root_hub = re.search(r"(.*/)usb[0-9]+(?=/)", real)
    if not root_hub:
        return ""
    major = tree.line(f"{root_hub[0]}/version").partition(".")[0]
    controller = os.path.basename(root_hub[1].rstrip("/"))
    return f"{controller}/usb{major}/{port.partition('-')[2]}"


def _speed(text: str) -> Optional[int]:
    """In whole Mbit/s: the 1.5 of a low-speed device becomes 1."""
    match = re.match("[0-9]{1,9}", text)
    return int(match[0]) if match else None
