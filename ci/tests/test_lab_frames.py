"""Frames survive being packed and read, and nothing that a server may send raises anything unexpected."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.lan.frames import BROADCAST, SHORTEST, Arp, Echo, Ethernet, Flag, Ipv4, Tcp, Udp, Unknown

byte, word, double = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
data = st.binary(max_size=200)
macs = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
addresses = st.ip_addresses(v=4).map(str)

segments = st.builds(Tcp, word, word, double, double, st.integers(0, 0x3F).map(Flag), word, data)
datagrams = st.builds(Udp, word, word, data)
echoes = st.builds(Echo, st.booleans(), word, word, data)
others = st.builds(Unknown, byte.filter(lambda number: number not in (1, 6, 17)), data)
packets = st.builds(Ipv4, addresses, addresses, st.one_of(segments, datagrams, echoes, others), byte, word)
arps = st.builds(Arp, st.booleans(), macs, addresses, addresses, macs)
tags = st.none() | word
frames = st.builds(Ethernet, macs, macs, st.one_of(packets, arps), tags)


@given(frames)
def test_what_is_packed_is_read_again(frame: Ethernet) -> None:
    assert Ethernet.parse(frame.pack()) == frame


@given(macs, word.filter(lambda number: number not in (0x0800, 0x0806, 0x8100)), data, tags)
def test_an_unknown_payload_stays_as_it_is_but_for_the_padding(mac: str, number: int, body: bytes, tag: int) -> None:
    payload = Ethernet.parse(Ethernet(BROADCAST, mac, Unknown(number, body), tag).pack()).payload
    assert isinstance(payload, Unknown)
    assert payload.number == number
    assert payload.data.startswith(body)
    assert not any(payload.data[len(body) :])


@given(frames, st.integers(0, 300), st.binary(min_size=1, max_size=4))
def test_a_damaged_frame_is_a_frame_or_a_value_error(frame: Ethernet, place: int, damage: bytes) -> None:
    raw = frame.pack()
    for untrusted in (raw[:place], raw[:place] + damage + raw[place + len(damage) :]):
        try:
            assert isinstance(Ethernet.parse(untrusted), Ethernet)
        except ValueError:
            assert len(untrusted) < 18


@given(st.binary(max_size=100))
def test_so_are_arbitrary_bytes(untrusted: bytes) -> None:
    try:
        assert isinstance(Ethernet.parse(untrusted), Ethernet)
    except ValueError:
        assert len(untrusted) < 18


@given(packets, st.data())
def test_a_flipped_bit_is_never_believed(packet: Ipv4, choice: st.DataObject) -> None:
    """One bit cannot hide from the ones' complement sum; in a payload, it makes it unknown."""
    raw = bytearray(packet.pack())
    bit = choice.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    try:
        read = Ipv4.parse(bytes(raw))
    except ValueError:
        return
    assert isinstance(read.payload, Unknown) or _checksum_left_out(packet, raw)


def _checksum_left_out(packet: Ipv4, raw: bytearray) -> bool:
    return isinstance(packet.payload, Udp) and raw[26:28] == b"\0\0"


def test_a_real_arp_request() -> None:
    """As Linux sends it, with its padding."""
    raw = bytes.fromhex(
        "ffffffffffff 525400123456 0806 0001 0800 0604 0001 525400123456 0a4d0002 000000000000 0a4d0001"
    )
    frame = Ethernet.parse(raw + bytes(18))
    assert frame == Ethernet(BROADCAST, "52:54:00:12:34:56", Arp(False, "52:54:00:12:34:56", "10.77.0.2", "10.77.0.1"))
    assert frame.pack() == raw + bytes(18)
    assert len(frame.pack()) == SHORTEST


def test_a_real_ip_header() -> None:
    """Its checksum was computed elsewhere; the UDP datagram in it is made of zeros, and so is unknown."""
    head = bytes.fromhex("4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7")
    assert Ipv4.parse(head + bytes(95)) == Ipv4("192.168.0.1", "192.168.0.199", Unknown(17, bytes(95)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": "52:54:00:12:34"},
        {"source": "no address"},
        {"tag": 0x10000},
        {"payload": Ipv4("10.77.0.256", "10.77.0.2", Echo(False, 1, 1))},
        {"payload": Ipv4("10.77.0.1", "10.77.0.2", Echo(False, 1, 0x10000))},
        {"payload": Ipv4("10.77.0.1", "10.77.0.2", Unknown(99, bytes(0x10000)))},
    ],
)
def test_what_does_not_fit_is_a_value_error(wrong: dict[str, object]) -> None:
    frame = Ethernet(BROADCAST, "52:54:00:12:34:56", Unknown(0x88CC, b""))
    with pytest.raises(ValueError, match=r"."):
        dataclasses.replace(frame, **wrong).pack()  # type: ignore[arg-type]
