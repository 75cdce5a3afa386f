"""Two stations on a wire that loses, doubles and reorders: time is a number here, and minutes take milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.lan.frames import BROADCAST, Arp, Echo, Ethernet, Flag, Ipv4, Tcp, Udp, Unknown
from lab.lan.station import ECHO, Station
from lab.lan.tcp import Connection

CLIENT, SERVER = "10.77.0.1", "10.77.0.2"
CLIENT_MAC, SERVER_MAC = "02:00:0a:4d:00:01", "52:54:00:00:00:02"
END = 10_000.0  # seconds


class Wire:
    """Carries frames between two stations until nothing is left to be said.

    :param fates: of each frame: how often it arrives. Then everything arrives once.
    """

    def __init__(self, fates: Iterator[int]) -> None:
        self.now = 1000.0
        self.client, self.server = Station(CLIENT, CLIENT_MAC), Station(SERVER, SERVER_MAC)
        self._fates = fates
        self._under_way: list[Ethernet] = []

    def carry(self, frames: list[Ethernet]) -> None:
        self._under_way += frames
        while self.now < END:
            while self._under_way:
                frame = self._under_way.pop(0)
                for _ in range(next(self._fates, 1)):
                    station = self.server if frame.destination == SERVER_MAC else self.client
                    self._under_way += station.handle(Ethernet.parse(frame.pack()), self.now)
                self.now += 0.1
            due = [station.due for station in (self.client, self.server) if station.due is not None]
            if not due:
                return
            self.now = max(self.now, min(due))
            self._under_way += self.client.overdue(self.now) + self.server.overdue(self.now)

    def fetch(self, port: int, request: bytes) -> Connection:
        connection, frames = self.client.connect(SERVER_MAC, SERVER, port, request, self.now)
        self.carry(frames)
        return connection


@settings(deadline=None)
@given(st.binary(max_size=3000), st.lists(st.sampled_from((0, 0, 1, 1, 1, 2)), max_size=30))
def test_everything_comes_back_whatever_the_wire_does(request: bytes, fates: list[int]) -> None:
    connection = Wire(iter(fates)).fetch(ECHO, request)
    assert connection.received == request
    assert connection.ended


def test_a_good_wire_needs_no_repetition() -> None:
    wire = Wire(iter(()))
    assert wire.fetch(ECHO, b"hello").received == b"hello"
    assert wire.now < 1002


def test_another_port_is_refused() -> None:
    connection = Wire(iter(())).fetch(80, b"GET / HTTP/1.0\r\n\r\n")
    assert connection.reset
    assert not connection.connected


def test_nobody_there_is_given_up() -> None:
    wire = Wire(iter(lambda: 0, 1))
    connection = wire.fetch(ECHO, b"hello")
    assert connection.reset
    assert 1060 < wire.now < 1120
    assert wire.client.due is None


def test_a_small_window_is_respected_and_one_that_is_shut_is_tried() -> None:
    connection = Connection(1, 2, 100)
    (syn,) = connection.connect(0.0)
    assert syn.flags == Flag.SYN
    connection.send(b"abcdef", 0.0)
    sent = connection.handle(Tcp(2, 1, 500, 101, Flag.SYN | Flag.ACK, window=4), 0.1)
    assert [segment.data for segment in sent] == [b"abcd"]
    assert connection.handle(Tcp(2, 1, 501, 105, Flag.ACK, window=0), 0.2)[0].data == b"e"
    assert connection.again(0.3) == []
    assert connection.due is not None
    assert connection.again(connection.due)[0].data == b"e"


def test_a_reset_from_somewhere_else_is_not_believed() -> None:
    connection = Connection(1, 2, 100)
    connection.connect(0.0)
    connection.handle(Tcp(2, 1, 0, 77, Flag.RST | Flag.ACK), 0.1)
    assert not connection.reset
    connection.handle(Tcp(2, 1, 500, 101, Flag.SYN | Flag.ACK), 0.1)
    connection.handle(Tcp(2, 1, 400, 101, Flag.RST), 0.2)
    assert not connection.reset
    connection.handle(Tcp(2, 1, 501, 101, Flag.RST), 0.3)
    assert connection.reset


def arrive(payload: object, destination: str = CLIENT_MAC, tag: Optional[int] = None) -> list[Ethernet]:
    frame = Ethernet(destination, SERVER_MAC, payload, tag)  # type: ignore[arg-type]
    return Station(CLIENT, CLIENT_MAC).handle(frame, 0.0)


def test_it_answers_arp() -> None:
    question = Arp(False, SERVER_MAC, SERVER, CLIENT)
    (answer,) = arrive(question, BROADCAST)
    assert answer == Ethernet(SERVER_MAC, CLIENT_MAC, Arp(True, CLIENT_MAC, CLIENT, SERVER, SERVER_MAC))


def test_it_answers_a_ping_and_echoes_udp() -> None:
    for question, answer in (
        (Echo(False, 5, 6, b"x"), Echo(True, 5, 6, b"x")),
        (Udp(99, ECHO, b"x"), Udp(ECHO, 99, b"x")),
    ):
        assert arrive(Ipv4(SERVER, CLIENT, question)) == [
            Ethernet(SERVER_MAC, CLIENT_MAC, Ipv4(CLIENT, SERVER, answer))
        ]


@pytest.mark.parametrize(
    "payload",
    [
        Arp(False, SERVER_MAC, SERVER, "10.77.0.99"),
        Arp(True, SERVER_MAC, SERVER, CLIENT),
        Ipv4(SERVER, "10.77.0.99", Echo(False, 5, 6)),
        Ipv4(SERVER, CLIENT, Echo(True, 5, 6)),
        Ipv4(SERVER, CLIENT, Udp(ECHO, ECHO, b"two of these would never end")),
        Ipv4(SERVER, CLIENT, Udp(68, 67)),
        Ipv4(SERVER, CLIENT, Tcp(99, 80, 1, 1, Flag.RST)),
        Unknown(0x88CC, b""),
    ],
)
def test_everything_else_is_met_with_silence(payload: object) -> None:
    assert arrive(payload) == []


def test_what_is_for_somebody_else_or_in_a_vlan_is_not_for_it() -> None:
    ping = Ipv4(SERVER, CLIENT, Echo(False, 5, 6))
    assert arrive(ping, "02:00:00:00:00:99") == []
    assert arrive(ping, tag=5) == []
