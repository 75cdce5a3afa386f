"""Descriptions of servers: those that ship, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import LabError
from lab.simulator import server
from lab.simulator.server import Cpu, Disk, Nic, Numa

_ONE_U = server.shipped()["one-u"].read_text("utf-8")
_MACS = [nic.mac for nic in server.load(server.shipped()["one-u"]).nics]
_NUMA = server.shipped()["numa"].read_text("utf-8")


def test_these_servers_ship() -> None:
    assert list(server.shipped()) == ["direct", "numa", "old-box", "one-u"]
    for name, path in server.shipped().items():
        assert server.load(path).name == name


def test_all_of_a_server() -> None:
    one_u = server.load(server.shipped()["one-u"])
    assert (one_u.firmware, one_u.board, one_u.watchdog, one_u.dvd) == ("uefi", "q35", "i6300esb", True)
    assert one_u.cpu == Cpu(sockets=1, cores=1, threads=1)
    assert one_u.product_disk == Disk("WD-ONEU-A1", 2048, "sata", True)
    assert one_u.nics[1] == Nic(_MACS[1], "e1000", True)
    assert one_u.smbios.product == "One-U 9000"
    assert one_u.key_serial == "HALKEY0001"
    assert one_u.toml == _ONE_U


def test_numa_and_threads() -> None:
    numa = server.parse(_NUMA, Path("numa.toml"))
    assert numa.cpu.count == 4
    assert numa.numa == (Numa((0,), 1536), Numa((1,), 1536))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"uefi"\n', '"efi"\n', "x.toml: firmware is 'efi'; allowed: uefi, bios"),
        ("memory_mib = 2048", "", "x.toml: memory_mib is missing; allowed: 64 to 1048576"),
        ("memory_mib = 2048", 'memory_mib = "2G"', "x.toml: memory_mib is '2G'; allowed: 64 to 1048576"),
        ("memory_mib = 2048", "memory_mib = 1", "x.toml: memory_mib is 1; allowed: 64 to 1048576"),
        ("serial_ports = 1", "serial_ports = true", "x.toml: serial_ports is True; allowed: 1 to 4"),
        ("dvd = true", "dvd = 1", "x.toml: dvd is 1; allowed: true, false"),
        ("threads = 1", "threads = 1\nsmt = 2", "x.toml: [cpu]: smt: there is no such key; allowed: sockets, cores,"),
        ("dvd = true", "dvd = true\niommu = 1", "x.toml: iommu is 1; allowed: true, false"),
        ('board = "q35"', 'board = "pc"', "x.toml: slots = 1 needs board = "),
        ("dvd = true", "dvd = true\nusb = 1", "x.toml: usb: there is no such key; allowed: board, description,"),
        ("WD-ONEU-A2", "A,2", "x.toml: [[disk]] 2: serial is 'A,2'; allowed: 1 to 20 letters, digits, dots,"),
        ("WD-ONEU-A2", "HALKEY0001", "x.toml: serial = 'HALKEY0001' is there more than once; each has its own"),
        ('bus = "sata"', 'bus = "ide"', "x.toml: [[disk]] 1: bus is 'ide'; allowed: sata, scsi, nvme"),
        ("\nproduct = true\n", "\n", "x.toml: 0 [[disk]]s have product = true; the product boots from exactly one"),
        (_MACS[0], _MACS[1], f"x.toml: mac = '{_MACS[1]}' is there more than once; each has its own"),
        (_MACS[0], "03:54:00:0a:00:01", "x.toml: [[nic]] 1: mac is '03:54:00:0a:00:01'; allowed: a unicast"),
        ("[key]\n", "[key", "x.toml: not TOML: "),
    ],
)
def test_what_is_wrong_is_told_in_one_line(old: str, new: str, message: str) -> None:
    assert old in _ONE_U
    with pytest.raises(LabError) as caught:
        server.parse(_ONE_U.replace(old, new, 1), Path("x.toml"))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sockets = [1]", "sockets = [0]", "x.toml: [[numa]] sockets are [0, 0]; each of 0 to 1 belongs to one node"),
        (
            "sockets = [1]",
            'sockets = ["1"]',
            "x.toml: [[numa]] 2: sockets is ['1']; allowed: a list of numbers, from 0",
        ),
        ("= 3072", "= 3000", "x.toml: [[numa]] memory_mib is 3072 together; the server has 3000"),
    ],
)
def test_numa_that_does_not_add_up(old: str, new: str, message: str) -> None:
    with pytest.raises(LabError) as caught:
        server.parse(_NUMA.replace(old, new, 1), Path("x.toml"))
    assert str(caught.value) == message


def test_too_many_disks_for_a_bus() -> None:
    disk = '[[disk]]\nserial = "D{}"\nsize_mib = 1\nbus = "sata"\n'
    with pytest.raises(LabError, match=r"7 .*bus = 'sata'; there is room for 5"):
        server.parse(_ONE_U + "".join(disk.format(number) for number in range(5)), Path("x.toml"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"none\.toml: No such file or directory"):
        server.load(tmp_path / "none.toml")
