"""A guest plan for people: what this server has, what the product will see, and why it does not see the rest."""

from __future__ import annotations

from collections.abc import Iterator

from hal_core import table
from hal_core.machine import Disk, Machine
from hal_vmm.plan.guestplan import GuestPlan
from hal_vmm.qemu.flavour import Flavour

Row = tuple[str, str, str]

_SAME = " "  # the row belongs to the one above


def render(machine: Machine, plan: GuestPlan, flavour: Flavour) -> str:
    """The whole answer of ``hal-vmm plan``."""
    held = {item.what: item.reason for item in plan.held_back}
    rows = [
        *_processor(machine, plan),
        *_memory(machine, plan),
        *_identity(machine, plan),
        *_disks(machine, plan, held),
        *_optical(machine, plan, held),
        *_nics(machine, plan, held),
        *_serial(machine, plan, held),
        *_others(machine, plan),
    ]
    parts = [
        table.render(("", "this server has", "the product will see"), rows),
        f"era {plan.era}, machine type {plan.machine}, {flavour.name}, "
        + (plan.accel.upper() if not plan.accel_reason else f"{plan.accel.upper()} ({plan.accel_reason})"),
    ]
    if plan.held_back:
        parts.append("held back:\n" + "\n".join(f"  {item}" for item in plan.held_back))
    if plan.notes:
        parts.append("notes:\n" + "\n".join(f"  {note}" for note in plan.notes))
    return "\n\n".join(parts) + "\n"


def _processor(machine: Machine, plan: GuestPlan) -> Iterator[Row]:
    cores = machine.cpu.cores
    packages = len({core.package for core in cores})
    topology = plan.cpu.topology
    shape = f"{_count(topology.sockets, 'socket')} × {_count(topology.dies * topology.cores, 'core')}"
    yield (
        "processor",
        f"{_count(packages, 'package')}, {_count(len(cores), 'core')}, {len(machine.cpu.online)} threads online",
        f"{_count(len(plan.cpu.pinning), 'vCPU')} ({shape}), each on a core of its own",
    )
    reason = f" ({plan.cpu.model_reason})" if plan.cpu.model_reason else ""
    yield _SAME, machine.cpu.model, f"CPU model {plan.cpu.model}{reason}"
    if len(machine.nodes) > 1:
        yield _SAME, _count(len(machine.nodes), "NUMA node"), _count(max(1, len(plan.cpu.nodes)), "NUMA node")


def _memory(machine: Machine, plan: GuestPlan) -> Iterator[Row]:
    memory = plan.memory
    extra = f", huge pages of {memory.hugepages}" if memory.hugepages != "none" else ""
    extra += ", merged (KSM)" if memory.ksm else ""
    yield (
        "memory",
        _mib(memory.total_mib),
        _mib(memory.guest_mib) + extra + (f"; {_mib(memory.host_mib)} for the host" if memory.host_mib else ""),
    )


def _identity(machine: Machine, plan: GuestPlan) -> Iterator[Row]:
    dmi = machine.dmi
    name = " ".join(part for part in (dmi.sys_vendor, dmi.product_name) if part)
    system = plan.smbios.tables.get(1, {})
    seen = " ".join(part for part in (system.get("manufacturer", ""), system.get("product", "")) if part)
    serial = f", serial {system['serial']}" if "serial" in system else ""
    yield "identity", name + (f", serial {dmi.product_serial}" if dmi.product_serial else ""), seen + serial
    if plan.smbios.uuid:
        yield _SAME, f"UUID {dmi.product_uuid}", f"UUID {plan.smbios.uuid}"


def _disks(machine: Machine, plan: GuestPlan, held: dict[str, str]) -> Iterator[Row]:
    planned = {disk.host: disk for disk in plan.disks}
    for disk in machine.disks:
        given = planned.get(disk.path)
        if given is None:
            yield "disk", _disk(disk), _not_given(disk.path, held)
            continue
        # The serial number is the same: it is in the left column.
        looks = " ".join(part for part in (given.vendor, given.model) if part)
        yield "disk", _disk(disk), f"{given.bus} disk {given.slot}: {looks}".rstrip(": ")
    real = {disk.path for disk in machine.disks}
    for given in plan.disks:
        if given.host not in real:
            yield "image file", given.host, f"{given.bus} disk {given.slot}"


def _disk(disk: Disk) -> str:
    looks = " ".join(part for part in (disk.vendor, disk.model) if part)
    return f"{disk.path} {disk.size_bytes / 1e9:.0f} GB {looks}" + (f", serial {disk.serial}" if disk.serial else "")


def _optical(machine: Machine, plan: GuestPlan, held: dict[str, str]) -> Iterator[Row]:
    planned = {drive.host: drive for drive in plan.optical}
    for drive in machine.optical:
        looks = " ".join(part for part in (drive.vendor, drive.model) if part)
        given = planned.get(drive.path)
        if given is None:
            seen = _not_given(drive.path, held)
        else:
            seen = f"DVD drive {given.slot}" + ("" if given.driver else ", media inserted as they come")
        yield "DVD", f"{drive.path} {looks}", seen


def _nics(machine: Machine, plan: GuestPlan, held: dict[str, str]) -> Iterator[Row]:
    planned = {nic.host: nic for nic in plan.nics}
    for nic in machine.nics:
        given = planned.get(nic.name)
        if given is None:
            seen = _not_given(nic.name, held)
        else:
            seen = f"{given.model} {given.slot}: {given.mac} on {given.tap or 'no network'}"
        yield "NIC", f"{nic.name} {nic.mac} {nic.driver}".rstrip(), seen
    if plan.host_link:
        yield "host link", "", f"{plan.host_link.model}: {plan.host_link.mac} on {plan.host_link.tap}"


def _serial(machine: Machine, plan: GuestPlan, held: dict[str, str]) -> Iterator[Row]:
    planned = {port.host: port for port in plan.serial}
    for port in machine.serial:
        given = planned.get(port.path)
        seen = f"COM{given.index + 1}" if given else _not_given(port.path, held)
        yield "serial port", f"{port.path} {port.uart}".rstrip(), seen
    for given in plan.serial:
        if not given.present:
            yield "serial port", "", f"COM{given.index + 1} (for {given.host})"
    for channel in plan.channels:
        where = f"COM{channel.serial_index + 1}" if channel.serial_index >= 0 else "virtio serial port"
        yield "channel", "", f"{channel.name} on {where}"


def _others(machine: Machine, plan: GuestPlan) -> Iterator[Row]:
    devices = [device for device in machine.usb if not device.hub]
    yield "USB", f"{_count(len(devices), 'device')} plugged in", _usb_ports(plan)
    extras = [plan.watchdog, "virtio-rng" if plan.rng else "", "pvpanic" if plan.pvpanic else ""]
    yield "platform", "", ", ".join(extra for extra in extras if extra)


def _not_given(what: str, held: dict[str, str]) -> str:
    return f"nothing: {held.get(what, 'held back')}"


def _usb_ports(plan: GuestPlan) -> str:
    ports = sum(controller.ports for controller in plan.usb)
    return f"{ports} ports on {_count(len(plan.usb), 'controller')}, {plan.profile.usb[0]}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _mib(value: int | None) -> str:
    return "unknown" if value is None else f"{value} MiB"
