"""Two peers back to back: what one asks, the other answers, over real sockets."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.lan import capture
from lab.lan.frames import BROADCAST, Arp, Echo, Ethernet, Ipv4, Udp
from lab.lan.peer import Peer
from lab.lan.station import ECHO

US, THEM = "10.77.0.1", "10.77.0.2"
SECONDS = 20.0  # far more than anything here takes


@contextmanager
def peer(place: Path, address: str, other: str) -> Iterator[Peer]:
    with Peer(place / address, place / other, place / f"{address}.pcap", address) as made:
        yield made


@pytest.fixture
def us(tmp_path: Path) -> Iterator[Peer]:
    with peer(tmp_path, US, THEM) as made:
        yield made


@pytest.fixture
def them(tmp_path: Path) -> Iterator[Peer]:
    with peer(tmp_path, THEM, US) as made:
        yield made


def test_ping(us: Peer, them: Peer) -> None:
    round_trips = us.ping(THEM, 3, SECONDS)
    assert len(round_trips) == 3
    assert all(0 < round_trip < SECONDS for round_trip in round_trips)
    assert them.seen() == {us.mac: 4}  # with its ARP request
    assert us.seen() == {them.mac: 4}


def test_nobody_answers_for_another_address(us: Peer, them: Peer) -> None:
    assert us.ping("10.77.0.99", 1, 0.05) == []
    assert them.wait_for(lambda frame: isinstance(frame.payload, Arp), SECONDS)


def test_fetch(us: Peer, them: Peer) -> None:
    request = bytes(range(256)) * 40
    assert us.fetch(THEM, ECHO, request, SECONDS) == request


def test_a_port_without_a_server_is_refused(us: Peer, them: Peer) -> None:
    with pytest.raises(LabError, match=r"10\.77\.0\.2, TCP port 80: refused"):
        us.fetch(THEM, 80, b"", SECONDS)


def test_fetch_from_nobody(us: Peer) -> None:
    with pytest.raises(LabError, match=r"nobody answers to ARP within 0\.05 s"):
        us.fetch(THEM, 80, b"", 0.05)


def test_the_capture_has_both_directions(us: Peer, them: Peer, tmp_path: Path) -> None:
    us.ping(THEM, 1, SECONDS)
    frames = [Ethernet.parse(captured.frame) for captured in capture.read(tmp_path / f"{US}.pcap")]
    assert [frame.source for frame in frames] == [us.mac, them.mac, us.mac, them.mac]
    assert [type(frame.payload) for frame in frames] == [Arp, Arp, Ipv4, Ipv4]


def test_waiting_for_what_comes_later(us: Peer, them: Peer) -> None:
    mark = us.mark()
    ping = Ethernet(us.mac, them.mac, Ipv4(THEM, US, Echo(False, 1, 2))).pack()
    late = threading.Timer(0.05, them.send, (ping,))
    late.start()
    received = us.wait_for(lambda frame: isinstance(frame.payload, Ipv4), SECONDS, mark)
    late.join()
    assert received.frame == Ethernet.parse(ping)
    assert us.frames_since(mark) == [received]
    assert us.frames_since(us.mark()) == []


def test_waiting_in_vain(us: Peer) -> None:
    with pytest.raises(LabError, match=r"no such frame came to 10\.77\.0\.1 within 0.05 s; see .*10\.77\.0\.1\.pcap"):
        us.wait_for(lambda _: True, 0.05)


def test_a_server_that_comes_goes_and_comes_back(us: Peer, tmp_path: Path) -> None:
    frame = Ethernet(BROADCAST, us.mac, Arp(False, us.mac, US, THEM)).pack()
    assert not us.send(frame)
    for _ in range(2):
        with peer(tmp_path, THEM, US) as server:
            assert us.ping(THEM, 1, SECONDS)
            assert server.seen()
    killed = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    killed.bind(str(tmp_path / THEM))
    killed.close()  # as one that is killed leaves it: a path with nobody behind it
    assert not us.send(frame)
    with peer(tmp_path, THEM, US):
        assert us.ping(THEM, 1, SECONDS)


def test_a_server_that_reads_nothing(us: Peer, tmp_path: Path) -> None:
    """What does not fit is lost, and nobody waits for it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stopped:
        stopped.bind(str(tmp_path / THEM))
        frame = Ethernet(BROADCAST, us.mac, Arp(False, us.mac, US, THEM)).pack()
        sent = [us.send(frame) for _ in range(3000)]
        assert sent[0]
        assert not sent[-1]


def test_garbage_is_captured_and_survived(us: Peer, them: Peer, tmp_path: Path) -> None:
    for garbage in (b"", b"short", bytes(14), b"\x02\0\x0a\x4d\0\1" + bytes(6) + b"\x08\0" + b"\xff" * 50):
        them.send(garbage)
    assert len(us.ping(THEM, 1, SECONDS)) == 1
    assert b"short" in [captured.frame for captured in capture.read(tmp_path / f"{US}.pcap")]


def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    (tmp_path / ("x" * 100)).mkdir()
    with pytest.raises(LabError, match="cannot be the LAN's socket: "), peer(tmp_path / ("x" * 100), US, THEM):
        pass


def test_udp_echo(us: Peer, them: Peer) -> None:
    us.send(Ethernet(them.mac, us.mac, Ipv4(US, THEM, Udp(1234, ECHO, b"hello"))).pack())
    received = us.wait_for(lambda frame: isinstance(frame.payload, Ipv4), SECONDS)
    assert isinstance(received.frame.payload, Ipv4)
    assert received.frame.payload.payload == Udp(ECHO, 1234, b"hello")


@contextmanager
def qemu(place: Path, mac: str) -> Iterator[subprocess.Popen[bytes]]:
    """A machine with nothing to boot, on the LAN of a peer :data:`US`, as :data:`THEM`; at the end it is killed."""
    sockets = f"local.type=unix,local.path={place / THEM},remote.type=unix,remote.path={place / US}"
    argv = [
        *("qemu-system-x86_64", "-nodefaults", "-display", "none", "-machine", "pc,accel=tcg", "-qmp", "stdio"),
        *("-netdev", f"dgram,id=lan0,{sockets}", "-device", f"e1000,netdev=lan0,mac={mac},romfile="),
        *("-object", f"filter-dump,id=dump,netdev=lan0,file={place / 'qemu.pcap'}"),
    ]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin
            assert process.stdout
            assert b"QMP" in process.stdout.readline()
            process.stdin.write(b'{"execute": "qmp_capabilities"}\n')
            process.stdin.flush()
            assert b"return" in process.stdout.readline()
            yield process
        finally:
            process.kill()


@pytest.mark.component
@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="there is no qemu-system-x86_64 here")
def test_a_real_qemu(us: Peer, tmp_path: Path) -> None:
    """It announces its NICs, and dumps what it receives; killed and started again, it is heard and served again."""
    for mac in ("52:54:00:00:00:02", "52:54:00:00:00:03"):
        with qemu(tmp_path, mac) as process:
            assert process.stdin
            process.stdin.write(
                b'{"execute": "announce-self", "arguments": {"initial": 10, "max": 10, "rounds": 2, "step": 0}}\n'
            )
            process.stdin.flush()
            us.wait_for(lambda frame, mac=mac: frame.source == mac, SECONDS)  # type: ignore[misc]
            question = Ethernet(BROADCAST, us.mac, Arp(False, us.mac, US, THEM)).pack()
            assert us.send(question)
            process.stdin.write(b'{"execute": "quit"}\n')
            process.stdin.flush()
            process.wait(SECONDS)
        assert question in [captured.frame for captured in capture.read(tmp_path / "qemu.pcap")]
