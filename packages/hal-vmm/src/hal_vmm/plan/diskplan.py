"""Every disk but HAL's own goes to the product, whole, in the host's order, looking as it did on bare metal.

How each era attaches them:

* ``scsi`` (modern): LUNs of one virtio-scsi controller with an I/O thread of its own, target number = slot. *One*
  controller because order is what products depend on: Linux probes the targets of a controller in order, but several
  controllers side by side. And scsi-hd rather than virtio-blk because a LUN keeps what a product may look at: its name
  (sda, not vda), WWN, rotation rate, vendor and model, and real SCSI errors.
* ``ahci``: six disks to a controller, the controllers being functions of one PCI slot, probed in order.
* ``ide``: the four drives of the PIIX, one of which is the DVD when there is one.

Errors are always reported to the product (``werror=report``): its RAID has to see that a disk is failing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hal_core.machine_disk import Disk, Optical
from hal_vmm.config import DevicesConfig
from hal_vmm.era import Era
from hal_vmm.plan import slots
from hal_vmm.plan.held import HeldBack
from hal_vmm.plan.keepers import Keepers
from hal_vmm.plan.slots import Device, Entry
from hal_vmm.qemu.flavour import Flavour

USB_REASON = "USB: handed over as a USB device"

# QEMU cuts longer ones off without a word: hw/scsi/scsi-disk.c (VPD page 0x80, INQUIRY), hw/ide/core.c (ATA words).
_SERIAL_LENGTH = {"scsi": 36, "ahci": 20, "ide": 20}
_SCSI_VENDOR, _SCSI_MODEL, _ATA_MODEL = 8, 16, 40
_LARGEST_BLOCK = 2 << 20

# QEMU's wwn= is one 64-bit number: an NAA identifier of type 2, 3 or 5 (SPC-4, 7.8.6.6).
_WWN64 = re.compile(r"0x[235][0-9a-f]{15}")

LIMITS = {"scsi": slots.SCSI_LIMIT, "ahci": slots.AHCI_LIMIT, "ide": slots.IDE_LIMIT}
DVD_LIMITS = {"scsi": slots.AHCI_PORTS, "ahci": slots.AHCI_PORTS, "ide": 1}


@dataclass(frozen=True)
class DiskPlan:
    host: str  # "/dev/sda"
    identity: str
    slot: int
    bus: str  # "scsi", "ahci" or "ide"
    kind: str  # "block"; "file" for an image file (demos and tests)
    size_bytes: int
    serial: str
    wwn: str  # "0x5000c500a1b2c3d4"; "" where there is none, or QEMU cannot carry it
    vendor: str  # scsi only
    model: str
    logical_block_bytes: int
    physical_block_bytes: int
    rotation_rate: int  # revolutions per minute; 1: does not rotate; 0: unknown (as SCSI and ATA define the field)
    discard: bool
    read_only: bool


@dataclass(frozen=True)
class OpticalPlan:
    host: str  # "/dev/sr0"
    slot: int
    driver: str  # "host_cdrom": the real drive, tray and all; "": an empty drive, hal-udev inserts the media
    model: str
    serial: str


@dataclass(frozen=True)
class Disks:
    disks: tuple[DiskPlan, ...]
    optical: tuple[OpticalPlan, ...]
    entries: tuple[Entry, ...]  # slots of the disks, to be pinned
    optical_entries: tuple[Entry, ...]
    held: tuple[HeldBack, ...]
    notes: tuple[str, ...]


def plan(
    disks: tuple[Disk, ...],
    optical: tuple[Optical, ...],
    config: DevicesConfig,
    era: Era,
    flavour: Flavour,
    pinned: tuple[tuple[Entry, ...], tuple[Entry, ...]],
    first_time: bool,
) -> Disks:
    """Which disks and drives the product gets, where, and why it does not get the others.

    :param pinned: slots that disks, and DVD drives, have had.
    :raise ConfigError: ``keep_disks`` names a disk that is not there (the first time).
    """
    drives, drive_entries, held = _optical(optical, era, flavour, pinned[1])
    keepers = Keepers("vmm.devices.keep_disks", config.keep_disks)
    given: list[Disk] = []
    for disk in disks:
        reason = _held_reason(disk, keepers, era)
        if reason:
            held.append(HeldBack(disk.path, reason))
        else:
            given.append(disk)
    notes = keepers.check([disk.name for disk in disks], first_time)
    wanted = [Device(disk.path, disk.identity, disk.by_path) for disk in given]
    wanted += [Device(path, path, "") for path in config.disk_files]
    limit = LIMITS[era.disk_bus] - (1 if era.disk_bus == "ide" and drive_entries else 0)
    assignment = slots.assign(wanted, pinned[0], limit)
    identities = {entry.slot: entry.identity for entry in assignment.entries}
    planned = []
    for disk in given:
        if disk.path in assignment.slots:
            slot = assignment.slots[disk.path]
            planned.append(_disk(disk, slot, identities[slot], era.disk_bus))
    for path in config.disk_files:
        if path in assignment.slots:
            planned.append(_file(path, assignment.slots[path], era.disk_bus))
    full = f"the era {era.name} has room for {limit} disks{', the DVD drive has the fourth place' * (limit == 3)}"
    held += [HeldBack(device.name, full) for device in assignment.without]
    present = {disk.identity for disk in disks}
    held += [
        HeldBack(f"disk {entry.identity}", "not found; its slot is kept")
        for entry in assignment.missing
        if entry.identity not in present
    ]
    notes += _notes(given, planned)
    return Disks(tuple(planned), tuple(drives), assignment.entries, drive_entries, tuple(held), notes)


def _rotation_rate(disk: Disk) -> int:
    """As SBC-4, "Block Device Characteristics", has it: what a field may hold as a rate is 0x401 to 0xfffe.

    An unknown rate is "not reported", which makes Linux say "rotational", as on bare metal.
    """
    if not disk.rotational:
        return 1
    rpm = disk.rotation_rpm or 0
    return rpm if 0x401 <= rpm <= 0xFFFE else 0


def names(disk: Disk) -> tuple[str, ...]:
    """Everything that an administrator may call a disk."""
    return disk.name, disk.path, disk.wwn, disk.serial, disk.by_path


def _held_reason(disk: Disk, keepers: Keepers, era: Era) -> str:
    kept = keepers.keeps(names(disk))  # asked first, so that every name in the list is seen
    if disk.hal_device:
        return "HAL's own device"
    if kept:
        return f"kept for the host ({keepers.key})"
    if disk.transport == "usb":
        return USB_REASON
    if disk.size_bytes <= 0:
        return "no medium in it" if disk.removable else "it has no size"
    if era.disk_bus != "scsi" and disk.logical_block_bytes != 512:
        return f"blocks of {disk.logical_block_bytes} bytes: the disks of the era {era.name} have 512"
    if era.disk_bus != "scsi" and disk.read_only:
        return f"read-only: the disks of the era {era.name} cannot be"
    return ""


def _disk(disk: Disk, slot: int, identity: str, bus: str) -> DiskPlan:
    vendor, model = _inquiry(disk) if bus == "scsi" else ("", _ata_model(disk.vendor, disk.model))
    return DiskPlan(
        host=disk.path,
        identity=identity,
        slot=slot,
        bus=bus,
        kind="block",
        size_bytes=disk.size_bytes,
        serial=disk.serial[: _SERIAL_LENGTH[bus]],
        wwn=disk.wwn.lower() if _WWN64.fullmatch(disk.wwn.lower()) else "",
        vendor=vendor,
        model=model,
        logical_block_bytes=_block(disk.logical_block_bytes, 512),
        physical_block_bytes=_block(disk.physical_block_bytes, disk.logical_block_bytes),
        rotation_rate=_rotation_rate(disk),
        discard=disk.discard,
        read_only=disk.read_only,
    )


def _file(path: str, slot: int, bus: str) -> DiskPlan:
    """An image file: a disk like any other, with a serial number made of its name."""
    serial = re.sub(r"[^A-Za-z0-9]", "", path)[-20:]
    return DiskPlan(path, path, slot, bus, "file", 0, serial, "", "", "", 512, 512, 1, True, False)


def _inquiry(disk: Disk) -> tuple[str, str]:
    """Vendor and product as SCSI's INQUIRY has room for them; of disks that have no vendor, as Linux shows them."""
    vendor = disk.vendor or {"sata": "ATA", "ata": "ATA", "nvme": "NVMe"}.get(disk.transport, "")
    return vendor[:_SCSI_VENDOR].strip(), disk.model[:_SCSI_MODEL].strip()


def _ata_model(vendor: str, model: str) -> str:
    prefix = "" if vendor in ("", "ATA") or model.startswith(vendor) else f"{vendor} "
    return f"{prefix}{model}"[:_ATA_MODEL].strip()


def _block(size: int, least: int) -> int:
    """A block size that QEMU takes: a power of two from 512 bytes to 2 MiB, not below the logical one."""
    fits = size >= max(512, least) and size <= _LARGEST_BLOCK and size & (size - 1) == 0
    return size if fits else max(512, least)


def _optical(
    optical: tuple[Optical, ...], era: Era, flavour: Flavour, pinned: tuple[Entry, ...]
) -> tuple[list[OpticalPlan], tuple[Entry, ...], list[HeldBack]]:
    """DVD drives: on the AHCI of the q35 machine itself, or the secondary master of the PIIX.

    Not on virtio-scsi: installers and old boot media have a driver for AHCI and IDE long before one for virtio.
    """
    driver = "host_cdrom" if "host_cdrom" in flavour.block_drivers else ""
    held = [HeldBack(drive.path, USB_REASON) for drive in optical if drive.transport == "usb"]
    given = [drive for drive in optical if drive.transport != "usb"]
    wanted = [Device(drive.path, drive.serial or drive.by_path or drive.name, drive.by_path) for drive in given]
    assignment = slots.assign(wanted, pinned, DVD_LIMITS[era.disk_bus])
    drives = [
        OpticalPlan(
            host=drive.path,
            slot=assignment.slots[drive.path],
            driver=driver,
            model=_ata_model(drive.vendor, drive.model),
            serial=drive.serial[: _SERIAL_LENGTH["ide"]],
        )
        for drive in given
        if drive.path in assignment.slots
    ]
    room = f"the era {era.name} has room for {DVD_LIMITS[era.disk_bus]} DVD drives"
    held += [HeldBack(device.name, room) for device in assignment.without]
    held += [HeldBack(f"DVD drive {entry.identity}", "not found; its slot is kept") for entry in assignment.missing]
    return drives, assignment.entries, held


def _notes(given: list[Disk], planned: list[DiskPlan]) -> tuple[str, ...]:
    by_path = {disk.host: disk for disk in planned}
    notes = []
    wwns = [disk.name for disk in given if disk.wwn and disk.path in by_path and not by_path[disk.path].wwn]
    if wwns:
        notes.append(f"{', '.join(wwns)}: a WWN of this form cannot be carried over; the serial number is")
    cut = [disk.name for disk in given if disk.path in by_path and by_path[disk.path].serial != disk.serial]
    if cut:
        notes.append(f"{', '.join(cut)}: the serial number is longer than the virtual disk's: cut off")
    used = [f"{disk.name} ({', '.join(_holders(disk))})" for disk in given if _holders(disk)]
    if used:
        notes.append(f"in use by the host: {'; '.join(used)}: the launcher will refuse these until they are free")
    return tuple(notes)


def _holders(disk: Disk) -> tuple[str, ...]:
    return disk.holders + tuple(holder for partition in disk.partitions for holder in partition.holders)
