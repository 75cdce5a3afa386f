"""What a machine is: plain values, no I/O. :mod:`hal_core.facts` reads them; every plan is made from them.

Sizes are in the unit that the field's name says. Absence is normal (an old kernel, a recorded machine with only some of
its files): a fact that could not be read is ``None``, or empty, never a guess.

What single packages plan with alone is in modules of its own: a dataclass takes half a millisecond to make, whoever
imports it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from hal_core.machine_disk import Disk as Disk
from hal_core.machine_disk import Optical as Optical
from hal_core.machine_disk import Partition as Partition
from hal_core.machine_nic import Nic as Nic
from hal_core.machine_nic import Passthrough as Passthrough
from hal_core.machine_usb import UsbDevice as UsbDevice
from hal_core.machine_usb import UsbInterface as UsbInterface


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
