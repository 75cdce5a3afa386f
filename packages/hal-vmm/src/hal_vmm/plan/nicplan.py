"""One NIC for every physical Ethernet port, in the host's order, wearing its permanent MAC address; and one more, the
product's end of the private link to the host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from hal_core.machine_nic import Nic
from hal_vmm.config import DevicesConfig
from hal_vmm.era import Era
from hal_vmm.plan import slots
from hal_vmm.plan.diskplan import USB_REASON
from hal_vmm.plan.held import HeldBack
from hal_vmm.plan.keepers import Keepers
from hal_vmm.plan.slots import Device, Entry

# hal-netcfg has the other end. Locally administered; the middle spells HAL in ASCII.
HOST_LINK_MAC, HOST_LINK_TAP = "02:48:41:4c:00:02", "haltapint"


@dataclass(frozen=True)
class NicPlan:
    host: str  # "eno1"
    mac: str  # its permanent address
    slot: int
    tap: str  # "haltap0"; "" when the product's NICs lead nowhere
    model: str  # "virtio-net-pci"


@dataclass(frozen=True)
class HostLink:
    """The NIC behind which there is no port of this server, but the host. Its place never changes."""

    mac: str
    tap: str  # "haltapint"
    model: str


@dataclass(frozen=True)
class Nics:
    nics: tuple[NicPlan, ...]
    host_link: Optional[HostLink]
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
    # Should it come later, hal-netcfg sees here that it is the host's.
    held += [HeldBack(name, f"kept for the host ({keepers.key}), and not here now") for name in keepers.absent]
    assignment = slots.assign((Device(nic.name, nic.mac, nic.bus_path) for nic in given), pinned, slots.NIC_LIMIT)
    planned = tuple(_nic(nic, assignment.slots[nic.name], config, era) for nic in given if nic.name in assignment.slots)
    held += [HeldBack(device.name, f"room for {slots.NIC_LIMIT} NICs") for device in assignment.without]
    present = {nic.mac for nic in nics}
    held += [
        HeldBack(f"NIC {entry.identity}", "not found; its slot is kept")
        for entry in assignment.missing
        if entry.identity not in present
    ]
    if not config.host_link:
        held.append(HeldBack("host link", "switched off in hal.toml (vmm.devices.host_link)"))
    return Nics(planned, _host_link(config, era), assignment.entries, tuple(held), notes)


def model(config: DevicesConfig, era: Era) -> str:
    """QEMU's device type of every NIC."""
    return config.ide_nic if era.family == "pc" else era.nic_model


def _nic(nic: Nic, slot: int, config: DevicesConfig, era: Era) -> NicPlan:
    tap = f"haltap{slot}" if config.nic_backend == "tap" else ""
    return NicPlan(nic.name, nic.mac, slot, tap, model(config, era))


def _host_link(config: DevicesConfig, era: Era) -> Optional[HostLink]:
    if not config.host_link or config.nic_backend == "unplugged":
        return None
    return HostLink(HOST_LINK_MAC, HOST_LINK_TAP, model(config, era))
