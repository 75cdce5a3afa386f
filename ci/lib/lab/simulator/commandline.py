"""The command line of the QEMU that simulates a server: pure.

It is the same at every start, so that a saved state always fits. What changes while a server is used (a disc in the
drive, a stick, a cable) is done over QMP.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional, Union

from lab.simulator import files
from lab.simulator.server import Disk, Server, Smbios

Options = Iterator[tuple[str, str]]

# Emulated: AMD, whose SVM QEMU emulates well enough for KVM inside; and what x86-64-v2 adds, which EL9 needs. "max" has
# more, and Linux boots a quarter slower on it.
_EMULATED = "qemu64,svm=on,npt=on,cx16=on,lahf-lm=on,popcnt=on,rdrand=on,sse4.1=on,sse4.2=on,ssse3=on"
# Linux sees an AMD's threads from family 17h on, by topoext (amd_get_topology in arch/x86/kernel/cpu/amd.c), which QEMU
# 7.2 implements and yet denies TCG. 1Ah is the first such family for which Linux has no costly mitigations.
_EMULATED_THREADS = ",family=26,model=2,topoext=on,x-force-features=on"
# The MSR of arch-capabilities is refused by KVM inside some virtual machines, and QEMU then aborts.
_REAL = "host,arch-capabilities=off"
_REAL_THREADS = ",topoext=on"

_ACTIONS = "reboot=reset,shutdown=poweroff,panic=none,watchdog=reset"


def argv(server: Server, qemu: str, accel: str, monitors: Sequence[int], code: Optional[Path] = None) -> list[str]:
    """Everything, from the program's name on.

    :param accel: "tcg" or "kvm"
    :param monitors: file descriptors, connected, over which the lab talks QMP
    :param code: UEFI's, for a server that has it
    """
    options = [
        *_computer(server, accel, code),
        *_smbios(server.smbios),
        *_monitors(monitors),
        *_serial_ports(server.serial_ports),
        *_key(server),
        *_disks(server),
        *_network(server),
        *_slots(server),
    ]
    return [qemu, "-nodefaults", "-no-user-config", "-S", *(word for option in options for word in option)]


def _computer(server: Server, accel: str, code: Optional[Path]) -> Options:
    cpu = server.cpu
    machine: dict[str, Union[str, int]] = {}
    if code is not None:
        machine = {"pflash0": "code", "pflash1": "variables"}
        yield "-blockdev", _of("file", node_name="code", filename=code, read_only="on")
        yield "-blockdev", _of("file", node_name="variables", filename=files.VARIABLES)
    if server.iommu and accel == "kvm":
        machine["kernel_irqchip"] = "split"  # or QEMU cannot remap interrupts
    yield "-name", _of("debug-threads=on", guest=server.name)
    yield "-machine", _of(server.board, **machine)
    yield "-action", _ACTIONS
    yield "-rtc", "base=utc"
    if accel == "kvm":
        yield "-accel", "kvm"
        yield "-cpu", _REAL + (_REAL_THREADS if cpu.threads > 1 else "")
    else:
        yield "-accel", "tcg,thread=multi"
        yield "-cpu", _EMULATED + (_EMULATED_THREADS if cpu.threads > 1 else "")
    yield "-smp", _of(str(cpu.count), sockets=cpu.sockets, cores=cpu.cores, threads=cpu.threads)
    yield "-m", f"{server.memory_mib}M"
    for number, node in enumerate(server.numa):
        yield "-object", _of("memory-backend-ram", id=f"memory{number}", size=f"{node.memory_mib}M")
        yield "-numa", _of("node", nodeid=number, memdev=f"memory{number}")
        for socket in node.sockets:
            yield "-numa", f"cpu,node-id={number},socket-id={socket}"
    # QEMU's docs/specs/fw_cfg.rst keeps names below opt/ for whoever starts it.
    yield "-fw_cfg", f"name=opt/hal-lab/hal.toml,file={files.HAL_TOML}"
    if server.iommu:
        # Intel's in front of AMD's processor: Linux goes by the tables of the firmware. Before any other device.
        yield "-device", "intel-iommu,intremap=on"
    yield "-vga", "std"
    yield "-display", "none"
    yield "-vnc", f"unix:{files.VNC}"
    if server.board == "q35":
        # Its chipset always has the watchdog; strapped like this, it resets nothing, and Linux leaves it alone.
        yield "-global", f"ICH9-LPC.noreboot={'off' if server.watchdog == 'itco' else 'on'}"
    if server.watchdog == "i6300esb":
        yield "-device", "i6300esb"


def _smbios(smbios: Smbios) -> Options:
    system = {"product": smbios.product, "serial": smbios.serial, "uuid": smbios.uuid}
    tables = (
        (1, system),
        (2, {"product": smbios.board, "serial": smbios.board_serial}),
        (3, {"serial": smbios.chassis_serial, "asset": smbios.asset}),
    )
    for number, values in tables:
        given = {key: value for key, value in values.items() if value}
        yield "-smbios", _of(f"type={number}", manufacturer=smbios.manufacturer, **given)


def _monitors(monitors: Sequence[int]) -> Options:
    for number, fd in enumerate(monitors):
        yield "-chardev", f"socket,id=lab{number},fd={fd}"
        yield "-mon", f"chardev=lab{number},mode=control"
    yield "-chardev", _listening("person", files.QMP)
    yield "-mon", "chardev=person,mode=control"


def _serial_ports(count: int) -> Options:
    for port in range(count):
        log = f"logfile={files.serial_log(port)},logappend=on"
        yield "-chardev", f"{_listening(f'serial{port}', files.serial_socket(port))},{log}"
        yield "-device", f"isa-serial,chardev=serial{port},index={port}"
    yield "-device", "virtio-serial-pci"
    yield "-chardev", f"file,id=console,path={files.HOST_CONSOLE},append=on"
    yield "-device", "virtconsole,chardev=console,nr=0"
    yield "-chardev", _listening("agent", files.AGENT)
    yield "-device", "virtserialport,chardev=agent,nr=1,name=org.qemu.guest_agent.0"


def _key(server: Server) -> Options:
    """The key, on the controller that sticks are plugged into too."""
    yield "-device", "qemu-xhci,id=xhci,p2=9,p3=9"
    yield "-blockdev", _image("key", files.KEY)
    key = _of("usb-storage", id="key", bus="xhci.0", port=1, drive="key", serial=server.key_serial, removable="on")
    yield "-device", key + _boots(server, 2)


def _disks(server: Server) -> Options:
    buses = {disk.bus for disk in server.disks}
    if "scsi" in buses:
        yield "-device", "virtio-scsi-pci,id=scsi"
    if "sata" in buses and server.board == "pc":
        yield "-device", "ich9-ahci,id=sata"
    counts = dict.fromkeys(buses, 0)
    for disk in server.disks:
        node = f"disk-{disk.serial}"
        yield "-blockdev", _image(node, files.disk(disk.serial))
        device = _of(_model(server, disk, counts[disk.bus]), drive=node, serial=disk.serial)
        yield "-device", device + (_boots(server, 3) if disk.product else "")
        counts[disk.bus] += 1
    if server.bays:
        yield "-device", "virtio-scsi-pci,id=bays"
    if server.dvd:
        place = "ide.5" if server.board == "q35" else "ide.1,unit=0"
        yield "-device", f"ide-cd,id=dvd,bus={place}{_boots(server, 1)}"


def _model(server: Server, disk: Disk, number: int) -> str:
    """The device that is a disk, and its place; the number counts the disks on its bus."""
    if disk.bus == "nvme":
        return "nvme"
    if disk.bus == "scsi":
        return f"scsi-hd,bus=scsi.0,scsi-id={number}"
    if disk.bus == "sata":
        return f"ide-hd,bus={'ide' if server.board == 'q35' else 'sata'}.{number}"
    place = ("ide.0,unit=0", "ide.0,unit=1", "ide.1,unit=1")[number]  # the DVD drive has the fourth
    return f"ide-hd,bus={place}"


def _network(server: Server) -> Options:
    for number, nic in enumerate(server.nics):
        ends = f"local.path={files.lan(number)},remote.type=unix,remote.path={files.lan_peer(number)}"
        yield "-netdev", f"dgram,id=lan{number},local.type=unix,{ends}"
        # Without its boot ROM: nobody boots from the network here, and finding that out takes seconds.
        device = _of(nic.model, id=f"nic{number}", netdev=f"lan{number}", mac=nic.mac, romfile="")
        # Such a NIC goes by the IOMMU only if it is told; then it can be handed to a virtual machine.
        behind = server.iommu and nic.model.startswith("virtio")
        yield "-device", device + (",disable-legacy=on,iommu_platform=on" if behind else "")


def _slots(server: Server) -> Options:
    for number in range(server.slots):
        yield "-device", f"pcie-root-port,id=slot{number},chassis={number}"


def _boots(server: Server, place: int) -> str:
    """The boot order that somebody has chosen in a BIOS's setup. UEFI keeps its own, which this would overwrite."""
    return f",bootindex={place}" if server.firmware == "bios" else ""


def _image(node: str, name: str) -> str:
    # When QEMU is killed, all that it wrote is in this machine's page cache: only a crash of that could lose it.
    return f"qcow2,node-name={node},file.driver=file,file.filename={name},cache.no-flush=on,discard=unmap"


def _listening(name: str, path: str) -> str:
    return f"socket,id={name},path={path},server=on,wait=off"


def _of(first: str, **values: Union[str, int, Path]) -> str:
    """QEMU's ``first,key=value,…``, in which a comma of a value is doubled."""
    return ",".join(
        [first, *(f"{key.replace('_', '-')}={str(value).replace(',', ',,')}" for key, value in values.items())]
    )
