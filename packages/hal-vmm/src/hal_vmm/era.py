"""The age of the product's OS decides which virtual hardware it has drivers for: one table, read by every plan.

* ``modern``: virtio, as the kernels of RHEL 6 and later have it. All virtio devices sit directly on the root bus, where
  they are *transitional* (PCI id 1af4:100x): behind a PCIe root port they would be modern-only, and RHEL 6 blind to
  them.
* ``pre-virtio``: AHCI disks, which are named sda, sdb … as SATA and SAS disks were on bare metal, and e1000.
* ``ide``: the PIIX IDE controller of the ``pc`` machine for kernels that know no AHCI: four drives, and not one more.
"""

from __future__ import annotations

from dataclasses import dataclass

MODERN, PRE_VIRTIO, IDE = "modern", "pre-virtio", "ide"


@dataclass(frozen=True)
class Era:
    name: str
    family: str  # machine family: "q35" or "pc"
    disk_bus: str  # "scsi" (virtio-scsi), "ahci" or "ide"
    nic_model: str
    usb: tuple[str, ...]  # a controller; all but the first are its companions
    usb_count: int  # how many of them a new product has: see hal_vmm.plan.usbplan
    watchdog: str
    rng: bool  # virtio-rng has a driver
    virtio_serial: bool  # agent and heartbeat have virtio ports; otherwise one of them has COM4
    named_cpu: bool  # its kernels do not know processors that came after them

    def device_types(self) -> tuple[str, ...]:
        """QEMU's device types that this era cannot do without, by name: what the preflight asks for."""
        disks = {"scsi": ("virtio-scsi-pci", "scsi-hd"), "ahci": ("ich9-ahci", "ide-hd"), "ide": ("ide-hd",)}
        virtio = ("virtio-serial-pci", "virtserialport") if self.virtio_serial else ()
        return (*disks[self.disk_bus], "ide-cd", self.nic_model, *self.usb, "isa-serial", "VGA", *virtio)


# RHEL 3 to 5 have no xHCI driver: EHCI, with three UHCI companions for the slow devices, gives the same six ports that
# the ICH9 of a real server has.
_OLD_USB = ("ich9-usb-ehci1", "ich9-usb-uhci1", "ich9-usb-uhci2", "ich9-usb-uhci3")

ERAS: dict[str, Era] = {
    MODERN: Era(
        MODERN,
        family="q35",
        disk_bus="scsi",
        nic_model="virtio-net-pci",
        usb=("qemu-xhci",),
        usb_count=3,
        watchdog="i6300esb",
        rng=True,
        virtio_serial=True,
        named_cpu=False,
    ),
    # e1000, not e1000e: guests notice a lost link on it (virt-manager issue 66).
    PRE_VIRTIO: Era(
        PRE_VIRTIO,
        family="q35",
        disk_bus="ahci",
        nic_model="e1000",
        usb=_OLD_USB,
        usb_count=6,
        watchdog="i6300esb",
        rng=False,
        virtio_serial=False,
        named_cpu=True,
    ),
    IDE: Era(
        IDE,
        family="pc",
        disk_bus="ide",
        nic_model="e1000",
        usb=_OLD_USB,
        usb_count=2,
        watchdog="ib700",
        rng=False,
        virtio_serial=False,
        named_cpu=True,
    ),
}
