"""What a machine is: plain values, no I/O. :mod:`hal_core.facts` reads them; every plan is made from them.

Sizes are in the unit that the field's name says. Absence is normal (an old kernel, a recorded machine with only some of
its files): a fact that could not be read is ``None``, or empty, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional


@dataclass(frozen=True)
class CpuThread:
    """One logical CPU, as the kernel numbers them (``/sys/devices/system/cpu/cpuN``)."""

    id: int
    online: bool
    package: int  # physical_package_id; 0 where the kernel does not say
    die: int  # 0 on kernels without die_id (before 5.2)
    core: tuple[int, ...]  # every *online* thread of its physical core, itself included; () when offline
    core_type: str  # "performance", "efficiency", or "" where all cores are alike
    node: int  # NUMA node; 0 where the kernel has none


@dataclass(frozen=True)
class Cpu:
    model: str  # "Intel(R) Xeon(R) CPU E7- 4870 @ 2.40GHz", white space folded; "" if unknown
    vendor: str  # "GenuineIntel", "AuthenticAMD", …
    virtualization: str  # "vmx", "svm" or "" (from the flags in /proc/cpuinfo)
    threads: tuple[CpuThread, ...]  # by id, offline ones included

    @property
    def online(self) -> tuple[CpuThread, ...]:
        return tuple(thread for thread in self.threads if thread.online)

    @property
    def cores(self) -> tuple[CpuThread, ...]:
        """The first online thread of every physical core, by id."""
        return tuple(thread for thread in self.online if thread.id == min(thread.core))


@dataclass(frozen=True)
class NumaNode:
    id: int
    cpus: tuple[int, ...]
    memory_kib: Optional[int]  # None: the kernel does not say; 0: a node without memory
    distances: tuple[int, ...]  # to each node, in the order of node ids; () if unknown


@dataclass(frozen=True)
class HugePages:
    size_kib: int
    total: int
    free: int


@dataclass(frozen=True)
class Memory:
    total_kib: Optional[int]  # MemTotal: what the kernel manages, a little less than what is plugged in
    hugepages: tuple[HugePages, ...]


@dataclass(frozen=True)
class Partition:
    name: str  # "sda1"
    size_bytes: int
    holders: tuple[str, ...]  # "dm-0", "md127": what is stacked on it


@dataclass(frozen=True)
class Disk:
    """A whole disk that exists as hardware: never a loop, RAM, zram, device-mapper, md or multipath node."""

    name: str  # the kernel's name for it, "sda", "nvme0n1", "cciss!c0d0" as "cciss/c0d0"
    size_bytes: int
    model: str
    vendor: str
    serial: str  # the unit serial number (udev's ID_SCSI_SERIAL or ID_SERIAL_SHORT, else sysfs); "" if it has none
    wwn: str  # "0x5000c500a1b2c3d4"; "" if it has none
    by_path: str  # udev's ID_PATH, "pci-0000:01:00.0-scsi-0:2:0:0"; "" if unknown
    transport: str  # "sata", "sas", "usb", "nvme", "virtio", "scsi", "mmc", … or "" if unknown
    logical_block_bytes: int
    physical_block_bytes: int
    rotational: bool
    removable: bool
    discard: bool
    read_only: bool
    node: Optional[int]  # NUMA node of its controller, where the kernel knows it
    partitions: tuple[Partition, ...]
    holders: tuple[str, ...]
    hal_device: bool  # HAL itself runs from it
    rotation_rpm: Optional[int] = None  # 7200; 0 for a solid-state disk; None where udev does not know

    @property
    def path(self) -> str:
        return f"/dev/{self.name}"

    @property
    def identity(self) -> str:
        """What stays the same over reboots, re-cabling as far as possible, and HAL upgrades."""
        return self.wwn or self.serial or self.by_path or self.name


@dataclass(frozen=True)
class Optical:
    name: str  # "sr0"
    model: str
    vendor: str
    serial: str
    by_path: str
    transport: str

    @property
    def path(self) -> str:
        return f"/dev/{self.name}"


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


@dataclass(frozen=True)
class SerialPort:
    """A serial port that really exists (an 8250 whose UART type is unknown does not)."""

    name: str  # "ttyS0"
    uart: str  # "16550A"
    port: int  # I/O port, 0x3f8; 0 for a memory-mapped one
    irq: int
    console: bool  # the host's kernel uses it as a console

    @property
    def path(self) -> str:
        return f"/dev/{self.name}"


# A USB interface's class; with its subclass "boot interface" and protocol "keyboard" (HID 1.11, 4.2 and 4.3).
HID = "03"
BOOT_KEYBOARD = (HID, "01", "01")


@dataclass(frozen=True)
class UsbInterface:
    """What a USB device does: a composite device has several."""

    number: int
    class_id: str  # two hex digits, "08" is storage (usb.org, "Defined Class Codes")
    subclass: str
    protocol: str
    driver: str  # the host's: "usb-storage"; "usbfs" where a program has it, as QEMU does; "" for none
    ttys: tuple[str, ...] = ()  # "ttyUSB0": the host's serial ports on it


@dataclass(frozen=True)
class UsbDevice:
    """A plugged-in USB device; hubs are listed too, with ``hub`` set."""

    port: str  # the physical port path, "1-1.4": the only stable name (the device number changes on every replug)
    vendor_id: str  # "046d"
    product_id: str
    manufacturer: str
    product: str
    serial: str
    speed_mbps: Optional[int]
    hub: bool
    path: str = ""  # "0000:00:14.0/usb2/1.4": the port, however the kernel numbers its buses; "" if unknown
    bus: Optional[int] = None  # both are in the name of its node, /dev/bus/usb/001/005
    number: Optional[int] = None  # another one after every replug
    configured: bool = True  # False: the kernel could not read what it is, or has no power for it
    interfaces: tuple[UsbInterface, ...] = ()
    hal_device: bool = False  # it carries a file system that the host has mounted: HAL's own
    token: Optional[bool] = None  # of what looks like a keyboard: it is a security token (FIDO); None: not known

    @property
    def keyboard(self) -> bool:
        """It looks like one, or like a receiver: it types, and all of it is HID, unlike a token with a smart card."""
        return all(one.class_id == HID for one in self.interfaces) and any(
            (one.class_id, one.subclass, one.protocol) == BOOT_KEYBOARD for one in self.interfaces
        )


@dataclass(frozen=True)
class PciDevice:
    address: str  # "0000:01:00.0"; the domain may have more than four digits (VMD: "10000:00:02.0")
    class_id: str  # six hex digits, "020000"
    vendor_id: str
    device_id: str
    driver: str
    node: Optional[int]


@dataclass(frozen=True)
class Dmi:
    """SMBIOS strings as the kernel exports them (``/sys/class/dmi/id``); "" where absent or not readable."""

    bios_vendor: str = ""
    bios_version: str = ""
    bios_date: str = ""
    bios_release: str = ""
    sys_vendor: str = ""
    product_name: str = ""
    product_version: str = ""
    product_serial: str = ""
    product_uuid: str = ""
    product_sku: str = ""
    product_family: str = ""
    board_vendor: str = ""
    board_name: str = ""
    board_version: str = ""
    board_serial: str = ""
    board_asset_tag: str = ""
    chassis_vendor: str = ""
    chassis_version: str = ""
    chassis_serial: str = ""
    chassis_asset_tag: str = ""
    chassis_type: str = ""


@dataclass(frozen=True)
class Machine:
    """Everything that HAL knows of a server."""

    cpu: Cpu
    nodes: tuple[NumaNode, ...]
    memory: Memory
    disks: tuple[Disk, ...]  # in the host's order: by controller, then target
    optical: tuple[Optical, ...]
    nics: tuple[Nic, ...]  # in the host's order: by bus path, then port
    serial: tuple[SerialPort, ...]
    usb: tuple[UsbDevice, ...]
    pci: tuple[PciDevice, ...]
    dmi: Dmi
    firmware: str  # "uefi", "bios", or "" if unknown
    kvm: Optional[bool]  # /dev/kvm exists; None on a recorded machine, where it cannot be known
    unreadable: tuple[str, ...] = field(default=())  # files that exist but could not be read, for the reader to know
