"""What there is to do about disks: what QEMU has, compared with what is plugged in and what hal-vmm has planned. Pure.

Three rules:

1. What the server does not have any more is taken from the product. Nothing else is ever taken from a running product,
   whatever a new plan says: that is for its next start.
2. What is planned, is there, and is still the disk that was planned goes into its slot, when that is empty.
3. Where the plan is about other disks than those that are there, hal-vmm is asked for a new one. Which disk gets which
   slot is decided there, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from hal_udev.disks.bays import Bay, Bays
from hal_udev.disks.present import Present

# Ours among QEMU's sets of descriptors: hal-vmm's launcher has small numbers, USB devices those from 7000000 up, and
# discs those from 900000000 up.
FIRST_FDSET = 1_000_000_000


@dataclass(frozen=True)
class Found:
    """A disk of the product's in QEMU, as QEMU tells."""

    id: str
    source: str  # what is behind it: "8:16", or "/dev/sda" where the launcher has opened it; "": not known any more
    fdset: int
    device: bool = True  # the product sees it; False: it is half plugged in, or half pulled out


@dataclass(frozen=True)
class Step:
    """Pull out, plug in, or both."""

    id: str
    remove: Optional[Found] = None
    add: Optional[tuple[Bay, Present]] = None


def fdset(number: str) -> int:
    """Tells one disk from every other that is there: QEMU gives it back as part of a file's name."""
    major, _, minor = number.partition(":")
    return FIRST_FDSET + (int(major) << 20) + int(minor)


def number_of(fdset_id: int) -> str:
    """The disk that a set of ours was made for; "" for a set that is not ours."""
    if fdset_id < FIRST_FDSET:
        return ""
    return f"{(fdset_id - FIRST_FDSET) >> 20}:{(fdset_id - FIRST_FDSET) & 0xFFFFF}"


def steps(bays: Bays, present: Sequence[Present], found: Mapping[str, Found], own_known: bool) -> tuple[Step, ...]:
    """What leads from what is to what ought to be.

    :param own_known: it is known which disk HAL runs from; otherwise nothing is plugged in, because it might be that.
    """
    gone = {id_: one for id_, one in found.items() if not one.device or not is_behind(one, present)}
    coming = dict(_coming(bays, present)) if own_known and bays.hot_swap else {}
    ids = [*gone, *(id_ for id_ in coming if id_ not in found)] if bays.hot_swap else []
    return tuple(Step(id_, gone.get(id_), coming.get(id_)) for id_ in ids)


def _coming(bays: Bays, present: Sequence[Present]) -> Iterable[tuple[str, tuple[Bay, Present]]]:
    for bay in bays.bays:
        one = disk_of(bay, present)
        if bay.device is not None and one and not one.disk.hal_device and one.settled:
            yield bay.id, (bay, one)


def disk_of(bay: Bay, present: Iterable[Present]) -> Optional[Present]:
    """The disk that was planned for this bay, if it is there."""
    return next((one for one in present if one.disk.path == bay.host and _is_planned(bay, one)), None)


def is_behind(found: Found, present: Iterable[Present]) -> bool:
    """The disk behind QEMU's is still plugged in, or QEMU does not tell which one that is: then it stays, too."""
    return not found.source or any(is_of(found, one) for one in present)


def is_of(found: Found, one: Present) -> bool:
    """This disk is behind QEMU's."""
    return found.source in (one.number, one.disk.path)


def is_right(bay: Bay, found: Found, present: Sequence[Present]) -> bool:
    """QEMU has, in this bay, the disk that is planned for it."""
    one = disk_of(bay, present)
    return one is not None and found.device and is_of(found, one)


def out_of_date(bays: Bays, present: Sequence[Present]) -> str:
    """Why hal-vmm has to plan anew; "" where the plan is about the very disks that are there."""
    planned = {bay.host: bay for bay in bays.bays}
    for one in present:
        bay = planned.pop(one.disk.path, None)
        if bay and not _is_planned(bay, one):
            return f"{one.disk.path} is another disk than the one that was planned"
        if not bay and one.disk.path not in bays.held and may_be_the_products(one):
            return f"{one.disk.path} is new"
    return f"{min(planned)} is gone" if planned else ""


def may_be_the_products(one: Present) -> bool:
    """For hal-vmm to decide; what is on USB goes to the product as the USB device that it is."""
    return not one.disk.hal_device and one.disk.transport != "usb" and one.disk.size_bytes > 0


def _is_planned(bay: Bay, one: Present) -> bool:
    """hal-vmm tells disks that have one identity apart by their place."""
    return bay.identity == one.disk.identity or bay.identity.startswith(f"{one.disk.identity} at ")
