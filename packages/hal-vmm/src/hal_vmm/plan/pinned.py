"""The product's virtual hardware as it was first given, kept across HAL upgrades: ``/var/lib/hal/vmm/hardware.json``.

An operating system notices when its hardware changes: network interfaces are renamed, licences expire, disks move. So
the machine type with its version, the CPU model and every slot are written down the first time, and used ever after.
Before an upgrade, :func:`preflight` tells whether the new QEMU can still provide them.

The file is read strictly. A damaged one is never replaced silently: the product would get new hardware.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from hal_core import atomic, paths
from hal_core.errors import FileFormatError, HostError
from hal_vmm.era import ERAS
from hal_vmm.plan import usbplan
from hal_vmm.plan.slots import Entry
from hal_vmm.qemu.flavour import Flavour

VERSION = 1
CLASSES = ("disk", "optical", "nic")
REPIN = "to give the product new virtual hardware: hal-vmm apply --repin"


@dataclass(frozen=True)
class Pinned:
    era: str
    machine: str  # "pc-q35-7.2"
    cpu_model: str  # "host"
    slots: Mapping[str, tuple[Entry, ...]]  # by class of device, see CLASSES
    devices: tuple[str, ...] = field(default=())  # QEMU's device types in use, sorted
    usb: int = 1  # USB controllers, each with its companions; one, in a file that is older than hal-udev

    def of(self, kind: str) -> tuple[Entry, ...]:
        return self.slots.get(kind, ())


@dataclass(frozen=True)
class Problem:
    """Why a QEMU cannot give the product the hardware that it has."""

    what: str  # "machine pc-q35-7.2"
    reason: str
    fatal: bool  # False: it still can, but not for much longer

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


def path() -> str:
    return os.path.join(paths.state_dir(), "vmm", "hardware.json")


def read() -> Optional[Pinned]:
    """What was pinned; None before the first time.

    :raise FileFormatError: the file is damaged, or of a version that is not known here.
    """
    file_path = path()
    try:
        with open(file_path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise FileFormatError(f"{file_path}: damaged: not UTF-8", REPIN) from None
    except OSError as error:
        raise HostError(f"{file_path}: {error.strerror}", "run as root") from None
    return parse(text, file_path)


def parse(text: str, where: str) -> Pinned:
    """The file's content.

    :raise FileFormatError: as :func:`read`.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise FileFormatError(f"{where}: damaged or cut short: {error}", REPIN) from None
    if not isinstance(value, dict) or value.get("version") != VERSION:
        version = value.get("version") if isinstance(value, dict) else None
        raise FileFormatError(f"{where}: version {version!r} is not known here, only {VERSION}", REPIN)
    try:
        return Pinned(
            era=_one_of(value, "era", ERAS),
            machine=_text(value, "machine"),
            cpu_model=_text(value, "cpu_model"),
            slots={kind: _entries(value["slots"][kind], kind) for kind in CLASSES},
            devices=tuple(_text({"devices": device}, "devices") for device in value["devices"]),
            usb=_usb(value),
        )
    except (KeyError, TypeError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise FileFormatError(f"{where}: damaged: {what}", REPIN) from None


def render(pinned: Pinned) -> str:
    slots = {
        kind: [{"identity": entry.identity, "slot": entry.slot, "place": entry.place} for entry in pinned.of(kind)]
        for kind in CLASSES
    }
    value = {
        "version": VERSION,
        "era": pinned.era,
        "machine": pinned.machine,
        "cpu_model": pinned.cpu_model,
        "slots": slots,
        "devices": list(pinned.devices),
        "usb": pinned.usb,
    }
    return json.dumps(value, indent=1) + "\n"


def write(pinned: Pinned) -> None:
    atomic.write(path(), render(pinned), 0o600)


def preflight(pinned: Pinned, flavour: Flavour) -> list[Problem]:
    """Everything that this QEMU cannot provide any more, or has announced to drop; [] if all is well."""
    problems = []
    machine = flavour.machine(pinned.machine)
    if machine is None:
        problems.append(Problem(f"machine {pinned.machine}", f"{flavour.name} does not have it", fatal=True))
    elif machine.deprecated:
        problems.append(Problem(f"machine {pinned.machine}", f"deprecated in {flavour.name}", fatal=False))
    name = pinned.cpu_model.partition(",")[0]
    model = flavour.cpu_model(name)
    if model is None:
        problems.append(Problem(f"CPU model {name}", f"{flavour.name} does not have it", fatal=True))
    elif model.deprecated:
        problems.append(Problem(f"CPU model {name}", f"deprecated in {flavour.name}", fatal=False))
    problems += [
        Problem(f"device {device}", f"{flavour.name} does not have it", fatal=True)
        for device in pinned.devices
        if not flavour.has(device)
    ]
    return problems


def _entries(value: Any, kind: str) -> tuple[Entry, ...]:
    if not isinstance(value, list):
        raise ValueError(f"slots.{kind} is not a list")
    entries = tuple(_entry(item, kind) for item in value)
    for name, found in (
        ("slot", {entry.slot for entry in entries}),
        ("identity", {entry.identity for entry in entries}),
    ):
        if len(found) != len(entries):
            raise ValueError(f"slots.{kind}: the same {name} twice")
    return entries


def _entry(value: Any, kind: str) -> Entry:
    if not isinstance(value, dict):
        raise ValueError(f"slots.{kind}: an entry is not a table")
    slot = value["slot"]
    if not isinstance(slot, int) or isinstance(slot, bool) or slot < 0:
        raise ValueError(f"slots.{kind}: slot {slot!r} is not a number from 0 up")
    place = value["place"]
    if not isinstance(place, str):
        raise ValueError(f"slots.{kind}: place {place!r} is not a text")
    return Entry(_text(value, "identity"), slot, place)


def _usb(value: Mapping[str, Any]) -> int:
    count, most = value.get("usb", 1), usbplan.most(ERAS[value["era"]])
    if type(count) is not int or not 1 <= count <= most:
        raise ValueError(f"usb {count!r} is not a number from 1 to {most}")
    return count


def _text(value: Mapping[str, Any], key: str) -> str:
    text = value[key]
    if not isinstance(text, str) or not text:
        raise ValueError(f"{key} {text!r} is not a text")
    return text


def _one_of(value: Mapping[str, Any], key: str, allowed: Mapping[str, object]) -> str:
    text = _text(value, key)
    if text not in allowed:
        raise ValueError(f"{key} {text!r} is not one of {', '.join(allowed)}")
    return text
