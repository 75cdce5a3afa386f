"""The guest as it ought to be: plain values, made by :mod:`hal_vmm.plan.guest`, spelled for a QEMU by
:mod:`hal_vmm.launch.commandline`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from hal_vmm.era import ERAS, Era
from hal_vmm.plan.cpuplan import Topology
from hal_vmm.plan.deviceplan import Channel, SerialPlan
from hal_vmm.plan.diskplan import DiskPlan, OpticalPlan
from hal_vmm.plan.handover import Handover
from hal_vmm.plan.held import HeldBack
from hal_vmm.plan.memoryplan import MemoryPlan
from hal_vmm.plan.nicplan import HostLink, NicPlan
from hal_vmm.plan.numaplan import GuestNode
from hal_vmm.plan.pin import Pin
from hal_vmm.plan.pinned import Pinned
from hal_vmm.plan.smbios import Smbios
from hal_vmm.plan.usbplan import UsbController


@dataclass(frozen=True)
class BootFrom:
    """A kernel that is booted directly; all empty: the product boots from its disks."""

    kernel: str = ""
    initrd: str = ""
    append: str = ""


@dataclass(frozen=True)
class CpuPlan:
    model: str
    model_reason: str  # why not "host"; "" if it is
    topology: Topology
    pinning: tuple[Pin, ...]
    emulator: tuple[int, ...]  # host CPUs for QEMU's other threads
    nodes: tuple[GuestNode, ...]  # () without NUMA
    x2apic: bool  # needs interrupt remapping, since its APIC ids do not end at 254


@dataclass(frozen=True)
class GuestPlan:
    """Everything about the guest but how one particular QEMU spells it: :mod:`hal_vmm.launch.commandline` does that."""

    era: str
    machine: str  # machine type with its version
    accel: str  # "kvm" or "tcg"
    accel_reason: str
    cpu: CpuPlan
    memory: MemoryPlan
    disks: tuple[DiskPlan, ...]
    optical: tuple[OpticalPlan, ...]
    nics: tuple[NicPlan, ...]
    host_link: Optional[HostLink]
    handover: Handover
    serial: tuple[SerialPlan, ...]
    channels: tuple[Channel, ...]
    usb: tuple[UsbController, ...]
    watchdog: str
    rng: bool
    pvpanic: bool
    smbios: Smbios
    boot: BootFrom
    user: str
    held_back: tuple[HeldBack, ...]
    notes: tuple[str, ...]
    pinned: Pinned  # to be kept for the next time

    @property
    def profile(self) -> Era:
        return ERAS[self.era]

    def to_json(self) -> dict[str, Any]:
        """For people and scripts; stable keys."""
        from hal_vmm.plan.planjson import to_json  # only where it is wanted

        return to_json(self)
