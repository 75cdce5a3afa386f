"""What a disk and an optical drive are: see :mod:`hal_core.machine`, which has them, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Partition:
    name: str  # "sda1"
    size_bytes: int
    holders: tuple[str, ...]  # "dm-0", "md127": what is stacked on it


@dataclass(frozen=True)
class Disk:
    """A whole disk that exists as hardware: never a loop, RAM, zram, device-mapper, md or multipath node."""

    name: str  # the kernel's name for it, "sda", "nvme0n1", "cciss!c0d0" as "cciss/c0d0"
    size_bytes: int
    model: str
    vendor: str
    serial: str  # the unit serial number (udev's ID_SCSI_SERIAL or ID_SERIAL_SHORT, else sysfs); "" if it has none
    wwn: str  # "0x5000c500a1b2c3d4"; "" if it has none
    by_path: str  # udev's ID_PATH, "pci-0000:01:00.0-scsi-0:2:0:0"; "" if unknown
    transport: str  # "sata", "sas", "usb", "nvme", "virtio", "scsi", "mmc", … or "" if unknown
    logical_block_bytes: int
    physical_block_bytes: int
    rotational: bool
    removable: bool
    discard: bool
    read_only: bool
    node: Optional[int]  # NUMA node of its controller, where the kernel knows it
    partitions: tuple[Partition, ...]
    holders: tuple[str, ...]
    hal_device: bool  # HAL itself runs from it
    rotation_rpm: Optional[int] = None  # 7200; 0 for a solid-state disk; None where udev does not know

    @property
    def path(self) -> str:
        return f"/dev/{self.name}"

    @property
    def identity(self) -> str:
        """What stays the same over reboots, re-cabling as far as possible, and HAL upgrades."""
        return self.wwn or self.serial or self.by_path or self.name


@dataclass(frozen=True)
class Optical:
    name: str  # "sr0"
    model: str
    vendor: str
    serial: str
    by_path: str
    transport: str

    @property
    def path(self) -> str:
        return f"/dev/{self.name}"
