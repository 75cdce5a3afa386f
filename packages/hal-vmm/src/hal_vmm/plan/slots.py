"""Which place on its virtual bus a device has, and keeps: the same disk is on the same target after every upgrade.

A place is a number from 0 up, counted per class of device ("disk", "nic", …). What it means on the bus is told by
:func:`pci_address` and by the plan of that class.

Rules, in this order, for the devices of this server in the host's own order:

1. A device that was here before keeps its slot.
2. A new device in the very place of one that is gone (the same bay, the same PCI slot) is its replacement and takes
   over its slot: the product sees what it would have seen on bare metal.
3. Any other new device gets the lowest slot that nobody ever had.

The slot of a device that is gone stays reserved for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# The root bus, the same in both machine families but for OLD_USB. Slot 0 is the host bridge, 1 the PIIX3 of `pc`, 0x1f
# the ICH9 of q35.
# 0x19 to 0x1c are left for other packages (hot-plugged devices).
VGA, WATCHDOG, XHCI, VIRTIO_SERIAL, RNG, STORAGE = 0x02, 0x03, 0x04, 0x05, 0x06, 0x07
FIRST_NIC, NIC_SLOTS = 0x08, 16
HOST_LINK = 0x18  # after every other NIC
# The first is where the ICH9 of a real server has it. The next three are those of virtio, which a product with such a
# controller does not have; the last is free on q35 only, and `pc` has two controllers.
OLD_USB = (0x1D, XHCI, VIRTIO_SERIAL, RNG, 0x1E, 0x01)
FUNCTIONS = 8  # of one PCI slot

NIC_LIMIT = NIC_SLOTS * FUNCTIONS
SCSI_LIMIT = 256  # targets of one virtio-scsi controller (virtio 1.2, 5.6.4: max_target is 255)
AHCI_PORTS = 6
AHCI_LIMIT = AHCI_PORTS * FUNCTIONS
IDE_LIMIT = 4
SERIAL_LIMIT = 4  # COM1 to COM4


@dataclass(frozen=True)
class Device:
    """One device that wants a slot."""

    name: str  # the host's, for messages: "/dev/sda"
    identity: str  # what stays the same over reboots
    place: str  # where it is plugged in, "" if unknown


@dataclass(frozen=True)
class Entry:
    """A slot that somebody has, or had."""

    identity: str
    slot: int
    place: str = ""


@dataclass(frozen=True)
class Assignment:
    slots: Mapping[str, int]  # by the host's name
    entries: tuple[Entry, ...]  # to be pinned, by slot
    missing: tuple[Entry, ...]  # kept for devices that are not here
    without: tuple[Device, ...]  # no slot left for them


def assign(devices: Iterable[Device], pinned: Iterable[Entry], limit: int) -> Assignment:
    """Give every device its slot; see the module for the rules. Linear in devices and entries."""
    devices = tuple(_unique(devices))
    known = {entry.identity: entry for entry in pinned}
    here = {device.identity for device in devices}
    vacant = {entry.place: entry for entry in known.values() if entry.identity not in here and entry.place}
    taken = {entry.slot for entry in known.values()}
    slots: dict[str, int] = {}
    without = []
    following = 0
    for device in devices:
        entry = known.get(device.identity)
        if entry is None and device.place in vacant:
            entry = vacant.pop(device.place)
            del known[entry.identity]
        if entry is None:
            while following in taken:
                following += 1
            entry = Entry(device.identity, following)
        if entry.slot >= limit:
            without.append(device)
            continue
        taken.add(entry.slot)
        known[device.identity] = Entry(device.identity, entry.slot, device.place)
        slots[device.name] = entry.slot
    entries = tuple(sorted(known.values(), key=lambda entry: entry.slot))
    missing = tuple(entry for entry in entries if entry.identity not in here)
    return Assignment(slots, entries, missing, tuple(without))


def pci_address(first: int, index: int, slots: int) -> tuple[int, int]:
    """Slot and function of the device number ``index`` in a row of PCI slots: the slots first, then their functions.

    So each of the first ``slots`` devices has a PCI slot of its own, and a guest's name for it (``enp0s8``) is short.
    """
    function, slot = divmod(index, slots)
    return first + slot, function


def _unique(devices: Iterable[Device]) -> Iterable[Device]:
    """Two paths to one disk, or clones with equal serial numbers, have one identity: tell them apart by place."""
    seen: set[str] = set()
    for device in devices:
        identity = device.identity
        if identity in seen:
            identity = f"{device.identity} at {device.place or device.name}"
        if identity in seen:
            identity = f"{device.identity} at {device.name}"
        seen.add(identity)
        yield Device(device.name, identity, device.place)
