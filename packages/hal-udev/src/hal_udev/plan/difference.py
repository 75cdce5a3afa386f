"""What there is to do: what QEMU has, compared with what it ought to have. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from hal_udev.plan.ports import Place
from hal_udev.plan.usbplan import Planned, UsbPlan

# Drivers that have an interface when QEMU has the device: none yet, or the one that stands for a program.
_NOT_THE_HOSTS = ("", "usbfs")


@dataclass(frozen=True)
class Found:
    """A device of ours in QEMU, as QEMU tells."""

    fdset: int  # which plugging-in it was made for, as :attr:`Planned.fdset` has it; 0: not ours to know
    attached: bool  # the product sees it
    place: Optional[Place]


@dataclass(frozen=True)
class Step:
    """Unplug, plug in, or both."""

    id: str
    remove: bool
    add: Optional[Planned] = None
    give_back: Optional[Planned] = None  # it is still plugged in: the host's drivers may have it again


def steps(plan: UsbPlan, found: Mapping[str, Found]) -> tuple[Step, ...]:
    """What leads from what is to what ought to be: first everything that only goes, to make room."""
    wanted = {planned.id: planned for planned in plan.devices if planned.place}
    kept = {planned.id: planned for planned in plan.devices if planned.keep}
    going = [Step(id_, remove=True, give_back=kept.get(id_)) for id_ in found if id_ not in wanted]
    coming = [
        Step(id_, remove=id_ in found, add=planned)
        for id_, planned in wanted.items()
        if (id_ not in found or not is_right(planned, found[id_])) and not planned.problem
    ]
    return (*going, *coming)


def is_right(planned: Planned, found: Found) -> bool:
    """QEMU has this device, as it was plugged in now and not before, in its place, and shows it to the product."""
    return found.attached and found.fdset == planned.fdset and found.place == planned.place


def host_drivers(planned: Planned) -> tuple[str, ...]:
    """The host's drivers that have it: none where the product has it."""
    drivers = (interface.driver for interface in planned.device.interfaces)
    return tuple(dict.fromkeys(driver for driver in drivers if driver not in _NOT_THE_HOSTS))
