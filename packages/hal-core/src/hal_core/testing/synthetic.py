"""Made-up servers for tests, as plain values: any number of packages, cores, disks and NICs.

Every value is derived from its index, so that two calls with the same arguments give the same machine.
:func:`write_tree` lays such a machine out as files, and ``facts.read`` reads the same machine from them again.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from hal_core.machine import (
    Cpu,
    CpuThread,
    Disk,
    Dmi,
    HugePages,
    Machine,
    Memory,
    Nic,
    NumaNode,
    Partition,
    Passthrough,
    PciDevice,
    SerialPort,
    UsbDevice,
    UsbInterface,
)
from hal_core.testing.sysfs import layout, write_tree

__all__ = [
    "DMI",
    "GIB",
    "disk",
    "disk_name",
    "layout",
    "machine",
    "nic",
    "usb_device",
    "usb_hub",
    "usb_key",
    "usb_keyboard",
    "usb_plugged",
    "usb_token",
    "write_tree",
]

GIB = 1 << 30


def machine(
    packages: int = 2,
    cores: int = 8,
    threads: int = 2,
    disks: int = 4,
    nics: int = 4,
    nodes: int = 2,
    memory_mib: int = 65536,
    *,
    hal_disk: bool = False,
    **overrides: Any,
) -> Machine:
    """A server of ``packages`` × ``cores`` × ``threads`` CPUs, numbered as Linux does on Intel: siblings come last.

    :param cores: per package.
    :param threads: per core.
    :param nodes: NUMA nodes, filled with whole cores in order; 0 gives a kernel without NUMA (no nodes).
    :param hal_disk: adds one more disk at the end, a USB key, from which HAL runs.
    :param overrides: fields of :class:`hal_core.machine.Machine` that replace what was made up.
    """
    total = packages * cores
    per_node = max(1, -(-total // max(1, nodes)))
    cpu_threads = tuple(_thread(id_, total, cores, threads, per_node) for id_ in range(total * threads))
    all_disks = [disk(index, node=_spread(index, disks, nodes)) for index in range(disks)]
    controllers = sorted({_controller(one) for one in all_disks}, key=str)
    if hal_disk:
        all_disks.append(usb_key(disks))
    all_nics = tuple(nic(index, node=_spread(index, nics, nodes)) for index in range(nics))
    made_up = Machine(
        cpu=Cpu(
            model="Synthetic Xeon(R) CPU @ 2.40GHz", vendor="GenuineIntel", virtualization="vmx", threads=cpu_threads
        ),
        nodes=tuple(_node(node, nodes, memory_mib, cpu_threads) for node in range(nodes)),
        memory=Memory(total_kib=memory_mib * 1024, hugepages=(HugePages(2048, 0, 0), HugePages(1048576, 0, 0))),
        disks=tuple(all_disks),
        optical=(),
        nics=all_nics,
        serial=(SerialPort("ttyS0", uart="16550A", port=0x3F8, irq=4, console=False),),
        usb=(usb_device(),) if hal_disk else (),
        pci=_pci(controllers, all_nics),
        dmi=DMI,
        firmware="uefi",
        kvm=None,
    )
    return dataclasses.replace(made_up, **overrides)


def disk(index: int, **overrides: Any) -> Disk:
    """The disk number ``index``: ``sda``, ``sdb``, … ``sdz``, ``sdaa``; 300 GiB, 512-byte blocks, spinning.

    Each NUMA node has a controller of its own.
    """
    bus = FIRST_CONTROLLER_BUS + (overrides.get("node") or 0)
    made_up = Disk(
        name=disk_name(index),
        size_bytes=300 * GIB,
        model="ST9300605SS",
        vendor="SEAGATE",
        serial=f"6XP{index:05d}",
        wwn=f"0x5000c500{index:08x}",
        by_path=f"pci-0000:{bus:02x}:00.0-scsi-0:0:{index}:0",
        transport="scsi",
        logical_block_bytes=512,
        physical_block_bytes=512,
        rotational=True,
        removable=False,
        discard=False,
        read_only=False,
        node=None,
        partitions=(Partition(f"{disk_name(index)}1", 299 * GIB, ()),),
        holders=(),
        hal_device=False,
    )
    return dataclasses.replace(made_up, **overrides)


def usb_key(index: int) -> Disk:
    """The internal USB key that HAL runs from."""
    name = disk_name(index)
    return disk(
        index,
        size_bytes=16 * GIB,
        model="Internal Key",
        vendor="Synth",
        serial="HALKEY0001",
        wwn="",
        by_path=f"pci-{USB_CONTROLLER}-usb-0:3:1.0-scsi-0:0:0:0",
        transport="usb",
        removable=True,
        partitions=(Partition(f"{name}1", GIB, ()), Partition(f"{name}2", 14 * GIB, ())),
        hal_device=True,
    )


def nic(index: int, **overrides: Any) -> Nic:
    """The Ethernet port number ``index``: two ports to a card, every card on a bus of its own, link up, 1 Gbit/s."""
    nothing_special = Passthrough(group=None, others=(), firmware_memory=False, interfaces=1, total_vfs=0, vfs=0)
    made_up = Nic(
        name=f"enp{FIRST_NIC_BUS + index // 2}s0f{index % 2}",
        mac=f"00:1b:21:00:{index >> 8:02x}:{index & 255:02x}",
        driver="igb",
        bus="pci",
        bus_path=f"0000:{FIRST_NIC_BUS + index // 2:02x}:00.{index % 2}",
        speed_mbps=1000,
        carrier=True,
        mtu=1500,
        master="",
        vlans=(),
        node=None,
        passthrough=None if overrides.get("bus") == "usb" else nothing_special,
    )
    return dataclasses.replace(made_up, **overrides)


def usb_device(**overrides: Any) -> UsbDevice:
    """The USB key of :func:`usb_key` as a USB device."""
    made_up = UsbDevice(
        port="1-3",
        vendor_id="0781",
        product_id="5571",
        manufacturer="Synth",
        product="Internal Key",
        serial="HALKEY0001",
        speed_mbps=480,
        hub=False,
        path=f"{USB_CONTROLLER}/usb2/3",
        bus=1,
        number=2,
        interfaces=(UsbInterface(0, "08", "06", "50", "usb-storage"),),
        hal_device=True,
    )
    return dataclasses.replace(made_up, **overrides)


def usb_plugged(port: str, *, number: int = 5, **overrides: Any) -> UsbDevice:
    """Somebody's stick in port ``1-1.4``; ``class_id`` and ``driver`` of its one interface may be given instead."""
    class_id, driver = overrides.pop("class_id", "08"), overrides.pop("driver", "usb-storage")
    bus, _, ports = port.partition("-")
    made_up = usb_device(
        port=port,
        path=f"{USB_CONTROLLER}/usb2/{ports}",
        bus=int(bus),
        number=number,
        product="Stick",
        serial=f"STICK{port}",
        interfaces=(UsbInterface(0, class_id, "06", "50", driver),),
        hal_device=False,
    )
    return dataclasses.replace(made_up, **overrides)


def usb_hub(port: str, **overrides: Any) -> UsbDevice:
    hub = usb_plugged(port, number=3, product="Hub", serial="", class_id="09", driver="hub", hub=True)
    return dataclasses.replace(hub, **overrides)


def usb_keyboard(port: str, *, driver: str = "usbhid", **overrides: Any) -> UsbDevice:
    """A receiver: a keyboard and a mouse. ``driver`` is that of both."""
    interfaces = (UsbInterface(0, "03", "01", "01", driver), UsbInterface(1, "03", "01", "02", driver))
    told = False if driver == "usbhid" else None
    names = {"vendor_id": "046d", "product_id": "c534", "manufacturer": "Synth", "product": "Receiver", "serial": ""}
    return usb_plugged(port, **{**names, "speed_mbps": 12, "interfaces": interfaces, "token": told, **overrides})


def usb_token(port: str, *, driver: str = "usbhid", **overrides: Any) -> UsbDevice:
    """A security token that types: a keyboard, and FIDO. ``driver`` is that of both; without it, somebody remembers."""
    interfaces = (UsbInterface(0, "03", "01", "01", driver), UsbInterface(1, "03", "00", "00", driver))
    names = {"vendor_id": "1050", "product_id": "0403", "manufacturer": "Synth", "product": "Token", "serial": ""}
    return usb_plugged(port, **{**names, "speed_mbps": 12, "interfaces": interfaces, "token": True, **overrides})


def disk_name(index: int) -> str:
    """``sda`` for 0, ``sdz`` for 25, ``sdaa`` for 26, as the SCSI disk driver counts."""
    letters = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return f"sd{letters}"


FIRST_CONTROLLER_BUS = 0x02
FIRST_NIC_BUS = 0x20
USB_CONTROLLER = "0000:f0:00.0"

DMI = Dmi(
    bios_vendor="Synth BIOS",
    bios_version="1.2.3",
    bios_date="01/31/2024",
    bios_release="1.2",
    sys_vendor="Acme",
    product_name="Server 9000",
    product_version="A01",
    product_serial="SN42",
    product_uuid="4c4c4544-0042-4a10-8053-b4c04f4e3132",
    product_sku="SKU=9000",
    product_family="Servers",
    board_vendor="Acme",
    board_name="0XYZ01",
    board_version="A02",
    board_serial="..CN7016342F00AB.",
    board_asset_tag="BT-7",
    chassis_vendor="Acme",
    chassis_version="Rack 2U",
    chassis_serial="SN42",
    chassis_asset_tag="AT-99",
    chassis_type="23",
)


def _thread(id_: int, total: int, cores: int, threads: int, per_node: int) -> CpuThread:
    core = id_ % total
    siblings = tuple(core + total * thread for thread in range(threads))
    return CpuThread(
        id=id_, online=True, package=core // cores, die=0, core=siblings, core_type="", node=core // per_node
    )


def _node(id_: int, nodes: int, memory_mib: int, threads: tuple[CpuThread, ...]) -> NumaNode:
    return NumaNode(
        id=id_,
        cpus=tuple(thread.id for thread in threads if thread.node == id_),
        memory_kib=memory_mib * 1024 // nodes,
        distances=tuple(10 if other == id_ else 21 for other in range(nodes)),
    )


def _spread(index: int, count: int, nodes: int) -> int | None:
    """Which node a device hangs off: the devices are spread over the nodes, in order; None without NUMA."""
    return index * nodes // count if nodes else None


def _controller(one: Disk) -> tuple[str, int | None]:
    return (one.by_path[len("pci-") :].partition("-")[0], one.node)


def _pci(controllers: list[tuple[str, int | None]], nics: tuple[Nic, ...]) -> tuple[PciDevice, ...]:
    return (
        *(PciDevice(address, "010400", "1000", "005d", "megaraid_sas", node) for address, node in controllers),
        *(PciDevice(nic_.bus_path, "020000", "8086", "1521", nic_.driver, nic_.node) for nic_ in nics),
        PciDevice(USB_CONTROLLER, "0c0330", "8086", "8d31", "xhci_hcd", None),
    )
