"""``hal-udev facts``: what is plugged into this server, or into a recorded one."""

from __future__ import annotations

import dataclasses
import json
import sys

from hal_core import arguments, table
from hal_core.machine_usb import UsbDevice
from hal_udev import hardware
from hal_udev.config import CLASSES
from hal_udev.plan.usbplan import name

USAGE = """\
usage: hal-udev facts [--json] [--root DIR|FILE]

Show every USB device that is plugged in: its port (twice: as the kernel numbers it, and in a form that stays the same),
its ids, what it does, and which driver of the host's has it. Each of these can be a rule in hal.toml.

options:
  --json       as JSON
  --root PATH  of a recorded server: the tar that `hal record` wrote, or its directory

examples:
  hal udev facts
  hal udev facts --root server.tar.gz --json
"""

_NAMES = {code: name for name, code in CLASSES.items()}


def main(argv: list[str]) -> int:
    """:raise HostError, FileFormatError: there is no such server."""
    given = arguments.parse("hal-udev facts", argv, {"--json"}, {"--root"})
    if "help" in given:
        sys.stdout.write(USAGE)
        return 0
    devices = hardware.read(given.get("root", "/"))
    if "json" in given:
        print(json.dumps([dataclasses.asdict(device) for device in devices], indent=2))
        return 0
    rows = [
        (
            device.port,
            device.path,
            name(device),
            device.serial,
            device.speed_mbps,
            _classes(device),
            _drivers(device),
        )
        for device in devices
    ]
    print(table.render(("PORT", "STAYS THE SAME", "DEVICE", "SERIAL", "MBIT/S", "CLASS", "DRIVER"), rows))
    return 0


def _classes(device: UsbDevice) -> str:
    codes = dict.fromkeys(interface.class_id for interface in device.interfaces)
    return "hub" if device.hub else " ".join(_NAMES.get(code, code) for code in codes)


def _drivers(device: UsbDevice) -> str:
    return " ".join(dict.fromkeys(interface.driver for interface in device.interfaces if interface.driver))
