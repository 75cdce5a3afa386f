"""What disks and optical drives have in common: where they hang, what they are called, how they are reached."""

from __future__ import annotations

import re
from typing import NamedTuple

from hal_core.facts import parse, udevdb
from hal_core.facts.tree import Tree

ROOT = "/sys/block"
PAGE_HEADER = 4  # bytes before the content of a vital product data page

# Where the kernel says nothing else, the name of the driver does (Documentation/admin-guide/devices.txt).
_BY_NAME = (
    ("nvme", "nvme"),
    ("vd", "virtio"),
    ("xvd", "xen"),
    ("hd", "ide"),
    ("mmcblk", "mmc"),
    ("cciss", "scsi"),
    ("ida", "scsi"),
)
# Parts of the device's path in sysfs, made by the transport classes of the SCSI layer.
_BY_PATH = (
    (re.compile(r"/usb[0-9]+/"), "usb"),
    (re.compile(r"/session[0-9]+/"), "iscsi"),
    (re.compile(r"/rport-[0-9]"), "fc"),
    (re.compile(r"/ata[0-9]+/"), "sata"),
    (re.compile(r"/end_device-[0-9]"), "sas"),
)
_ATA_DRIVERS = re.compile(r"ahci|ata_|sata_|pata_")


class BlockDevice(NamedTuple):
    """One entry of /sys/block."""

    name: str  # as sysfs has it: "cciss!c0d0"
    directory: str  # "/sys/block/sda"
    real: (
        str  # "/sys/devices/pci0000:00/…/block/sda"; for an NVMe disk with several paths, through its first controller
    )
    udev: dict[str, str]


def find(tree: Tree, name: str) -> BlockDevice:
    directory = f"{ROOT}/{name}"
    return BlockDevice(name, directory, _real(tree, directory), udevdb.block(tree, directory))


def order(device: BlockDevice) -> tuple[object, ...]:
    """The host's order: by controller from the root port on, then host, target and LUN; names come last."""
    chain = parse.pci_chain(device.real)
    behind = device.real.rpartition(chain[-1])[2] if chain else device.real
    where = behind.rpartition("/block/")[0] or behind
    return (not chain, tuple(map(parse.pci_key, chain)), parse.natural(where), len(device.name), device.name)


def model(tree: Tree, device: BlockDevice) -> str:
    """The whole model: sysfs cuts ATA models after 16 characters, udev's own identification does not."""
    text = (
        udevdb.decode(device.udev.get("ID_MODEL_ENC", ""))
        or tree.line(f"{device.directory}/device/model")
        or tree.line(f"{device.directory}/device/name")  # MMC and SD cards
        or device.udev.get("ID_MODEL", "")
    )
    return " ".join(text.split())


def vendor(tree: Tree, device: BlockDevice) -> str:
    """The vendor; nothing for virtio and NVMe, where sysfs has a PCI number in its place."""
    text = tree.line(f"{device.directory}/device/vendor")
    if text and not text.startswith("0x"):
        return text
    return udevdb.decode(device.udev.get("ID_VENDOR_ENC", "")) or device.udev.get("ID_VENDOR", "")


def serial(tree: Tree, device: BlockDevice) -> str:
    """The unit serial number.

    ``ID_SCSI_SERIAL`` first: for a SCSI disk ``ID_SERIAL_SHORT`` is its WWN again (systemd's src/udev/scsi_id).
    """
    for key in ("ID_SCSI_SERIAL", "SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT"):
        if device.udev.get(key):
            return device.udev[key]
    for name in ("serial", "device/serial"):  # virtio; NVMe and MMC
        text = tree.line(f"{device.directory}/{name}")
        if text:
            return text
    return page80(tree.data(f"{device.directory}/device/vpd_pg80") or b"")


def page80(page: bytes) -> str:
    """The serial number in SCSI's Unit Serial Number page (SPC-4, 7.8.15); the header ends with the length."""
    length = int.from_bytes(page[2:PAGE_HEADER], "big")
    return "".join(filter(str.isprintable, page[PAGE_HEADER : PAGE_HEADER + length].decode("latin-1"))).strip("\xa0 ")


def transport(tree: Tree, device: BlockDevice) -> str:
    """How the device is attached; a SATA disk on a SAS controller is a SATA disk. ``""`` if nothing tells."""
    for prefix, kind in _BY_NAME:
        if device.name.startswith(prefix):
            return kind
    found = next((kind for pattern, kind in _BY_PATH if pattern.search(device.real)), "")
    if found not in ("", "sas"):
        return found
    if device.udev.get("ID_BUS") == "ata" or tree.line(f"{device.directory}/device/vendor") == "ATA":
        return "sata"
    host = re.search(r"^.*/(host[0-9]+)/", device.real)
    # Before 2.6.39 there is no ataN in the path.
    if host and _ATA_DRIVERS.match(tree.line(f"{host[0]}scsi_host/{host[1]}/proc_name")):
        return "sata"
    return found or ("scsi" if tree.exists(f"{device.directory}/device") else "")


def _real(tree: Tree, directory: str) -> str:
    real = tree.resolve(directory)
    if not parse.pci_chain(real) and "/block/" not in real:
        # Before 2.6.27 the entries of /sys/block are no links; their devices are.
        device = tree.resolve(f"{directory}/device")
        real = f"{device}{real[len('/sys') :]}" if parse.pci_chain(device) else real
    if "/nvme-subsystem/" not in real:
        return real
    # With native multipath the disk is virtual, and its subsystem links to the controllers that lead to it.
    for name in tree.names(f"{directory}/device", "nvme"):
        if re.fullmatch("nvme[0-9]+", name):
            return f"{tree.resolve(f'{directory}/device/{name}')}/block/{real.rpartition('/')[2]}"
    return real
