"""From a guest plan to the command line of one QEMU, and to everything that has to be open for it.

QEMU opens no device itself: disks, drives, serial ports and KVM arrive as descriptors in fdsets, taps and sockets as
plain descriptors. Every device has a fixed id and a fixed place on its bus (:mod:`hal_vmm.plan.slots`), because the
product remembers both. Ids that begin with ``usb-`` or ``lan-`` belong to hal-udev and hal-netcfg.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Optional

from hal_core.errors import HostError
from hal_vmm.launch import buses
from hal_vmm.launch.launchplan import VERSION, LaunchPlan
from hal_vmm.launch.options import Options, keyval
from hal_vmm.plan import slots
from hal_vmm.plan.deviceplan import AGENT
from hal_vmm.plan.guestplan import GuestPlan
from hal_vmm.plan.smbios import Smbios
from hal_vmm.qemu.flavour import Flavour

#: One QMP socket each: a QMP socket serves one client at a time.
CONSUMERS = ("manager", "udev", "netcfg", "console", "collectd", "cli")

PROCESS_NAME = "hal-qemu"
_PORT_NAMES = {"agent": "org.qemu.guest_agent.0", "heartbeat": "hal.heartbeat.0"}

_SOUND = "sound"

# QEMU's named models have 40 bits of physical address, 1 TiB; what lies above the PCI hole has to fit in, too.
_NAMED_MODEL_MIB = 900 << 10


# What else a real NIC can get at, and so is locked: the graphics card's memory, firmware, tables. libvirt has the same.
_MORE_THAN_MEMORY_MIB = 1024


@dataclass(frozen=True)
class Site:
    """What is only known where QEMU will run."""

    run_dir: str  # "/run/hal"
    vhost: bool  # /dev/vhost-net is there
    kernel: str = ""  # readable copies of what the plan boots from; "" means the plan's own paths
    initrd: str = ""


def compile_plan(plan: GuestPlan, flavour: Flavour, site: Site) -> LaunchPlan:
    """Everything that the launcher has to know.

    :raise HostError: the plan has no memory size, since the recording that it was made from does not tell.
    """
    if plan.memory.guest_mib is None:
        raise HostError(
            "the memory of this machine is not known: there is no command line without it",
            "set vmm.memory.guest_mib in hal.toml",
        )
    options = Options()
    _process(options, flavour)
    _machine(options, plan, flavour)
    _cpu_and_memory(options, plan, plan.memory.guest_mib)
    _identity(options, plan.smbios)
    _boot(options, plan, site)
    _control(options, plan, site)
    buses.fixed_devices(options, plan, site.run_dir)
    buses.disks(options, plan, flavour)
    buses.optical(options, plan)
    buses.nics(options, plan, site.vhost)
    groups = ("kvm",) if plan.accel == "kvm" and not flavour.kvm_by_fd else ()
    return LaunchPlan(
        version=VERSION,
        qemu=flavour.binary,
        argv=(flavour.binary, *options.words),
        user=plan.user,
        groups=groups,
        nodes=tuple(options.nodes),
        taps=tuple(options.taps),
        listeners=tuple(options.listeners),
        journal=journal(site.run_dir),
        emulator_cpus=plan.cpu.emulator,
        pinning=plan.cpu.pinning,
        memlock=None,
        directs=tuple(options.directs),
        direct_memlock=(plan.memory.guest_mib + _MORE_THAN_MEMORY_MIB) << 20,
    )


def journal(run_dir: str) -> str:
    """Base name of the event journal: :mod:`hal_vmm.manager.eventjournal`."""
    return os.path.join(run_dir, "events", "qmp")


def _process(options: Options, flavour: Flavour) -> None:
    options.add("-name", keyval("hal", process=PROCESS_NAME, debug__threads=True))
    options.add("-nodefaults")
    options.add("-no-user-config")
    # Started stopped: the guest manager pins the vCPUs first, then says cont.
    options.add("-S")
    options.add("-msg", "timestamp=on")
    # The guest manager decides by reason: nothing may end, or start again, by itself.
    options.add("-action", "reboot=shutdown,shutdown=pause,panic=pause,watchdog=pause")
    if flavour.sandbox:
        options.add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")


def _machine(options: Options, plan: GuestPlan, flavour: Flavour) -> None:
    q35 = plan.profile.family == "q35"
    old = plan.profile.named_cpu
    options.add(
        "-machine",
        keyval(
            plan.machine,
            usb=False,
            vmport=False,
            hpet=False,
            pcspk__audiodev=_SOUND if _beeps(flavour) else None,
            dump__guest__core=False,
            kernel__irqchip="split" if plan.cpu.x2apic else None,
            # Old kernels look for the 32-bit SMBIOS entry point only; q35 since 8.1 would give the 64-bit one.
            smbios__entry__point__type=32 if q35 and old else None,
            memory__backend=None if plan.cpu.nodes else "ram",
        ),
    )
    if plan.accel == "kvm" and flavour.kvm_by_fd:
        path = options.node_path("/dev/kvm", "char", "rw", "KVM")
        options.add("-accel", keyval("kvm", device=path))
    else:
        options.add("-accel", plan.accel)
    if plan.accel == "kvm" and old:
        options.add("-global", "kvm-pit.lost_tick_policy=delay")
    # A product that suspends itself would look hung.
    power = "ICH9-LPC" if q35 else "PIIX4_PM"
    options.add("-global", f"{power}.disable_s3=1")
    options.add("-global", f"{power}.disable_s4=1")
    options.add("-rtc", "base=utc,clock=host,driftfix=slew")
    options.add("-display", "none")
    # A VNC server that listens nowhere: hal-console hands it a connection (QMP add_client). It is told which screen is
    # meant, or it would take Ctrl+Alt+1 to 9 for itself; and it hears the PC speaker, for the product's beep.
    if _beeps(flavour):
        options.add("-audiodev", keyval("none", id=_SOUND))
    options.add("-vnc", keyval("none", display="vga", audiodev=_SOUND if _beeps(flavour) else None))


def _beeps(flavour: Flavour) -> bool:
    """Whether this QEMU was built with the PC speaker."""
    return flavour.has("isa-pcspk")


def _cpu_and_memory(options: Options, plan: GuestPlan, guest_mib: int) -> None:
    topology, named = plan.cpu.topology, plan.cpu.model.partition(",")[0] not in ("host", "max")
    large = plan.accel == "kvm" and named and guest_mib > _NAMED_MODEL_MIB
    options.add("-cpu", plan.cpu.model + (",host-phys-bits=on" if large else ""))
    options.add(
        "-smp",
        keyval(
            str(len(plan.cpu.pinning)),
            sockets=topology.sockets,
            dies=topology.dies if topology.dies > 1 else None,
            cores=topology.cores,
            threads=1,
            maxcpus=topology.possible,
        ),
    )
    options.add("-m", f"{guest_mib}M")
    numa = bool(plan.cpu.nodes)
    for index, memory in enumerate(plan.memory.nodes):
        options.add("-object", _backend(plan, f"ram-node{index}" if numa else "ram", memory.mib, memory.host_node))
    if numa:
        _numa(options, plan)


def _backend(plan: GuestPlan, id_: str, mib: int, host_node: Optional[int]) -> str:
    huge = plan.memory.hugepages != "none"
    return keyval(
        "memory-backend-memfd" if huge else "memory-backend-ram",
        id=id_,
        size=f"{mib}M",
        merge=plan.memory.ksm,
        hugetlb=True if huge else None,
        hugetlbsize=plan.memory.hugepages if huge else None,
        # A huge page that turns out to be missing while the product runs would kill it.
        prealloc=True if huge else None,
        host__nodes=host_node,
        policy=None if host_node is None else "bind",
    )


def _numa(options: Options, plan: GuestPlan) -> None:
    topology = plan.cpu.topology
    for node in plan.cpu.nodes:
        options.add("-numa", keyval("node", nodeid=node.id, memdev=f"ram-node{node.id}"))
    per_socket = topology.dies * topology.cores
    for node in plan.cpu.nodes:
        members = set(node.cpus)
        for socket in sorted({index // per_socket for index in node.cpus}):
            here = [index for index in range(socket * per_socket, (socket + 1) * per_socket) if index in members]
            if len(here) == per_socket:
                options.add("-numa", f"cpu,node-id={node.id},socket-id={socket}")
                continue
            for index in here:
                _, die, core = topology.place(index)
                die_id = f",die-id={die}" if topology.dies > 1 else ""
                options.add("-numa", f"cpu,node-id={node.id},socket-id={socket}{die_id},core-id={core}")
    for node in plan.cpu.nodes:
        for other, distance in enumerate(node.distances):
            if other != node.id:
                options.add("-numa", f"dist,src={node.id},dst={other},val={distance}")


def _identity(options: Options, smbios: Smbios) -> None:
    for kind, fields in smbios.tables.items():
        options.add("-smbios", keyval(f"type={kind}", **fields))
    if smbios.uuid:
        options.add("-uuid", smbios.uuid)


def _boot(options: Options, plan: GuestPlan, site: Site) -> None:
    """The disks, then the DVD, by their bootindex; ``strict`` keeps the BIOS from trying anything else."""
    options.add("-boot", "strict=on")
    if not plan.boot.kernel:
        return
    # QEMU reads these by path at start; /proc/self/fd makes that the file that the launcher has opened.
    fd = options.node_fd(site.kernel or plan.boot.kernel, "file", "ro", "the kernel to boot")
    options.add("-kernel", f"/proc/self/fd/{fd}")
    if plan.boot.initrd:
        fd = options.node_fd(site.initrd or plan.boot.initrd, "file", "ro", "the initial RAM disk to boot")
        options.add("-initrd", f"/proc/self/fd/{fd}")
    if plan.boot.append:
        options.add("-append", plan.boot.append)


def _control(options: Options, plan: GuestPlan, site: Site) -> None:
    """QMP for every consumer, the event journal, and the product's own channels."""
    for consumer in CONSUMERS:
        fd = options.listener_fd(os.path.join(site.run_dir, "qmp", consumer))
        options.add("-chardev", keyval("socket", id=f"qmp-{consumer}", fd=fd, server=True, wait=False))
        options.add("-mon", f"chardev=qmp-{consumer},mode=control")
    options.add("-chardev", keyval("pipe", id="journal", path=journal(site.run_dir)))
    options.add("-mon", "chardev=journal,mode=control")
    if plan.profile.virtio_serial:
        options.device("virtio-serial-pci", id="channels", **buses.at(plan, slots.VIRTIO_SERIAL))
    for channel in plan.channels:
        fd = options.listener_fd(os.path.join(site.run_dir, f"{channel.name}.sock"))
        options.add("-chardev", keyval("socket", id=channel.name, fd=fd, server=True, wait=False))
        if channel.serial_index >= 0:
            options.device("isa-serial", id=f"channel-{channel.name}", chardev=channel.name, index=channel.serial_index)
        else:
            options.device(
                "virtserialport",
                id=f"channel-{channel.name}",
                bus="channels.0",
                nr=1 if channel.name == AGENT else 2,
                chardev=channel.name,
                name=_PORT_NAMES[channel.name],
            )
