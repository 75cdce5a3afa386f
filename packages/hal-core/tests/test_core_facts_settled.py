"""Facts are read at a moment at which no disk or NIC is just coming or going."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Callable

import pytest

from hal_core import facts
from hal_core.facts import settled
from hal_core.machine import Machine, Nic


@pytest.fixture(name="server")
def a_server(tmp_path: Path) -> Path:
    for directory in ("proc", "run/udev/data", "sys/block"):
        (tmp_path / directory).mkdir(parents=True)
    plug(tmp_path, "sda", "8:0")
    tell_udev(tmp_path, "8:0", "bay-1")
    return tmp_path


def plug(server: Path, name: str, number: str) -> None:
    directory = server / "sys/block" / name
    directory.mkdir()
    (directory / "dev").write_text(f"{number}\n")
    (directory / "size").write_text("2048\n")


def plug_nic(server: Path, name: str, index: int, device: bool = True) -> None:
    directory = server / "sys/class/net" / name
    (directory / "device").mkdir(parents=True) if device else directory.mkdir(parents=True)
    for key, value in (("type", 1), ("ifindex", index), ("address", f"00:1b:21:00:00:{index:02x}")):
        (directory / key).write_text(f"{value}\n")


def tell_udev(server: Path, number: str, place: str) -> None:
    (server / "run/udev/data" / f"b{number}").write_text(f"E:ID_PATH={place}\n")


def meanwhile(monkeypatch: pytest.MonkeyPatch, *happens: Callable[[], object]) -> list[float]:
    """What happens whenever it waits; the list grows by every wait."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        happens[len(waits)]()
        waits.append(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    return waits


def places(server: Path, patience: float = 60.0) -> tuple[dict[str, str], tuple[str, ...]]:
    machine, coming = settled.read(str(server), patience)
    return {disk.name: disk.by_path for disk in machine.disks}, coming


def test_where_udev_is_through_nobody_waits(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch)
    assert places(server) == ({"sda": "bay-1"}, ())


def test_a_disk_that_has_just_come_is_waited_for(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plug(server, "sdb", "8:16")
    waits = meanwhile(monkeypatch, lambda: None, lambda: tell_udev(server, "8:16", "bay-2"))
    assert places(server) == ({"sda": "bay-1", "sdb": "bay-2"}, ())
    assert len(waits) == 2


def test_one_that_comes_while_the_facts_are_read_is_seen(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = facts.read

    def slowly(root: str) -> Machine:
        machine = read(root)
        if not (server / "sys/block/sdb").exists():
            plug(server, "sdb", "8:16")
            tell_udev(server, "8:16", "bay-2")
        return machine

    monkeypatch.setattr(facts, "read", slowly)
    meanwhile(monkeypatch, lambda: None)
    assert places(server) == ({"sda": "bay-1", "sdb": "bay-2"}, ())


def test_a_nic_that_has_just_come_is_waited_for_until_it_has_its_name(
    server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hal.toml may keep it for the host by that name."""
    plug_nic(server, "eno1", 2)
    plug_nic(server, "eth0", 3)
    plug_nic(server, "haltap0", 4, device=False)  # nobody waits for what is no port
    (server / "run/udev/data/n2").write_text("I:1\n")

    def through() -> None:
        (server / "sys/class/net/eth0").rename(server / "sys/class/net/enp5s0")
        (server / "run/udev/data/n3").write_text("I:2\n")

    waits = meanwhile(monkeypatch, lambda: None, through)
    machine, coming = settled.read(str(server), 60.0)
    assert ([nic.name for nic in machine.nics], coming) == (["eno1", "enp5s0"], ())
    assert len(waits) == 2
    (server / "run/udev/data/n3").unlink()
    assert settled.read(str(server), 0.0)[1] == ("enp5s0",)


def test_a_nic_that_is_lent_whole_is_not_waited_for(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch)
    lent = Nic("eno7", "00:1b:21:00:00:07", "ixgbe", "pci", "0000:07:00.0", None, None, None, "", (), None, lent=True)
    read = facts.read
    monkeypatch.setattr(facts, "read", lambda root: replace(read(root), nics=(lent,)))
    assert settled.read(str(server), 60.0)[1] == ()


def test_one_that_udev_never_sees_to_is_told(server: Path) -> None:
    plug(server, "sdb", "8:16")
    assert places(server, 0.0) == ({"sda": "bay-1", "sdb": ""}, ("sdb",))


def test_without_udev_there_is_nothing_to_wait_for(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(server / "run/udev")
    plug(server, "sdb", "8:16")
    meanwhile(monkeypatch)
    assert places(server) == ({"sda": "", "sdb": ""}, ())
