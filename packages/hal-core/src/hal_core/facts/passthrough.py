"""What decides whether a NIC can be handed to a virtual machine as it is: IOMMU groups and SR-IOV.

Sources: Linux, Documentation/driver-api/vfio.rst; Documentation/ABI/testing/sysfs-kernel-iommu_groups and
sysfs-bus-pci (``sriov_*``).
"""

from __future__ import annotations

from typing import Optional

from hal_core.facts import parse
from hal_core.facts.tree import Tree
from hal_core.machine_nic import Passthrough

_PCI = "/sys/bus/pci/devices"
_GROUPS = "/sys/kernel/iommu_groups"
_BRIDGE = 0x06  # PCI base class: bridges are no obstacle, VFIO lets them keep their driver
_STORAGE = 0x01


def read(tree: Tree, address: str) -> Optional[Passthrough]:
    """:param address: of a PCI device; None if there is none of that address."""
    directory = f"{_PCI}/{address}"
    if not parse.PCI_ADDRESS.fullmatch(address) or not tree.exists(directory):
        return None
    group = parse.integer(tree.link(f"{directory}/iommu_group"))
    members = tree.names(f"{_GROUPS}/{group}/devices") if group is not None else []
    others = [other for other in members if other != address and _base_class(tree, other) != _BRIDGE]
    reserved = tree.text(f"{_GROUPS}/{group}/reserved_regions").splitlines() if group is not None else []
    return Passthrough(
        group=group,
        others=tuple(_described(tree, other) for other in others),
        # "direct" only: "direct-relaxable" is for firmware's USB and graphics, and in nobody's way.
        firmware_memory=any(line.split()[-1:] == ["direct"] for line in reserved),
        interfaces=len(_interfaces(tree, address)),
        total_vfs=tree.integer(f"{directory}/sriov_totalvfs") or 0,
        vfs=tree.integer(f"{directory}/sriov_numvfs") or 0,
    )


def _interfaces(tree: Tree, address: str) -> list[str]:
    """Of the host's, on the device itself or on the virtio device that it carries."""
    carried = (f"{_PCI}/{address}/{name}" for name in tree.names(f"{_PCI}/{address}", "virtio"))
    return [name for directory in (f"{_PCI}/{address}", *carried) for name in tree.names(f"{directory}/net")]


def _base_class(tree: Tree, address: str) -> int:
    return (tree.integer(f"{_PCI}/{address}/class", 0) or 0) >> 16


def _described(tree: Tree, address: str) -> str:
    """As "0000:00:1f.2 (ahci, disks)", "0000:03:00.1 (ixgbe, eno2)"."""
    what = [tree.link(f"{_PCI}/{address}/driver") or "no driver", *_interfaces(tree, address)]
    what += ["disks"] if _base_class(tree, address) == _STORAGE else []
    return f"{address} ({', '.join(what)})"
