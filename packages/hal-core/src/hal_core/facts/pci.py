"""PCI devices (Documentation/ABI/testing/sysfs-bus-pci of Linux)."""

from __future__ import annotations

from hal_core.facts import numa, parse
from hal_core.facts.tree import Tree
from hal_core.machine import PciDevice

ROOT = "/sys/bus/pci/devices"


def read(tree: Tree) -> tuple[PciDevice, ...]:
    """By address, counted in hex: domain, bus, device, function."""
    addresses = [name for name in tree.names(ROOT) if parse.PCI_ADDRESS.fullmatch(name)]
    return tuple(_device(tree, address) for address in sorted(addresses, key=parse.pci_key))


def _device(tree: Tree, address: str) -> PciDevice:
    directory = f"{ROOT}/{address}"
    return PciDevice(
        address=address,
        class_id=tree.line(f"{directory}/class").replace("0x", "", 1),
        vendor_id=tree.line(f"{directory}/vendor").replace("0x", "", 1),
        device_id=tree.line(f"{directory}/device").replace("0x", "", 1),
        driver=tree.link(f"{directory}/driver"),
        node=numa.node_of_device(tree, directory),
    )
