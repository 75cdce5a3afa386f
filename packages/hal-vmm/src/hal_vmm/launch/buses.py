"""The command line's devices: what sits where on which bus, each era in its own way."""

from __future__ import annotations

from typing import Optional, Union

from hal_vmm.launch.options import Options, keyval
from hal_vmm.manager import seriallog
from hal_vmm.plan import slots
from hal_vmm.plan.diskplan import DiskPlan, OpticalPlan
from hal_vmm.plan.guestplan import GuestPlan
from hal_vmm.plan.nicplan import HostLink, NicPlan
from hal_vmm.qemu.flavour import Flavour

# DVD drives are tried after every disk.
_FIRST_DVD_BOOTINDEX = 1000

# Place of each slot on the PIIX: primary master and slave, secondary slave; the secondary master is the DVD's.
_IDE_PLACES = (("ide.0", 0), ("ide.0", 1), ("ide.1", 1), ("ide.1", 0))
_DVD_ON_PIIX = ("ide.1", 0)


def at(plan: GuestPlan, slot: int, function: int = 0) -> dict[str, object]:
    """The properties that put a device on the root bus. Nothing sits behind a bridge: see :mod:`hal_vmm.era`."""
    bus = "pcie.0" if plan.profile.family == "q35" else "pci.0"
    return {"bus": bus, "addr": f"{slot:02x}.{function:x}"}


def fixed_devices(options: Options, plan: GuestPlan, run_dir: str) -> None:
    """Everything that there is one of, at its fixed place, and the serial ports."""
    if plan.cpu.x2apic:
        # Interrupt remapping alone: without it, CPUs with an APIC id above 254 get no interrupts from devices.
        options.device("intel-iommu", intremap=True, eim=True)
    options.device("VGA", id="vga", **at(plan, slots.VGA))
    _usb(options, plan)
    if plan.watchdog:
        on_pci = plan.watchdog != "ib700"
        options.device(plan.watchdog, id="watchdog", **(at(plan, slots.WATCHDOG) if on_pci else {}))
    if plan.pvpanic:
        options.device("pvpanic", id="pvpanic")
    if plan.rng:
        # getrandom(2) inside QEMU: there is no /dev/random to open.
        options.add("-object", "rng-builtin,id=random")
        options.device("virtio-rng-pci", id="rng", rng="random", **at(plan, slots.RNG))
    for port in plan.serial:
        path = options.node_path(
            port.host,
            "char",
            "rw",
            f"serial port {port.host}",
            nonblock=True,
            noctty=True,
            otherwise="/dev/null",
        )
        # What the product says there is kept, too: see manager.seriallog.
        log = options.node_path(
            seriallog.path(run_dir, port.index), "file", "append", f"the log of serial port {port.host}"
        )
        chardev = keyval("serial", id=f"com{port.index + 1}", path=path, logfile=log, logappend=True)
        options.add("-chardev", chardev)
        options.device("isa-serial", id=f"serial{port.index}", chardev=f"com{port.index + 1}", index=port.index)


def _usb(options: Options, plan: GuestPlan) -> None:
    kind, *companions = plan.profile.usb
    for number, controller in enumerate(plan.usb):
        place = at(plan, controller.slot, controller.function)
        if not companions:
            several = True if len(plan.usb) > 1 and controller.function == 0 else None
            options.device(kind, id=controller.id, p2=15, p3=15, multifunction=several, **place)
            continue
        # As on the ICH9: companions are functions 0 to 2 of the EHCI's slot.
        options.device(kind, id=controller.id, multifunction=True, **place)
        for index, companion in enumerate(companions):
            options.device(
                companion,
                id=f"uhci{number * len(companions) + index + 1}",
                masterbus=controller.bus,
                firstport=2 * index,
                multifunction=True,
                **at(plan, controller.slot, index),
            )


def disks(options: Options, plan: GuestPlan, flavour: Flavour) -> None:
    """Controllers, then disks in the order of their slots."""
    in_order = sorted(plan.disks, key=lambda disk: disk.slot)
    if plan.profile.disk_bus == "scsi":
        # There even without disks, so that one can be plugged in later.
        options.add("-object", "iothread,id=io-disk0")
        options.device("virtio-scsi-pci", id="scsi0", iothread="io-disk0", **at(plan, slots.STORAGE))
    elif plan.profile.disk_bus == "ahci":
        controllers = 1 + max((disk.slot // slots.AHCI_PORTS for disk in in_order), default=0)
        for index in range(controllers):
            options.device(
                "ich9-ahci",
                id=f"ahci{index}",
                multifunction=True if index == 0 and controllers > 1 else None,
                **at(plan, slots.STORAGE, index),
            )
    for disk in in_order:
        _disk_backend(options, disk, flavour)
        _disk_frontend(options, disk)


def _disk_backend(options: Options, disk: DiskPlan, flavour: Flavour) -> None:
    path = options.node_path(
        disk.host,
        disk.kind,
        "ro" if disk.read_only else "rw",
        f"disk {disk.host}" + (f" (serial {disk.serial})" if disk.serial else ""),
        # The kernel then keeps the host from mounting or assembling it for as long as QEMU runs (open(2), O_EXCL).
        exclusive=disk.kind == "block",
    )
    options.blockdev(disk_node(disk, path, flavour))


def disk_node(disk: DiskPlan, path: str, flavour: Flavour) -> dict[str, object]:
    """QEMU's block node for a disk, as ``blockdev-add`` takes it.

    :param path: the fdset that has it.
    """
    block = disk.kind == "block"
    # Direct I/O for disks: what the product has flushed is on the disk, and the host caches nothing twice. An image
    # file may lie where there is no direct I/O (tmpfs).
    cache: dict[str, object] = {"direct": block, "no-flush": False}
    discard = "unmap" if disk.discard else "ignore"
    # Not io_uring: Enterprise Linux switches it off (kernel.io_uring_disabled), and it has more to attack.
    aio = "native" if block and "native" in flavour.aio else "threads"
    common: dict[str, object] = {"cache": cache, "discard": discard, "read-only": disk.read_only}
    protocol: dict[str, object] = {
        "driver": "host_device" if block else "file",
        "node-name": f"disk{disk.slot}-file",
        "filename": path,
        "aio": aio,
        **common,
    }
    return {"driver": "raw", "node-name": f"disk{disk.slot}-node", "file": protocol, **common}


def _disk_frontend(options: Options, disk: DiskPlan) -> None:
    kind, properties = disk_device(disk)
    options.device(kind, **properties)


def disk_device(disk: DiskPlan) -> tuple[str, dict[str, object]]:
    """The type and the properties of the disk that the product sees; None stands for QEMU's own default."""
    properties: dict[str, object] = {
        "id": f"disk{disk.slot}",
        "drive": f"disk{disk.slot}-node",
        "serial": disk.serial or None,
        "wwn": disk.wwn or None,
        "rotation_rate": disk.rotation_rate or None,
        "logical_block_size": disk.logical_block_bytes,
        "physical_block_size": disk.physical_block_bytes,
        # 0 tells the product that there is no discard; else QEMU's own default is right.
        "discard_granularity": None if disk.discard else 0,
        "bootindex": disk.slot,
        "werror": "report",
        "rerror": "report",
    }
    if disk.bus == "scsi":
        scsi: dict[str, object] = {
            "bus": "scsi0.0",
            "scsi-id": disk.slot,
            "lun": 0,
            "vendor": disk.vendor or None,
            "product": disk.model or None,
            # VPD page 0x83: without a WWN this is what the product's /dev/disk/by-id is made of.
            "device_id": disk.serial or None,
        }
        return "scsi-hd", {**scsi, **properties}
    if disk.bus == "ahci":
        controller, port = divmod(disk.slot, slots.AHCI_PORTS)
        place: dict[str, object] = {"bus": f"ahci{controller}.{port}"}
    else:
        bus, unit = _IDE_PLACES[disk.slot]
        place = {"bus": bus, "unit": unit}
    return "ide-hd", {**place, "model": disk.model or None, **properties}


def optical(options: Options, plan: GuestPlan) -> None:
    for drive in plan.optical:
        node = _optical_backend(options, drive)
        if plan.profile.family == "q35":
            place: dict[str, object] = {"bus": f"ide.{drive.slot}"}
        else:
            place = {"bus": _DVD_ON_PIIX[0], "unit": _DVD_ON_PIIX[1]}
        options.device(
            "ide-cd",
            id=f"dvd{drive.slot}",
            **place,
            drive=node,
            model=drive.model or None,
            serial=drive.serial or None,
            bootindex=_FIRST_DVD_BOOTINDEX + drive.slot,
        )


def _optical_backend(options: Options, drive: OpticalPlan) -> Optional[str]:
    if not drive.driver:
        return None
    path = options.node_path(drive.host, "block", "ro", f"DVD drive {drive.host}", nonblock=True)
    node = f"dvd{drive.slot}-node"
    options.blockdev(
        {
            "driver": "raw",
            "node-name": node,
            "read-only": True,
            "file": {
                "driver": drive.driver,
                "node-name": f"dvd{drive.slot}-file",
                "filename": path,
                "read-only": True,
            },
        }
    )
    return node


def nics(options: Options, plan: GuestPlan, vhost: bool) -> None:
    """In the order of their slots; the first sixteen have a PCI slot each. The host link is the last."""
    places = {nic.slot: slots.pci_address(slots.FIRST_NIC, nic.slot, slots.NIC_SLOTS) for nic in plan.nics}
    shared = {slot for slot, function in places.values() if function}
    for nic in sorted(plan.nics, key=lambda nic: nic.slot):
        slot, function = places[nic.slot]
        netdev = f"lan-{nic.slot}"
        unused: tuple[int, ...] = ()
        if nic.tap:
            unused = _tap(options, netdev, nic, vhost)
        else:
            # A hub of its own with nothing else on it: a NIC with no cable.
            options.add("-netdev", keyval("hubport", id=netdev, hubid=nic.slot))
        place: dict[str, object] = {"multifunction": True if slot in shared and function == 0 else None}
        place.update(at(plan, slot, function))
        netdev_value = options.words[-1]
        _nic(options, f"nic{nic.slot}", netdev, nic, **place)
        if nic.tap and plan.handover.way:
            # The same place: what the product's OS has learned of it stays true but for the kind of NIC.
            device = keyval("vfio-pci", id=f"nic{nic.slot}", rombar=0, **place)
            words = (netdev_value, options.words[-1])
            options.direct(nic.slot, words, unused, device, plan.handover.way == "fd")
    if plan.host_link:
        _tap(options, "lan-host", plan.host_link, vhost)
        _nic(options, "nic-host", "lan-host", plan.host_link, **at(plan, slots.HOST_LINK))


def _tap(options: Options, netdev: str, nic: Union[NicPlan, HostLink], vhost: bool) -> tuple[int, ...]:
    """The host's end, hal-netcfg's to change (``set_link``): its id, which begins with ``lan-``, says so.

    :return: the descriptors that it takes.
    """
    fd = options.tap_fd(nic.tap)
    vhost_fd = None
    if vhost and nic.model.startswith("virtio"):
        vhost_fd = options.node_fd("/dev/vhost-net", "char", "rw", f"vhost for {nic.tap}")
    options.add("-netdev", keyval("tap", id=netdev, fd=fd, vhost=vhost_fd is not None, vhostfd=vhost_fd))
    return (fd,) if vhost_fd is None else (fd, vhost_fd)


def _nic(options: Options, id_: str, netdev: str, nic: Union[NicPlan, HostLink], **place: object) -> None:
    # No host_mtu: as on bare metal, the product decides. hal-netcfg makes the host's side large enough.
    # No network boot: the boot order is disks and DVD, and a missing ROM file would keep QEMU from starting.
    options.device(nic.model, id=id_, netdev=netdev, mac=nic.mac, romfile="", **place)
