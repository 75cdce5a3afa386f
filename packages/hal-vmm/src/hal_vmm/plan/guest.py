"""What the product ought to see: pure, from facts, configuration, what this QEMU can do, and what was pinned before.

Composed of one small plan for each kind of hardware; see those modules for the rules.
"""

from __future__ import annotations

from typing import Optional

from hal_core.errors import ConfigError, HostError
from hal_core.machine import Machine
from hal_vmm.config import VmmConfig
from hal_vmm.era import ERAS, Era
from hal_vmm.plan import (
    cpumodel,
    cpuplan,
    deviceplan,
    diskplan,
    handover,
    memoryplan,
    nicplan,
    numaplan,
    smbios,
    usbplan,
)
from hal_vmm.plan.guestplan import BootFrom, CpuPlan, GuestPlan
from hal_vmm.plan.pinned import REPIN, Pinned
from hal_vmm.qemu.flavour import Flavour, Kvm, MachineType

_NOTHING_KNOWN = Pinned("", "", "", {})
_FIRMWARE_NOTE = ("this server starts by UEFI; the product sees a PC BIOS and boots in that way",)


def plan(
    machine: Machine,
    config: VmmConfig,
    flavour: Flavour,
    pinned: Optional[Pinned] = None,
    kvm: Optional[Kvm] = None,
) -> GuestPlan:
    """The product's hardware.

    :param pinned: what it had before; None the first time.
    :param kvm: what was found out about KVM; None: not tried, the facts decide.
    :raise ConfigError: hal.toml contradicts itself, this server or the pinned hardware.
    :raise HostError: this server or this QEMU cannot do it; says what is missing.
    """
    era = ERAS[config.era]
    _check_era(config, pinned)
    machine_type = _machine_type(era, flavour, pinned)
    _check_devices(era, config, flavour)
    accel, accel_reason, notes = _accelerator(machine, config, flavour, kvm)
    cpu, placement = _cpu(machine, config, era, flavour, machine_type, accel, pinned, kvm)
    memory = memoryplan.plan(machine, config.memory, len(cpu.pinning), cpu.nodes)
    first_time = pinned is None
    known = (pinned or _NOTHING_KNOWN).of
    before = known("disk"), known("optical")
    disks = diskplan.plan(machine.disks, machine.optical, config.devices, era, flavour, before, first_time)
    nics = nicplan.plan(machine.nics, config.devices, era, known("nic"), first_time)
    devices = deviceplan.plan(machine.serial, config, era, flavour)
    identity = smbios.plan(machine.dmi, machine.unreadable)
    notes += placement.notes + memory.notes + disks.notes + nics.notes + devices.notes + identity.notes
    notes += _FIRMWARE_NOTE if machine.firmware == "uefi" else ()
    # A model that only emulation has is no decision about the product: the next start under KVM makes it.
    model = pinned.cpu_model if pinned and accel == "tcg" else cpu.model
    slots = {"disk": disks.entries, "optical": disks.optical_entries, "nic": nics.entries}
    usb = era.usb_count if pinned is None else pinned.usb
    keep = Pinned(era.name, machine_type.name, model, slots, _types_in_use(era, config, devices), usb)
    return GuestPlan(
        era=era.name,
        machine=machine_type.name,
        accel=accel,
        accel_reason=accel_reason,
        cpu=cpu,
        memory=memory,
        disks=disks.disks,
        optical=disks.optical,
        nics=nics.nics,
        host_link=nics.host_link,
        handover=handover.plan(flavour, cpu.x2apic),
        serial=devices.serial,
        channels=devices.channels,
        usb=usbplan.plan(era, keep.usb),
        watchdog=devices.watchdog,
        rng=devices.rng,
        pvpanic=devices.pvpanic,
        smbios=identity,
        boot=BootFrom(config.boot.kernel, config.boot.initrd, config.boot.append),
        user=config.user,
        held_back=placement.held + disks.held + nics.held + devices.held,
        notes=notes,
        pinned=keep,
    )


def _check_era(config: VmmConfig, pinned: Optional[Pinned]) -> None:
    if pinned and pinned.era != config.era:
        raise ConfigError(
            f'vmm.era = "{config.era}": the product has had the hardware of the era "{pinned.era}" so far', REPIN
        )
    if (config.boot.initrd or config.boot.append) and not config.boot.kernel:
        raise ConfigError("vmm.boot: initrd and append need a kernel", "set vmm.boot.kernel")


def _machine_type(era: Era, flavour: Flavour, pinned: Optional[Pinned]) -> MachineType:
    if pinned is None:
        return flavour.newest_machine(era.family)
    found = flavour.machine(pinned.machine)
    if found is None:
        has = ", ".join(machine.name for machine in flavour.machines if machine.family == era.family) or "none"
        raise HostError(
            f"{flavour.name} has no machine type {pinned.machine}, which the product has had so far; "
            f"of its family it has {has}",
            f"go back to the QEMU of before, or {REPIN}",
        )
    return found


def _check_devices(era: Era, config: VmmConfig, flavour: Flavour) -> None:
    needed = [*era.device_types(), *((config.devices.ide_nic,) if era.family == "pc" else ())]
    missing = [device for device in needed if not flavour.has(device)]
    if missing:
        raise HostError(
            f"{flavour.name} ({flavour.binary}) has no {', '.join(missing)}, which the era {era.name} needs",
            "install the QEMU package that has it, or choose another era",
        )


def _accelerator(
    machine: Machine, config: VmmConfig, flavour: Flavour, kvm: Optional[Kvm]
) -> tuple[str, str, tuple[str, ...]]:
    """The accelerator, why it is emulation, and what there is to know."""
    if config.accel == "tcg":
        return "tcg", 'vmm.accel = "tcg"', ()
    reason = ""
    if "kvm" not in flavour.accelerators:
        reason = f"{flavour.name} is built without KVM"
    elif machine.kvm is False:
        reason = "no /dev/kvm on this server"
    elif kvm is not None and not kvm.works:
        reason = kvm.reason
    if not reason:
        return "kvm", "", ()
    if config.accel == "auto":
        return "tcg", f"emulation: {reason}", ()
    return "kvm", "", (f"KVM does not work here: {reason}",)


def _cpu(
    machine: Machine,
    config: VmmConfig,
    era: Era,
    flavour: Flavour,
    machine_type: MachineType,
    accel: str,
    pinned: Optional[Pinned],
    kvm: Optional[Kvm],
) -> tuple[CpuPlan, cpuplan.Placement]:
    x2apic = era.family == "q35" and not era.named_cpu and accel == "kvm" and flavour.has("intel-iommu")
    placement = cpuplan.place(
        machine.cpu,
        config.cpu.keep,
        most=machine_type.max_cpus,
        x2apic=x2apic,
        # Old kernels do not know dies and take them for sockets of their own.
        dies=not era.named_cpu,
    )
    choice = cpumodel.choose(machine.cpu, config.cpu.model, era, accel, flavour)
    model, reason = choice.model, choice.reason
    if accel == "kvm" and config.cpu.model == "auto":
        if pinned and pinned.cpu_model not in (model, "max") and flavour.cpu_model(pinned.cpu_model.partition(",")[0]):
            model, reason = pinned.cpu_model, "pinned: the product has had it so far"
        if kvm and kvm.works and kvm.model and kvm.model != model:
            model, reason = kvm.model, f"{model} does not start on this server: {kvm.reason}"
    cpu = CpuPlan(
        model=model,
        model_reason=reason,
        topology=placement.topology,
        pinning=placement.pinning,
        emulator=placement.emulator,
        nodes=numaplan.plan(machine, placement.cores, placement.topology),
        x2apic=placement.needs_x2apic,
    )
    return cpu, placement


def _types_in_use(era: Era, config: VmmConfig, devices: deviceplan.Devices) -> tuple[str, ...]:
    types = {device for device in era.device_types() if device != era.nic_model} | {nicplan.model(config.devices, era)}
    if devices.watchdog:
        types.add(devices.watchdog)
    if devices.rng:
        types.add("virtio-rng-pci")
    if devices.pvpanic:
        types.add("pvpanic")
    return tuple(sorted(types))
