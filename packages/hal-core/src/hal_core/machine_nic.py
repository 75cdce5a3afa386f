"""What a NIC is: see :mod:`hal_core.machine`, which has it, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Passthrough:
    """What there is to know before a PCI device is handed to a virtual machine as it is."""

    group: Optional[int]  # its IOMMU group; None: no IOMMU is at work
    others: tuple[str, ...]  # who else is in the group, but for bridges: "0000:00:1f.2 (ahci, disks)"
    firmware_memory: bool  # the firmware has it use memory of its own (RMRR), and the kernel then refuses
    interfaces: int  # network interfaces of the host's on it
    total_vfs: int  # virtual functions that it can have (SR-IOV), as far as its driver can; 0: none
    vfs: int  # that it has


@dataclass(frozen=True)
class Nic:
    """A physical Ethernet port. InfiniBand, bridges, bonds, VLANs, taps and other virtual devices are not NICs."""

    name: str  # "eno1"
    mac: str  # the permanent address, lower case with colons; "" if it could not be read
    driver: str
    bus: str  # "pci", "usb", "virtio", …
    bus_path: str  # "0000:01:00.0"
    speed_mbps: Optional[int]
    carrier: Optional[bool]
    mtu: Optional[int]
    master: str  # the bond or bridge that it is a port of; "" if none
    vlans: tuple[str, ...]  # VLAN devices on top of it, "eno1.5"
    node: Optional[int]
    passthrough: Optional[Passthrough] = None  # of the PCI device at bus_path; None: it is none
    lent: bool = False  # handed to the product whole: no interface of the host's at the moment
