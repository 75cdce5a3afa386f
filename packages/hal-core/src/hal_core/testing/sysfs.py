"""A machine laid out as the files of sysfs, procfs and udev's database: the facts, the other way round.

What it writes is what Linux 6 has there, as far as facts read it. It knows the disks of SCSI, SAS, SATA, USB, virtio
and NVMe, and NICs on PCI, USB and virtio; not what only old kernels have.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping

from hal_core import tokens
from hal_core.anonymize import Recording
from hal_core.facts import archive, parse
from hal_core.facts.serial import UARTS
from hal_core.facts.tree import Tree
from hal_core.machine import Disk, Machine, Nic, Optical, UsbDevice, UsbInterface
from hal_core.testing import hid

_PCI_ROOT = "/sys/devices/pci0000:00"
_CONTROLLER = re.compile(rf"pci-({parse.PCI_ADDRESS.pattern})")
_USB_PORT = re.compile(r"-usb-0:([0-9.]+):")


def write_tree(root: str, machine: Machine) -> None:
    """Write the machine's files below the directory ``root``: ``facts.read(root)`` then gives the machine again.

    Except for ``kvm``, which no file tells.
    """
    recording = layout(machine)
    for directory in recording.directories:
        os.makedirs(root + directory, exist_ok=True)
    for path, content in recording.files.items():
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        with open(root + path, "wb") as file:
            file.write(content)
    for path, target in recording.links.items():
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        os.symlink(target, root + path)


def tree(recording: Recording) -> Tree:
    """The files as facts read them, without writing them anywhere."""
    members: dict[str, tuple[str, bytes]] = dict.fromkeys(recording.directories, ("directory", b""))
    members.update({path: ("file", content) for path, content in recording.files.items()})
    members.update({path: ("link", os.fsencode(target)) for path, target in recording.links.items()})
    return Tree(archive.TarStore(members))


def layout(machine: Machine) -> Recording:
    """The machine's files, in memory."""
    writer = _Writer()
    _cpu(writer, machine)
    _memory(writer, machine)
    for pci in machine.pci:
        directory = f"{_PCI_ROOT}/{pci.address}"
        writer.put(directory, {"class": f"0x{pci.class_id}", "vendor": f"0x{pci.vendor_id}"})
        writer.put(directory, {"device": f"0x{pci.device_id}", "numa_node": -1 if pci.node is None else pci.node})
        writer.link(f"/sys/bus/pci/devices/{pci.address}", directory)
        if pci.driver:
            writer.link(f"{directory}/driver", f"/sys/bus/pci/drivers/{pci.driver}")
    for index, disk in enumerate(machine.disks):
        _disk(writer, index, disk)
    for index, drive in enumerate(machine.optical):
        _optical(writer, index, drive)
    for index, nic in enumerate(machine.nics):
        _nic(writer, index, nic)
    _others(writer, machine)
    return Recording(writer.files, writer.links, tuple(writer.directories))


class _Writer:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.links: dict[str, str] = {}
        self.directories: list[str] = []
        self.mounts: list[str] = []

    def put(self, directory: str, values: Mapping[str, object]) -> None:
        """Files by name; None and "" leave the file out."""
        for name, value in values.items():
            if value is not None and value != "":
                self.files[f"{directory}/{name}"] = f"{int(value) if isinstance(value, bool) else value}\n".encode()

    def link(self, path: str, target: str) -> None:
        self.links[path] = os.path.relpath(target, os.path.dirname(path))

    def udev(self, name: str, properties: dict[str, object]) -> None:
        lines = [f"E:{key}={value}\n" for key, value in properties.items() if value is not None and value != ""]
        self.files[f"/run/udev/data/{name}"] = "".join(["I:1\n", *lines, "G:systemd\n"]).encode()


def _list(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))


def _cpu(writer: _Writer, machine: Machine) -> None:
    cpu = machine.cpu
    root = "/sys/devices/system/cpu"
    writer.put(root, {"present": _list(t.id for t in cpu.threads), "online": _list(t.id for t in cpu.online)})
    blocks = []
    for thread in cpu.threads:
        directory = f"{root}/cpu{thread.id}"
        writer.directories.append(directory)
        values = {"physical_package_id": thread.package, "die_id": thread.die, "core_cpus_list": _list(thread.core)}
        writer.put(f"{directory}/topology", values)
        if thread.online:
            flags = f"fpu {cpu.virtualization}".strip()
            blocks.append(
                f"processor\t: {thread.id}\nvendor_id\t: {cpu.vendor}\nmodel name\t: {cpu.model}\nflags\t\t: {flags}\n"
            )
    writer.files["/proc/cpuinfo"] = "\n".join(blocks).encode()
    for kind, pmu in (("performance", "cpu_core"), ("efficiency", "cpu_atom")):
        writer.put(f"/sys/devices/{pmu}", {"cpus": _list(t.id for t in cpu.threads if t.core_type == kind)})


def _memory(writer: _Writer, machine: Machine) -> None:
    if machine.memory.total_kib is not None:
        writer.put("/proc", {"meminfo": f"MemTotal:       {machine.memory.total_kib} kB"})
    for pool in machine.memory.hugepages:
        directory = f"/sys/kernel/mm/hugepages/hugepages-{pool.size_kib}kB"
        writer.put(directory, {"nr_hugepages": pool.total, "free_hugepages": pool.free})
        writer.directories.append(directory)
    for node in machine.nodes:
        directory = f"/sys/devices/system/node/node{node.id}"
        memory = None if node.memory_kib is None else f"Node {node.id} MemTotal:       {node.memory_kib} kB"
        distances = " ".join(map(str, node.distances))
        writer.put(directory, {"cpulist": _list(node.cpus), "meminfo": memory, "distance": distances})
        writer.directories.append(directory)


def _controller(by_path: str) -> str:
    match = _CONTROLLER.match(by_path)
    return match[1] if match else "0000:00:1f.2"


def _block_directory(disk: Disk | Optical, index: int) -> tuple[str, str]:
    """Where sysfs has the device, and the directory of the block device in it."""
    address = f"{_PCI_ROOT}/{_controller(disk.by_path)}"
    if disk.transport == "nvme":
        device = f"{address}/nvme/{disk.name.rpartition('n')[0]}"
        return device, f"{device}/{disk.name}"
    if disk.transport == "virtio":
        return f"{address}/virtio{index}", f"{address}/virtio{index}/block/{disk.name}"
    way = {
        "sata": f"ata{index + 1}/host{index}/target{index}:0:0/{index}:0:0:0",
        "sas": f"host0/port-0:{index}/end_device-0:{index}/target0:0:{index}/0:0:{index}:0",
        "usb": f"{_usb_way(disk.by_path, index)}/host{index}/target{index}:0:0/{index}:0:0:0",
    }.get(disk.transport, f"host0/target0:0:{index}/0:0:{index}:0")
    return f"{address}/{way}", f"{address}/{way}/block/{disk.name}"


def _usb_way(by_path: str, index: int) -> str:
    """From the controller to the interface that a disk is behind."""
    match = _USB_PORT.search(by_path)
    ports = match[1] if match else str(index)
    return f"usb1/{_hubs('1', ports)}/1-{ports}:1.0"


def _hubs(bus: str, ports: str) -> str:
    """``1-1/1-1.4`` for port 1.4: every hub is a directory."""
    parts = ports.split(".")
    return "/".join(f"{bus}-{'.'.join(parts[: depth + 1])}" for depth in range(len(parts)))


def _disk(writer: _Writer, index: int, disk: Disk) -> None:
    device, directory = _block_directory(disk, index)
    major = 8 + index // 16
    minor = index % 16 * 16
    writer.link(f"/sys/block/{disk.name}", directory)
    writer.link(f"/sys/class/block/{disk.name}", directory)
    writer.link(f"/sys/dev/block/{major}:{minor}", directory)
    writer.link(f"{directory}/device", device)
    writer.put(device, {"model": disk.model, "vendor": disk.vendor})
    values = {"dev": f"{major}:{minor}", "size": disk.size_bytes // 512, "removable": disk.removable}
    writer.put(directory, {**values, "ro": disk.read_only})
    queue = {
        "logical_block_size": disk.logical_block_bytes,
        "physical_block_size": disk.physical_block_bytes,
        "rotational": disk.rotational,
        "discard_max_bytes": 1 << 30 if disk.discard else 0,
    }
    writer.put(f"{directory}/queue", queue)
    for number, partition in enumerate(disk.partitions, 1):
        inner = f"{directory}/{partition.name}"
        sizes = {"dev": f"{major}:{minor + number}", "size": partition.size_bytes // 512, "partition": number}
        writer.put(inner, sizes)
        writer.link(f"/sys/class/block/{partition.name}", inner)
        writer.link(f"/sys/dev/block/{major}:{minor + number}", inner)
        writer.directories += [f"{inner}/holders/{holder}" for holder in partition.holders]
    writer.directories += [f"{directory}/holders/{holder}" for holder in disk.holders]
    properties = {"ID_SERIAL_SHORT": disk.serial, "ID_WWN": disk.wwn, "ID_PATH": disk.by_path}
    writer.udev(f"b{major}:{minor}", {**properties, "ID_ATA_ROTATION_RATE_RPM": disk.rotation_rpm})
    if disk.hal_device:
        number = minor + (1 if disk.partitions else 0)
        writer.mounts.append(f"29 1 {major}:{number} / / rw shared:1 - ext4 /dev/{disk.name} rw\n")


def _optical(writer: _Writer, index: int, drive: Optical) -> None:
    device, directory = _block_directory(drive, 64 + index)
    writer.link(f"/sys/block/{drive.name}", directory)
    writer.link(f"{directory}/device", device)
    writer.put(device, {"model": drive.model, "vendor": drive.vendor})
    writer.put(directory, {"dev": f"11:{index}", "size": 2097151})
    writer.udev(f"b11:{index}", {"ID_SERIAL_SHORT": drive.serial, "ID_PATH": drive.by_path})


def _nic(writer: _Writer, index: int, nic: Nic) -> None:
    device = f"{_PCI_ROOT}/{nic.bus_path}"
    if nic.bus == "usb":
        device = f"{_PCI_ROOT}/0000:f0:00.0/usb1/{nic.bus_path.partition(':')[0]}/{nic.bus_path}"
    elif nic.bus == "virtio":
        device += f"/virtio{100 + index}"
    directory = f"{device}/net/{nic.name}"
    writer.link(f"/sys/class/net/{nic.name}", directory)
    writer.link(f"{directory}/device", device)
    if nic.bus:
        writer.link(f"{device}/subsystem", f"/sys/bus/{nic.bus}")
    if nic.driver:
        writer.link(f"{device}/driver", f"/sys/bus/{nic.bus}/drivers/{nic.driver}")
    values = {"type": 1, "ifindex": index + 2, "address": nic.mac, "addr_assign_type": 0, "mtu": nic.mtu}
    writer.put(directory, {**values, "speed": nic.speed_mbps, "carrier": nic.carrier})
    if nic.node is not None:
        writer.put(f"{_PCI_ROOT}/{nic.bus_path}", {"numa_node": nic.node})
    for above, kind in ((nic.master, "bond"), *((vlan, "vlan") for vlan in nic.vlans)):
        if above:
            virtual = f"/sys/devices/virtual/net/{above}"
            writer.put(virtual, {"type": 1, "uevent": f"DEVTYPE={kind}\nINTERFACE={above}"})
            writer.links[f"/sys/class/net/{above}"] = f"../../devices/virtual/net/{above}"
            writer.link(f"{directory}/upper_{above}", virtual)
    if nic.master:
        writer.link(f"{directory}/master", f"/sys/devices/virtual/net/{nic.master}")


def _usb(writer: _Writer, device: UsbDevice) -> None:
    directory = f"/sys/bus/usb/devices/{device.port}"
    if device.path:
        controller, kind, ports = device.path.split("/")
        bus = device.port.partition("-")[0]
        root_hub = f"{_PCI_ROOT}/{controller}/usb{bus}"
        directory = f"{root_hub}/{_hubs(bus, ports)}"
        writer.put(root_hub, {"version": f" {kind[len('usb') :]}.00"})
        writer.link(f"/sys/bus/usb/devices/{device.port}", directory)
    names = {"idVendor": device.vendor_id, "idProduct": device.product_id, "manufacturer": device.manufacturer}
    more = {"product": device.product, "serial": device.serial, "speed": device.speed_mbps}
    numbers = {"busnum": device.bus, "devnum": device.number, "bConfigurationValue": 1 if device.configured else None}
    writer.put(directory, {**names, **more, **numbers, "bDeviceClass": "09" if device.hub else "00"})
    for interface in device.interfaces:
        name = f"{device.port}:1.{interface.number}"
        inner = f"{directory}/{name}"
        writer.link(f"/sys/bus/usb/devices/{name}", inner)
        classes = {"bInterfaceClass": interface.class_id, "bInterfaceSubClass": interface.subclass}
        more = {"bInterfaceNumber": f"{interface.number:02x}", "bInterfaceProtocol": interface.protocol}
        writer.put(inner, {**classes, **more})
        if interface.driver:
            writer.link(f"{inner}/driver", f"/sys/bus/usb/drivers/{interface.driver}")
        for tty in interface.ttys:
            writer.directories.append(f"{inner}/{tty}" if tty.startswith("ttyUSB") else f"{inner}/tty/{tty}")
        if interface.driver == "usbhid" and device.token is not None:
            ids = f"{device.vendor_id}:{device.product_id}".upper()
            descriptor = f"{inner}/0003:{ids}.{interface.number + 1:04X}/report_descriptor"
            writer.files[descriptor] = _report_descriptor(device, interface)


def _report_descriptor(device: UsbDevice, interface: UsbInterface) -> bytes:
    if interface.subclass != "01":
        return hid.FIDO if device.token else hid.MOUSE
    return hid.KEYBOARD if interface.protocol == "01" else hid.MOUSE


def _others(writer: _Writer, machine: Machine) -> None:
    writer.files["/proc/self/mountinfo"] = "".join(writer.mounts).encode()
    types = {name: number for number, name in UARTS.items()}
    for port in machine.serial:
        values = {"type": types[port.uart], "port": f"0x{port.port:X}", "irq": port.irq}
        writer.put(f"/sys/class/tty/{port.name}", values)
    writer.put("/sys/class/tty/ttyS31", {"type": 0, "port": "0x0", "irq": 0})
    consoles = [f"{port.name}                -W- (EC  p a)    4:64\n" for port in machine.serial if port.console]
    writer.files["/proc/consoles"] = "".join(consoles).encode()
    for device in machine.usb:
        _usb(writer, device)
    lent = [one for one in machine.usb if one.token and "usbhid" not in {each.driver for each in one.interfaces}]
    if lent:
        writer.files[tokens.RECORDED] = tokens.text(map(tokens.of, lent)).encode()
    writer.put("/sys/class/dmi/id", dataclasses.asdict(machine.dmi))
    if machine.firmware:
        writer.directories.append("/sys/firmware/efi" if machine.firmware == "uefi" else "/sys/firmware/acpi")
    if machine.unreadable:
        writer.put("/hal", {"unreadable": "\n".join(machine.unreadable)})
