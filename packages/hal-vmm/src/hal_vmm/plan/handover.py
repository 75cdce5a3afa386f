"""Whether QEMU can be handed a real NIC, and how. Which NIC that is, hal-netcfg says when the product starts."""

from __future__ import annotations

from dataclasses import dataclass

from hal_vmm.qemu.flavour import Flavour


@dataclass(frozen=True)
class Handover:
    way: str  # "fd": as descriptors; "path": QEMU opens the two nodes itself; "": not at all
    reason: str  # why not


def plan(flavour: Flavour, x2apic: bool) -> Handover:
    """:param x2apic: the product has so many CPUs that it needs a virtual IOMMU, for its interrupts."""
    if not flavour.has("vfio-pci"):
        return Handover("", f"{flavour.name} has no vfio-pci")
    if x2apic:
        # It would have to shadow the product's own tables (intel-iommu's caching-mode), which costs every product.
        return Handover("", "a product with more than 255 CPUs has a virtual IOMMU, which stands in the way")
    return Handover("fd" if "iommufd" in flavour.objects else "path", "")
