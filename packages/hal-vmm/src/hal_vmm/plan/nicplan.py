"""One NIC for every physical Ethernet port, in the host's order, wearing its permanent MAC address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from hal_core.machine import Nic
from hal_vmm.config import DevicesConfig
from hal_vmm.era import Era
from hal_vmm.plan import slots
from hal_vmm.plan.diskplan import USB_REASON
from hal_vmm.plan.held import HeldBack
from hal_vmm.plan.keepers import Keepers
from hal_vmm.plan.slots import Device, Entry

USUAL_MTU = 1500


@dataclass(frozen=True)
class NicPlan:
    host: str  # "eno1"
    mac: str  # its permanent address
    slot: int
    tap: str  # "haltap0"; "" when the product's NICs lead nowhere
    model: str  # "virtio-net-pci"
    mtu: Optional[int]  # what the product is told; None: nothing, which means 1500


@dataclass(frozen=True)
class Nics:
    nics: tuple[NicPlan, ...]
    entries: tuple[Entry, ...]
    held: tuple[HeldBack, ...]
    notes: tuple[str, ...]


def plan(nics: tuple[Nic, ...], config: DevicesConfig, era: Era, pinned: tuple[Entry, ...], first_time: bool) -> Nics:
    """Which NICs the product gets, and where.

    :raise ConfigError: ``keep_nics`` names a NIC that is not there (the first time).
    """
    keepers = Keepers("vmm.devices.keep_nics", config.keep_nics)
    held = []
    given = []
    for nic in nics:
        kept = keepers.keeps((nic.name, nic.mac))
        if kept:
            held.append(HeldBack(nic.name, f"kept for the host ({keepers.key})"))
        elif nic.bus == "usb":
            held.append(HeldBack(nic.name, USB_REASON))
        elif not nic.mac:
            held.append(HeldBack(nic.name, "its permanent MAC address could not be read"))
        else:
            given.append(nic)
    notes = keepers.check([nic.name for nic in nics], first_time)
    assignment = slots.assign((Device(nic.name, nic.mac, nic.bus_path) for nic in given), pinned, slots.NIC_LIMIT)
    planned = tuple(_nic(nic, assignment.slots[nic.name], config, era) for nic in given if nic.name in assignment.slots)
    held += [HeldBack(device.name, f"room for {slots.NIC_LIMIT} NICs") for device in assignment.without]
    present = {nic.mac for nic in nics}
    held += [
        HeldBack(f"NIC {entry.identity}", "not found; its slot is kept")
        for entry in assignment.missing
        if entry.identity not in present
    ]
    return Nics(planned, assignment.entries, tuple(held), notes)


def _nic(nic: Nic, slot: int, config: DevicesConfig, era: Era) -> NicPlan:
    model = config.ide_nic if era.family == "pc" else era.nic_model
    # Only virtio can tell its driver an MTU; an e1000 takes what the product's administrator sets.
    mtu = nic.mtu if model.startswith("virtio") and nic.mtu != USUAL_MTU else None
    return NicPlan(nic.name, nic.mac, slot, f"haltap{slot}" if config.nic_backend == "tap" else "", model, mtu)
