"""Which devices the product gets: hal.toml's rules, and those that are built in. Pure.

In this order; the first that fits decides:

1. Hubs stay: what is plugged into them goes to the product, each device into a port of its own.
2. What HAL runs from stays, and every other device with a file system that the host has mounted.
3. A serial adapter stays when hal.toml has made it one of the product's COM ports (``vmm.devices.serial``).
4. hal.toml's rules, in their order.
5. While it is not known what HAL runs from, storage stays.
6. A keyboard stays while hal-console needs it, with all that shares its plug, if that is HID: a receiver's mouse. A
   token that types is a token: what has other functions, too, goes, and so does what a FIDO interface tells from a
   keyboard. While its drivers do not tell, it is a keyboard: the console is never without for a moment.
7. Everything else goes to the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hal_core.machine_usb import UsbDevice
from hal_udev.config import CLASSES, KeepConfig

EVERYTHING_ELSE = "every device"

_STORAGE = CLASSES["storage"]


@dataclass(frozen=True)
class Surroundings:
    """What else decides: what this moment is like."""

    console: bool = True  # hal-console feeds the product from the server's own keyboard
    own_known: bool = True  # it is known which disk HAL runs from
    com_ports: frozenset[str] = frozenset()  # host's serial ports that are the product's COM ports: "/dev/ttyUSB0"


@dataclass(frozen=True)
class Verdict:
    keep: bool
    rule: str  # by which rule, for people


def decide(device: UsbDevice, rules: Sequence[KeepConfig], around: Surroundings) -> Verdict:
    """Whether the device stays with the host."""
    if device.hub:
        return Verdict(True, "built in: a hub; what is behind it goes to the product")
    if device.hal_device:
        return Verdict(True, "built in: the host has a file system of it mounted")
    used = [f"/dev/{tty}" for interface in device.interfaces for tty in interface.ttys]
    for path in used:
        if path in around.com_ports:
            return Verdict(True, f"built in: {path} is one of the product's COM ports (vmm.devices.serial)")
    for index, rule in enumerate(rules):
        if fits(device, rule):
            return Verdict(not rule.give, describe(index, rule))
    if not around.own_known and any(interface.class_id == _STORAGE for interface in device.interfaces):
        return Verdict(True, "built in: storage, and it is not known what HAL runs from")
    if around.console and device.keyboard:
        if device.token:
            return Verdict(False, "built in: a security token (FIDO), no keyboard though it types")
        return Verdict(True, "built in: the keyboard of hal-console")
    return Verdict(False, EVERYTHING_ELSE)


def fits(device: UsbDevice, rule: KeepConfig) -> bool:
    """Everything that the rule says is true of the device."""
    wanted = CLASSES.get(rule.class_, rule.class_)
    if wanted and wanted not in {interface.class_id for interface in device.interfaces}:
        return False
    vendor, _, product = rule.id.partition(":")
    if vendor not in ("", "*") and (vendor != device.vendor_id or product not in ("*", device.product_id)):
        return False
    if rule.serial and rule.serial != device.serial:
        return False
    return not rule.port or _is_at(rule.port, device.port) or _is_at(rule.port, device.path)


def describe(index: int, rule: KeepConfig) -> str:
    """``udev.keep[0]: class hid, serial X``."""
    said = (("class", rule.class_), ("id", rule.id), ("serial", rule.serial), ("port", rule.port))
    conditions = ", ".join(f"{key} {value}" for key, value in said if value)
    return f"udev.keep[{index}]: {conditions}{', give' if rule.give else ''}"


def notes(devices: Sequence[UsbDevice], rules: Sequence[KeepConfig]) -> tuple[str, ...]:
    """What is remarkable about the rules, looked at together with what is plugged in."""
    found = []
    plugged = [device for device in devices if not device.hub and not device.hal_device]
    for index, rule in enumerate(rules):
        fitting = [device for device in plugged if fits(device, rule)]
        if not fitting:
            found.append(f"{describe(index, rule)}: fits nothing that is plugged in now")
        elif rule.id == "*" and not (rule.class_ or rule.serial or rule.port) and index + 1 < len(rules):
            found.append(f"{describe(index, rule)}: fits every device: no rule after it is ever looked at")
    return tuple(found)


def _is_at(port: str, place: str) -> bool:
    """There, or behind a hub there."""
    return place == port or place.startswith(f"{port}.")
