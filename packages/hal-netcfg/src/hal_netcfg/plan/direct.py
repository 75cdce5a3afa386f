"""Whether a NIC can be the product's as it is, or a virtual function of it: pure; the reason, where it cannot.

Sources: Linux, Documentation/driver-api/vfio.rst (groups) and Documentation/PCI/pci-iov-howto.rst.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hal_core.machine_nic import Nic
from hal_netcfg.config import LanConfig

#: Modes in which the product has a real PCI device, and drives it itself.
MODES = ("sriov", "vfio")


@dataclass(frozen=True)
class Ability:
    """What does not depend on the NIC."""

    reason: str = ""  # why QEMU cannot be handed a device; "": it can
    shared: frozenset[str] = frozenset()  # NICs whose virtual functions are of HAL's making


def wrong(key: str, config: LanConfig, mac: str, nics: Sequence[Nic], ability: Ability) -> Iterator[str]:
    """What is in the way of a LAN that is to be direct; nothing where it is not to be.

    :param key: "netcfg.lan.0". :param mac: what the product's NIC has worn so far.
    :param nics: those of the LAN that are here.
    """
    if config.mode not in MODES:
        return
    what = f'{key}.mode = "{config.mode}"'
    if len(config.nics) > 1:
        yield f"{what}: takes one NIC, not {len(config.nics)}; let the product bond them"
    elif config.mode == "vfio" and config.mtu:
        yield f'{key}.mtu = {config.mtu}: not with mode = "vfio": the product\'s own driver sets it'
    elif ability.reason:
        yield f"{what}: {ability.reason}"
    else:
        for nic in nics:
            reason = _whole(nic, mac) if config.mode == "vfio" else _function(nic, ability)
            if reason:
                yield f"{what}: {reason}"


def _iommu(nic: Nic) -> str:
    if nic.passthrough is None:
        return f"{nic.name} is no PCI device"
    if nic.passthrough.group is None:
        return (
            f"{nic.name} has no IOMMU in front of it: switch on VT-d or AMD-Vi in the firmware setup, and on Intel "
            "boot the host with intel_iommu=on"
        )
    return ""


def _whole(nic: Nic, mac: str) -> str:
    """Why not the NIC itself; "" if it can be."""
    place = nic.passthrough
    if place is None or place.group is None:
        return _iommu(nic)
    if place.others:
        others = ", ".join(place.others)
        return f"{nic.name} cannot be parted from others in its IOMMU group {place.group}: {others}; try another slot"
    if place.firmware_memory:
        return (
            f"the server's firmware keeps {nic.name} using memory of its own (RMRR), and Linux does not allow it then"
        )
    if nic.mac != mac:
        return f"{nic.name} has the address {nic.mac} and keeps it, and the product's NIC has {mac}"
    if place.interfaces > 1:
        return f"{nic.name} is one of {place.interfaces} ports of a single PCI device, which would all go with it"
    return ""


def _function(nic: Nic, ability: Ability) -> str:
    """Why not a virtual function of it; whether that has an IOMMU group of its own shows when it is there."""
    place = nic.passthrough
    if place is None or place.group is None:
        return _iommu(nic)
    if not place.total_vfs:
        return (
            f"{nic.name} (driver {nic.driver}) has no virtual functions: no SR-IOV, or not switched on in the firmware"
        )
    if place.vfs and nic.name not in ability.shared:
        return f"{nic.name} has {place.vfs} virtual functions already, which are none of HAL's"
    return ""
