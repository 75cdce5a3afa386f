"""Whole disks that exist as hardware (Documentation/ABI/stable/sysfs-block of Linux, and udev's database).

Loop, RAM, zram, device-mapper, md and floppy devices are not disks here; neither are the hidden path nodes of
multipath NVMe (``nvme0c0n1``) and the boot and RPMB areas of an MMC (``mmcblk0boot0``). A disk whose size is zero is an
empty slot of a card reader, or broken: there is nothing to hand over.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Optional

from hal_core.facts import blockdev, hal_device, numa, parse
from hal_core.facts.blockdev import BlockDevice
from hal_core.facts.tree import Tree
from hal_core.machine_disk import Disk, Partition

SECTOR_BYTES = 512  # the unit of ``size``, whatever the disk's own blocks are

_NAMES = re.compile("(?:[shv]d[a-z]+|xvd[a-z]+|rssd[a-z]+|nvme[0-9]+n[0-9]+|mmcblk[0-9]+|(?:cciss|ida)!c[0-9]+d[0-9]+)")


def read(tree: Tree) -> tuple[Disk, ...]:
    """In the host's order: by controller, then target."""
    names = [name for name in tree.names(blockdev.ROOT) if _NAMES.fullmatch(name) and not _is_empty(tree, name)]
    devices = sorted((blockdev.find(tree, name) for name in names), key=blockdev.order)
    disks = [_disk(tree, device) for device in devices]
    own = hal_device.find(tree, {disk.name: [part.name for part in disk.partitions] for disk in disks})
    return tuple(dataclasses.replace(disk, hal_device=disk.name in own) for disk in disks)


def _is_empty(tree: Tree, name: str) -> bool:
    """An IDE optical drive, or without a medium; a size that is not in the recording does not say so."""
    directory = f"{blockdev.ROOT}/{name}"
    if name.startswith("hd") and tree.line(f"{directory}/device/media") not in ("", "disk"):
        return True
    return tree.integer(f"{directory}/size") == 0


def _disk(tree: Tree, device: BlockDevice) -> Disk:
    directory = device.directory
    logical = (
        tree.integer(f"{directory}/queue/logical_block_size")
        or tree.integer(f"{directory}/queue/hw_sector_size")  # before 2.6.31
        or SECTOR_BYTES
    )
    return Disk(
        name=device.name.replace("!", "/"),
        size_bytes=_bytes(tree, directory),
        model=blockdev.model(tree, device),
        vendor=blockdev.vendor(tree, device),
        serial=blockdev.serial(tree, device),
        wwn=_wwn(tree, device),
        by_path=device.udev.get("ID_PATH", ""),
        transport=blockdev.transport(tree, device),
        logical_block_bytes=logical,
        physical_block_bytes=max(tree.integer(f"{directory}/queue/physical_block_size") or 0, logical),
        rotational=_rotational(tree, device),
        removable=tree.flag(f"{directory}/removable"),
        discard=(tree.integer(f"{directory}/queue/discard_max_bytes") or 0) > 0,
        read_only=tree.flag(f"{directory}/ro"),
        node=_node(tree, device),
        partitions=_partitions(tree, device),
        holders=tuple(tree.names(f"{directory}/holders")),
        hal_device=False,
        rotation_rpm=parse.integer(device.udev.get("ID_ATA_ROTATION_RATE_RPM", "")),
    )


def _bytes(tree: Tree, directory: str) -> int:
    return max(tree.integer(f"{directory}/size") or 0, 0) * SECTOR_BYTES


def _rotational(tree: Tree, device: BlockDevice) -> bool:
    flag = tree.integer(f"{device.directory}/queue/rotational")
    # The file came with 2.6.29, when a disk behind these drivers was a spinning one.
    return device.name.startswith(("sd", "hd", "cciss", "ida")) if flag is None else flag == 1


def _wwn(tree: Tree, device: BlockDevice) -> str:
    """With the vendor's extension, without which all volumes of one RAID controller look alike."""
    known = device.udev.get("ID_WWN_WITH_EXTENSION") or device.udev.get("ID_WWN")
    if known:
        return known
    # NVMe has it at the disk, SCSI at the device (since 3.15). "t10.…" is a serial number, not a WWN.
    text = tree.line(f"{device.directory}/wwid") or tree.line(f"{device.directory}/device/wwid")
    kind, _, name = text.partition(".")
    if kind == "naa":
        return f"0x{name}"
    return text if kind in ("eui", "uuid", "nvme") else ""


def _node(tree: Tree, device: BlockDevice) -> Optional[int]:
    """The NUMA node of the nearest PCI device on the way to the disk."""
    chain = parse.pci_chain(device.real)
    if not chain:
        return None
    return numa.node_of_device(tree, device.real[: device.real.rindex(chain[-1]) + len(chain[-1])])


def _partitions(tree: Tree, device: BlockDevice) -> tuple[Partition, ...]:
    pattern = re.compile(re.escape(device.name) + "p?[0-9]+")
    return tuple(
        Partition(
            name=name.replace("!", "/"),
            size_bytes=_bytes(tree, f"{device.directory}/{name}"),
            holders=tuple(tree.names(f"{device.directory}/{name}/holders")),
        )
        for name in tree.names(device.directory, device.name)
        if pattern.fullmatch(name)
    )
