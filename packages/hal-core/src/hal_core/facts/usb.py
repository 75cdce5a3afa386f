"""USB devices (Documentation/ABI/stable/sysfs-bus-usb of Linux); not root hubs, which are part of their controller.

A security token that types looks like a keyboard with more than one interface, as a receiver does, too. Its report
descriptors tell, which are in sysfs for as long as the host's HID drivers have it: :mod:`hal_core.tokens`.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable
from typing import Optional

from hal_core import tokens
from hal_core.facts import blockdev, hal_device, hidreport
from hal_core.facts.tree import Tree
from hal_core.machine_usb import UsbDevice, UsbInterface

ROOT = "/sys/bus/usb/devices"
HUB_CLASS = "09"  # USB 2.0 specification, 11.23.1

_HID_DEVICE = "0003:"  # BUS_USB (include/uapi/linux/input.h); vendor, product and a number follow
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
    device = UsbDevice(
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
    return dataclasses.replace(device, token=_is_token(tree, device, names)) if device.keyboard else device


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


def _is_token(tree: Tree, device: UsbDevice, names: Iterable[str]) -> Optional[bool]:
    """None: the host's HID drivers have not (yet) told of every interface, and nobody has written it down.

    The kernel registers one interface after the other, and has the driver read each at once.
    """
    told = [_usage_pages(tree, name) for name in names if name.startswith(f"{device.port}:")]
    if any(pages and hidreport.FIDO in pages for pages in told):
        return True
    if None not in told and tree.integer(f"{ROOT}/{device.port}/bNumInterfaces") in (None, len(told)):
        return False
    return True if tokens.of(device) in tokens.parsed(tree.text(tokens.RECORDED)) else None


def _usage_pages(tree: Tree, interface: str) -> Optional[frozenset[int]]:
    """None: no HID driver has it. While only usbhid has, and none for this kind of device, the descriptor is empty."""
    directory = f"{ROOT}/{interface}"
    for name in tree.names(directory, _HID_DEVICE):
        descriptor = tree.data(f"{directory}/{name}/report_descriptor")
        if descriptor:
            return hidreport.usage_pages(descriptor)
    return None


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
