"""A machine as text for people: one section per subject, at most about 100 columns wide. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hal_core import table
from hal_core.machine import Disk, Machine, Nic

_INDENT = "  "
_SHOWN_UNREADABLE = 12

# Base classes of the PCI Code and ID Assignment Specification, 1.1.
_PCI_CLASSES = {
    "00": "unclassified", "01": "storage", "02": "network", "03": "display", "04": "multimedia", "05": "memory",
    "06": "bridge", "07": "communication", "08": "system", "09": "input", "0a": "docking station", "0b": "processor",
    "0c": "serial bus", "0d": "wireless", "0e": "intelligent I/O", "0f": "satellite", "10": "encryption",
    "11": "signal processing", "12": "accelerator", "13": "instrumentation", "40": "co-processor",
}  # fmt: skip


def render(machine: Machine) -> str:
    """The report, without a trailing newline. What is unprintable in a stranger's recording is shown as ``?``."""
    sections = (
        ("CPU", _cpu(machine)),
        ("Memory", _memory(machine)),
        ("Disks", _disks(machine)),
        ("Optical drives", _optical(machine)),
        ("Network ports", _nics(machine)),
        ("Serial ports", _serial(machine)),
        ("USB", _usb(machine)),
        ("PCI", _pci(machine)),
        ("System", _system(machine)),
        ("Could not be read", _unreadable(machine)),
    )
    text = "\n\n".join(f"{title}\n{body}" for title, body in sections if body)
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def totals(machine: Machine) -> dict[str, int | None]:
    """The numbers that one wants first."""
    online = machine.cpu.online
    return {
        "packages": len({thread.package for thread in online}),
        "cores": len(machine.cpu.cores),
        "threads": len(machine.cpu.threads),
        "threads_online": len(online),
        "nodes": len(machine.nodes),
        "memory_mib": None if machine.memory.total_kib is None else machine.memory.total_kib // 1024,
        "disks": len(machine.disks),
        "disk_bytes": sum(disk.size_bytes for disk in machine.disks),
        "optical": len(machine.optical),
        "nics": len(machine.nics),
        "serial": len(machine.serial),
    }


def ranges(numbers: Iterable[int]) -> str:
    """``0-3,8`` for (0, 1, 2, 3, 8): the kernel's own notation, the other way round."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def size(count: int) -> str:
    """Bytes as people buy them: ``300 GB`` is 300·10⁹."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if count >= factor:
            return f"{count / factor:.4g} {unit}"
    return f"{count} B"


def _lines(*lines: str) -> str:
    return "\n".join(_INDENT + line for line in lines if line)


def _cpu(machine: Machine) -> str:
    cpu, total = machine.cpu, totals(machine)
    offline = [thread.id for thread in cpu.threads if not thread.online]
    kinds = Counter(thread.core_type for thread in cpu.cores if thread.core_type)
    return _lines(
        cpu.model or "model unknown",
        f"packages {total['packages']}, cores {total['cores']}, threads {total['threads_online']} online",
        f"threads offline: {ranges(offline)}" if offline else "",
        "core types: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) if kinds else "",
        f"virtualization: {cpu.virtualization or 'none'}" + _kvm(machine),
    )


def _kvm(machine: Machine) -> str:
    return "" if machine.kvm is None else ", /dev/kvm present" if machine.kvm else ", no /dev/kvm"


def _memory(machine: Machine) -> str:
    total = machine.memory.total_kib
    pools = [pool for pool in machine.memory.hugepages if pool.total]
    lines = [
        "size unknown" if total is None else f"{total // 1024} MiB",
        *(f"huge pages of {pool.size_kib} KiB: {pool.total}, {pool.free} free" for pool in pools),
    ]
    if len(machine.nodes) < 2:
        return _lines(*lines)
    rows = [
        (
            node.id,
            ranges(node.cpus),
            None if node.memory_kib is None else node.memory_kib // 1024,
            " ".join(map(str, node.distances)),
        )
        for node in machine.nodes
    ]
    return _lines(*lines) + "\n" + table.render(("NODE", "CPUS", "MIB", "DISTANCES"), rows, _INDENT)


def _disks(machine: Machine) -> str:
    if not machine.disks:
        return _lines("none")
    rows = [
        (
            disk.name,
            size(disk.size_bytes),
            " ".join((disk.vendor, disk.model)).strip(),
            disk.serial,
            disk.transport,
            _blocks(disk),
            "hdd" if disk.rotational else "ssd",
            len(disk.partitions),
            _traits(disk),
        )
        for disk in machine.disks
    ]
    text = table.render(("DISK", "SIZE", "MODEL", "SERIAL", "BUS", "BLOCK", "KIND", "PARTS", ""), rows, _INDENT)
    places = [(disk.name, disk.wwn, disk.by_path) for disk in machine.disks if disk.wwn or disk.by_path]
    return text + ("\n\n" + table.render(("DISK", "WWN", "PATH"), places, _INDENT) if places else "")


def _blocks(disk: Disk) -> str:
    logical, physical = disk.logical_block_bytes, disk.physical_block_bytes
    return f"{logical}" if logical == physical else f"{logical}/{physical}"


def _traits(disk: Disk) -> str:
    users = sorted({*disk.holders, *(holder for part in disk.partitions for holder in part.holders)})
    traits = (
        "HAL's own" if disk.hal_device else "",
        "removable" if disk.removable else "",
        "read-only" if disk.read_only else "",
        f"under {' '.join(users)}" if users else "",
    )
    return ", ".join(trait for trait in traits if trait) or " "


def _optical(machine: Machine) -> str:
    rows = [
        (drive.name, " ".join((drive.vendor, drive.model)).strip(), drive.serial, drive.transport, drive.by_path)
        for drive in machine.optical
    ]
    return table.render(("DRIVE", "MODEL", "SERIAL", "BUS", "PATH"), rows, _INDENT) if rows else _lines("none")


def _nics(machine: Machine) -> str:
    rows = [
        (nic.name, nic.mac, nic.driver, nic.bus_path, _link(nic), nic.mtu, _membership(nic)) for nic in machine.nics
    ]
    return (
        table.render(("NIC", "PERMANENT MAC", "DRIVER", "BUS PATH", "LINK", "MTU", ""), rows, _INDENT)
        if rows
        else _lines("none")
    )


def _link(nic: Nic) -> str:
    if nic.carrier is None:
        return ""
    return (f"{nic.speed_mbps} Mbit/s" if nic.speed_mbps else "up") if nic.carrier else "down"


def _membership(nic: Nic) -> str:
    return ", ".join((*((f"in {nic.master}",) if nic.master else ()), *(f"under {vlan}" for vlan in nic.vlans))) or " "


def _serial(machine: Machine) -> str:
    rows = [
        (port.name, port.uart, hex(port.port) if port.port else "", port.irq, "console" if port.console else " ")
        for port in machine.serial
    ]
    return table.render(("PORT", "UART", "ADDRESS", "IRQ", ""), rows, _INDENT) if rows else _lines("none")


def _usb(machine: Machine) -> str:
    rows = [
        (
            device.port,
            f"{device.vendor_id}:{device.product_id}",
            " ".join((device.manufacturer, device.product)).strip(),
            device.serial,
            device.speed_mbps,
            "hub" if device.hub else "HAL's own" if device.hal_device else " ",
        )
        for device in machine.usb
    ]
    return table.render(("PORT", "ID", "PRODUCT", "SERIAL", "MBIT/S", ""), rows, _INDENT) if rows else ""


def _pci(machine: Machine) -> str:
    kinds = Counter(_PCI_CLASSES.get(device.class_id[:2], "other") for device in machine.pci)
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item)))
    return _lines(f"{len(machine.pci)} devices: {counted}") if kinds else ""


def _system(machine: Machine) -> str:
    dmi = machine.dmi
    lines = (
        ("vendor", dmi.sys_vendor),
        ("product", " ".join((dmi.product_name, dmi.product_version)).strip()),
        ("serial", dmi.product_serial),
        ("uuid", dmi.product_uuid),
        ("board", " ".join((dmi.board_vendor, dmi.board_name)).strip()),
        ("asset tag", dmi.chassis_asset_tag),
        ("firmware", {"uefi": "UEFI", "bios": "BIOS"}.get(machine.firmware, "")),
        ("firmware version", " ".join((dmi.bios_vendor, dmi.bios_version, dmi.bios_date)).strip()),
    )
    return _lines(*(f"{name + ':':18}{value}" for name, value in lines if value)) or _lines("unknown")


def _unreadable(machine: Machine) -> str:
    paths = machine.unreadable
    more = len(paths) - _SHOWN_UNREADABLE
    lines = [*paths[:_SHOWN_UNREADABLE], f"… and {more} more"] if more > 0 else list(paths)
    return _lines(*lines, "Only root may read these: run this as root.") if paths else ""
