"""A server that the lab can simulate, described in a small TOML file; ``servers/one-u.toml`` explains every key."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from lab.errors import LabError
from lab.simulator.table import Table

# What each mainboard of QEMU can carry. Of an IDE or SATA controller's places the DVD drive has one.
_BUSES = {"q35": {"sata": 5, "scsi": 7, "nvme": 4}, "pc": {"ide": 3, "sata": 5, "scsi": 7, "nvme": 4}}
_WATCHDOGS = {"q35": ("i6300esb", "itco", "none"), "pc": ("i6300esb", "none")}
_NICS = ("e1000", "e1000e", "rtl8139", "virtio-net-pci")

_SERIAL = (r"[A-Za-z0-9][A-Za-z0-9._-]{0,19}", "1 to 20 letters, digits, dots, underscores and hyphens")
_MAC = (r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}", "a unicast address, in lower case: 02:54:00:00:00:01")
_UUID = (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "8-4-4-4-12 hexadecimal digits, in lower case")
_LABEL = (r"[ -~]{1,64}", "1 to 64 printable ASCII characters")


@dataclass(frozen=True)
class Cpu:
    """The processors: sockets, cores in each socket, hardware threads in each core."""

    sockets: int
    cores: int
    threads: int

    @property
    def count(self) -> int:
        """Logical CPUs."""
        return self.sockets * self.cores * self.threads


@dataclass(frozen=True)
class Numa:
    """A NUMA node: the sockets in it, and its part of the memory in MiB."""

    sockets: tuple[int, ...]
    memory_mib: int


@dataclass(frozen=True)
class Smbios:
    """What the server says of itself (``/sys/class/dmi/id``); an empty text is left to QEMU."""

    manufacturer: str
    product: str
    serial: str
    uuid: str
    board: str
    board_serial: str
    chassis_serial: str
    asset: str


@dataclass(frozen=True)
class Disk:
    """An internal disk. From the one that is the product's, the product boots."""

    serial: str
    size_mib: int
    bus: str
    product: bool


@dataclass(frozen=True)
class Nic:
    """A network interface; ``link``: its cable is plugged in when the server is new."""

    mac: str
    model: str
    link: bool


@dataclass(frozen=True)
class Server:
    """All of one server.

    :ivar name: the file's, without ``.toml``
    :ivar bays: for disks that are exchanged while the server runs; empty when it is new
    :ivar slots: for network cards that are plugged in while the server runs; empty when it is new
    :ivar toml: the text that it was read from
    """

    name: str
    description: str
    firmware: str
    board: str
    memory_mib: int
    serial_ports: int
    dvd: bool
    iommu: bool
    bays: int
    slots: int
    watchdog: str
    cpu: Cpu
    numa: tuple[Numa, ...]
    smbios: Smbios
    key_serial: str
    disks: tuple[Disk, ...]
    nics: tuple[Nic, ...]
    toml: str = field(repr=False)

    @property
    def product_disk(self) -> Disk:
        """The one from which the product boots."""
        return next(disk for disk in self.disks if disk.product)


def shipped() -> dict[str, Path]:
    """The servers that come with the lab, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "servers").glob("*.toml"))}


def named(name: str) -> Server:
    """One of the shipped servers, or the one that a file describes.

    :raise LabError: there is neither; or as :func:`load`
    """
    path = shipped().get(name, Path(name))
    if not path.exists():
        raise LabError(f'no server "{name}"; there are {", ".join(shipped())}, or give a TOML file')
    return load(path)


def load(path: Path) -> Server:
    """Read a description.

    :raise LabError: it cannot be read, or what it describes cannot be
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    return parse(text, path)


def parse(text: str, path: Path) -> Server:
    """The server that a description's text describes; the path is for its name, and for messages.

    :raise LabError: there is no such server
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LabError(f"{path}: not TOML: {error}") from None
    top = Table(str(path), content)
    board = top.choice("board", tuple(_BUSES))
    server = Server(
        name=path.stem,
        description=top.text("description", _LABEL),
        firmware=top.choice("firmware", ("uefi", "bios")),
        board=board,
        memory_mib=top.number("memory_mib", 64, 1 << 20),
        serial_ports=top.number("serial_ports", 1, 4),
        dvd=top.truth("dvd"),
        iommu=top.truth("iommu", False),
        bays=top.number("bays", 0, 8, 0),
        slots=top.number("slots", 0, 4, 0),
        watchdog=top.choice("watchdog", _WATCHDOGS[board]),
        cpu=_cpu(top.table("cpu")),
        numa=tuple(_numa(table) for table in top.tables("numa")),
        smbios=_smbios(top.table("smbios")),
        key_serial=_key(top.table("key")),
        disks=tuple(_disk(table, board) for table in top.tables("disk")),
        nics=tuple(_nic(table) for table in top.tables("nic")),
        toml=text,
    )
    top.end()
    _check(server, path)
    return server


def _cpu(table: Table) -> Cpu:
    cpu = Cpu(*(table.number(key, 1, 16) for key in ("sockets", "cores", "threads")))
    table.end()
    return cpu


def _numa(table: Table) -> Numa:
    node = Numa(table.numbers("sockets"), table.number("memory_mib", 32, 1 << 20))
    table.end()
    return node


def _smbios(table: Table) -> Smbios:
    smbios = Smbios(
        manufacturer=table.text("manufacturer", _LABEL),
        product=table.text("product", _LABEL),
        serial=table.text("serial", _LABEL),
        uuid=table.text("uuid", _UUID),
        board=table.text("board", _LABEL, ""),
        board_serial=table.text("board_serial", _LABEL, ""),
        chassis_serial=table.text("chassis_serial", _LABEL, ""),
        asset=table.text("asset", _LABEL, ""),
    )
    table.end()
    return smbios


def _key(table: Table) -> str:
    serial = table.text("serial", _SERIAL)
    table.end()
    return serial


def _disk(table: Table, board: str) -> Disk:
    disk = Disk(
        table.text("serial", _SERIAL),
        table.number("size_mib", 1, 1 << 24),
        table.choice("bus", tuple(_BUSES[board])),
        table.truth("product", False),
    )
    table.end()
    return disk


def _nic(table: Table) -> Nic:
    nic = Nic(table.text("mac", _MAC), table.choice("model", _NICS), table.truth("link", True))
    table.end()
    return nic


def _check(server: Server, path: Path) -> None:
    """What no key can tell alone."""

    def unless(good: bool, problem: str) -> None:
        if not good:
            raise LabError(f"{path}: {problem}")

    products = [disk.serial for disk in server.disks if disk.product]
    unless(len(products) == 1, f"{len(products)} [[disk]]s have product = true; the product boots from exactly one")
    for kind, names in (
        ("serial", [server.key_serial, *(disk.serial for disk in server.disks)]),
        ("mac", [nic.mac for nic in server.nics]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        unless(not twice, f"{kind} = {', '.join(twice)!r} is there more than once; each has its own")
    for bus, most in _BUSES[server.board].items():
        count = sum(disk.bus == bus for disk in server.disks)
        unless(count <= most, f"{count} [[disk]]s have bus = {bus!r}; there is room for {most}")
    unless(not server.iommu or server.board == "q35", 'iommu = true needs board = "q35"')
    unless(not server.slots or server.board == "q35", f'slots = {server.slots} needs board = "q35"')
    if server.numa:
        sockets = sorted(socket for node in server.numa for socket in node.sockets)
        unless(
            sockets == list(range(server.cpu.sockets)),
            f"[[numa]] sockets are {sockets}; each of 0 to {server.cpu.sockets - 1} belongs to one node",
        )
        memory = sum(node.memory_mib for node in server.numa)
        unless(
            memory == server.memory_mib, f"[[numa]] memory_mib is {memory} together; the server has {server.memory_mib}"
        )
