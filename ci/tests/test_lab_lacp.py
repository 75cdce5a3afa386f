"""The switch's end of a bond: what it answers is what Linux' bonding driver (and IEEE 802.1AX) expect."""

from __future__ import annotations

import pytest

from lab.lan.frames import Ethernet, Unknown
from lab.lan.lacp import ADDRESS, Port
from lab.lan.station import Station

SWITCH, BOND, MAC = "02:00:00:00:00:aa", "00:1b:21:0a:00:01", "02:00:0a:4d:00:01"
# As Linux 6.1 sends it from a bond that knows no partner yet.
ACTOR = bytes.fromhex("ffff 001b210a0001 0009 00ff 0002 4f 000000")
FRAME = Ethernet(
    ADDRESS,
    BOND,
    Unknown(
        0x8809,
        bytes.fromhex("0101 0114")
        + ACTOR
        + bytes.fromhex("0214 ffff 000000000000 0001 00ff 0001 01 000000 0310 0000")
        + bytes(64),
    ),
)


def test_the_answer_returns_what_was_said_and_lets_the_port_in() -> None:
    answer = Port(SWITCH, 2).answer(FRAME, MAC)
    assert answer is not None
    assert (answer.destination, answer.source) == (ADDRESS, MAC)
    assert Ethernet.parse(answer.pack()) == answer
    assert isinstance(answer.payload, Unknown)
    said = answer.payload.data
    assert len(said) == 110
    assert said[:4] == bytes.fromhex("0101 0114")
    assert said[4:20] == bytes.fromhex("8000 0200000000aa 0001 8000 0002 3f 00")
    assert said[22:24] == bytes.fromhex("0214")
    assert said[24:42] == ACTOR
    assert said[42:46] == bytes.fromhex("0310 0000")


@pytest.mark.parametrize(
    "frame",
    [
        Ethernet(ADDRESS, BOND, Unknown(0x8809, b"")),
        Ethernet(ADDRESS, BOND, Unknown(0x8809, bytes.fromhex("0101 0114 ffff"))),
        Ethernet(ADDRESS, BOND, Unknown(0x8809, bytes.fromhex("0201 0114") + bytes(106))),  # the marker protocol
        Ethernet("01:80:c2:00:00:0e", BOND, FRAME.payload),
        Ethernet(ADDRESS, BOND, Unknown(0x88CC, FRAME.payload.pack())),
    ],
)
def test_it_says_nothing_to_anything_else(frame: Ethernet) -> None:
    assert Port(SWITCH, 1).answer(frame, MAC) is None


def test_a_station_is_a_switchs_port_only_when_it_is_told_so() -> None:
    station = Station("10.77.0.1", MAC)
    assert station.handle(FRAME, 0.0) == []
    station.lacp = Port(SWITCH, 1)
    assert [answer.source for answer in station.handle(FRAME, 0.0)] == [MAC]
