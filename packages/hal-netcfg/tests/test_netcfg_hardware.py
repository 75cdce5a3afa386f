"""NICs are read when an interface comes or goes; NetworkManager is told whose they are; events only wake."""

from __future__ import annotations

import configparser
import errno
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from hal_core.errors import HostError
from hal_core.machine import Nic
from hal_core.testing import synthetic
from hal_netcfg import unmanaged
from hal_netcfg.hardware import Hardware
from hal_netcfg.links import netfilter
from hal_netcfg.resident import events

# --- NICs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def interfaces(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    found = [(1, "lo"), (2, "eno1")]
    monkeypatch.setattr(socket, "if_nameindex", lambda: list(found))
    return found


def test_nics_are_read_again_when_an_interface_has_come_gone_or_got_another_name(
    interfaces: list[tuple[int, str]],
) -> None:
    reads = []

    def reader() -> Sequence[Nic]:
        reads.append(list(interfaces))
        return [synthetic.nic(0, name="eno1"), synthetic.nic(1, mac="")]

    hardware = Hardware(reader)
    assert hardware.nics() is hardware.nics()
    assert hardware.permanent() == {"eno1": "00:1b:21:00:00:00", "enp32s0f1": ""}
    assert len(reads) == 1
    for changed in ([(1, "lo"), (2, "eno1"), (3, "eno2")], [(1, "lo"), (3, "eno2")], [(1, "lo"), (3, "eno3")]):
        interfaces[:] = changed
        hardware.nics()
        assert reads[-1] == changed
    assert len(reads) == 4


def test_what_could_not_be_read_is_read_again(interfaces: list[tuple[int, str]]) -> None:
    answers = [[synthetic.nic(0)]]

    def reader() -> Sequence[Nic]:
        if not reads.pop():
            raise HostError("no such server")
        return answers[0]

    reads = [True, False]
    hardware = Hardware(reader)
    with pytest.raises(HostError):
        hardware.nics()
    assert hardware.nics() == tuple(answers[0])


# --- NetworkManager ---------------------------------------------------------------------------------------------------


def devices(directory: Path) -> list[str]:
    """As NetworkManager reads it: of several lines with one key, there must be none."""
    parser = configparser.ConfigParser(delimiters="=", strict=True)
    parser.read(directory / "90-hal-nics.conf")
    return [word for word in parser["keyfile"]["unmanaged-devices+"].split(";") if word]


def test_networkmanager_is_told_of_every_nic(tmp_path: Path) -> None:
    assert unmanaged.write(["eno2", "eno10", "eno1"], str(tmp_path))
    assert devices(tmp_path) == ["interface-name:eno1", "interface-name:eno10", "interface-name:eno2"]
    before = os.stat(tmp_path / "90-hal-nics.conf").st_ino
    assert not unmanaged.write(["eno1", "eno2", "eno10"], str(tmp_path)), "that is no news"
    assert os.stat(tmp_path / "90-hal-nics.conf").st_ino == before
    assert unmanaged.write([], str(tmp_path))
    assert devices(tmp_path) == []


def test_without_networkmanager_nobody_is_told(tmp_path: Path) -> None:
    assert not unmanaged.write(["eno1"], str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


# --- netfilter --------------------------------------------------------------------------------------------------------


def test_bridged_frames_are_kept_from_the_hosts_firewall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netfilter, "_DIRECTORY", str(tmp_path))
    assert list(netfilter.switch_off()) == [], "no br_netfilter, nothing to do"
    for name, value in (("arptables", "0"), ("iptables", "1"), ("ip6tables", "1")):
        (tmp_path / f"bridge-nf-call-{name}").write_text(f"{value}\n")
    assert sorted(netfilter.switch_off()) == ["bridge-nf-call-ip6tables off", "bridge-nf-call-iptables off"]
    assert {file.read_text().strip() for file in tmp_path.iterdir()} == {"0"}
    assert list(netfilter.switch_off()) == []


# --- events -----------------------------------------------------------------------------------------------------------


def test_all_events_that_are_there_are_taken_at_once() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ours.setblocking(False)
        for _ in range(20):
            theirs.send(b"x" * 5000)
        events.drain(ours)
        with pytest.raises(BlockingIOError):
            ours.recv(1)
        events.drain(ours)


def test_lost_events_are_as_good_as_events() -> None:
    class Overrun:
        """A netlink socket whose buffer was too small (netlink(7))."""

        def __init__(self) -> None:
            lost = OSError(errno.ENOBUFS, "No buffer space available")
            self.answers: list[bytes | OSError] = [b"x", lost, b"x", BlockingIOError()]

        def recv(self, size: int) -> bytes:
            answer = self.answers.pop(0)
            if isinstance(answer, OSError):
                raise answer
            return answer

    sock = Overrun()
    events.drain(sock)  # type: ignore[arg-type]
    assert sock.answers == []
