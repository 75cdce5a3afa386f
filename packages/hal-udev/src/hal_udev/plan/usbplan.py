"""What happens to every USB device: plain values, made from facts, hal.toml and what this moment is like. Pure."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from hal_core.machine_usb import UsbDevice
from hal_udev.config import UdevConfig
from hal_udev.plan import ports, rules
from hal_udev.plan.ports import Bus, Pin, Place
from hal_udev.plan.rules import Surroundings

# Ours among QEMU's sets of descriptors: the launcher's are small numbers.
FIRST_FDSET, AFTER_FDSETS = 7_000_000, 8_000_000


@dataclass(frozen=True)
class Planned:
    """One device, and what is to happen to it."""

    device: UsbDevice
    keep: bool
    rule: str  # by which rule
    place: Optional[Place]  # where the product has it; None: nowhere
    problem: str = ""  # why it cannot be plugged in though it ought to; "" where it can

    @property
    def id(self) -> str:
        """QEMU's, for the device in this port: the same after every replug."""
        return f"usb-{self.device.port}"

    @property
    def fdset(self) -> int:
        """Tells one plugging-in from the next: the kernel numbers devices anew each time (``devnum``).

        QEMU is given it as part of a file's name, and gives it back when it is asked: whoever asks sees whether QEMU
        has the device that is there now, or still one that was there before.
        """
        return FIRST_FDSET + 1000 * (self.device.bus or 0) + (self.device.number or 0)

    @property
    def name(self) -> str:
        """For people: "Acme Stick (0781:5571)"."""
        return name(self.device)


@dataclass(frozen=True)
class UsbPlan:
    devices: tuple[Planned, ...]
    pins: tuple[Pin, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For people and scripts; stable keys."""
        return {
            "devices": [
                {
                    **dataclasses.asdict(planned.device),
                    "action": "keep" if planned.keep else "give",
                    "rule": planned.rule,
                    "place": dataclasses.asdict(planned.place) if planned.place else None,
                    "problem": planned.problem,
                }
                for planned in self.devices
            ],
            "notes": list(self.notes),
        }


def plan(
    devices: Sequence[UsbDevice],
    config: UdevConfig,
    around: Surroundings,
    buses: Sequence[Bus],
    pins: Sequence[Pin] = (),
) -> UsbPlan:
    """What is to happen to each of these devices.

    :param buses: the product's. :param pins: from the last time.
    """
    verdicts = [rules.decide(device, config.keep, around) for device in devices]
    paths = _paths(devices)
    assignment = ports.assign((path for path, verdict in zip(paths, verdicts) if not verdict.keep), pins, buses)
    planned = []
    for device, path, verdict in zip(devices, paths, verdicts):
        place = None if verdict.keep else assignment.places.get(path)
        problem = "" if verdict.keep or (place and device.configured) else _why_not(device, buses)
        planned.append(Planned(device, verdict.keep, verdict.rule, place, problem))
    return UsbPlan(tuple(planned), assignment.pins, rules.notes(devices, config.keep))


def name(device: UsbDevice) -> str:
    words = " ".join(filter(None, (device.manufacturer, device.product)))
    ids = f"{device.vendor_id or '????'}:{device.product_id or '????'}"
    return f"{words} ({ids})" if words else ids


def _paths(devices: Sequence[UsbDevice]) -> list[str]:
    """Of each its port's lasting name; the kernel's, where there is none, or a controller has two ports of one name."""
    count = Counter(device.path for device in devices)
    return [device.path if device.path and count[device.path] == 1 else device.port for device in devices]


def _why_not(device: UsbDevice, buses: Sequence[Bus]) -> str:
    if not device.configured:
        return "the host's kernel could not read what it is, or has no power for it (journalctl -k)"
    count = sum(bus.ports for bus in buses)
    return f"the product has {count} USB ports, and all of them are taken" if count else "the product has no USB port"
