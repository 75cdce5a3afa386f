"""Ethernet frames, read and built: as much as a LAN peer of a simulated server needs.

What is not understood (another protocol, a fragment, a wrong checksum, a header that is cut off) stays what it was,
:class:`Unknown`; nobody has to expect an exception from what a server sends but for a frame without an Ethernet header.
Numbers are as in RFC 826 (ARP), 791 (IPv4), 792 (ICMP), 768 (UDP), 9293 (TCP), and IEEE 802.1Q.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, ClassVar, Optional, Union

BROADCAST = "ff:ff:ff:ff:ff:ff"
SHORTEST = 60  # bytes, without the checksum that no emulated wire carries
_VLAN = 0x8100
_ANY_MAC = "00:00:00:00:00:00"


class Flag(enum.IntFlag):
    """What a TCP segment says beside its data."""

    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    PSH = 0x08
    ACK = 0x10
    URG = 0x20


@dataclass(frozen=True)
class Unknown:
    """A payload that is not understood here.

    :ivar number: the EtherType, or the IP protocol
    """

    number: int
    data: bytes

    def pack(self, _addresses: bytes = b"") -> bytes:
        return self.data


@dataclass(frozen=True)
class Tcp:
    """A TCP segment. Options are neither read nor written."""

    number: ClassVar[int] = 6

    source_port: int
    destination_port: int
    sequence: int
    acknowledgement: int
    flags: Flag
    window: int = 0xFFFF
    data: bytes = b""

    def pack(self, addresses: bytes) -> bytes:
        ports = (self.source_port, self.destination_port)
        head = _pack(">HHIIBBHHH", *ports, self.sequence, self.acknowledgement, 5 << 4, self.flags, self.window, 0, 0)
        return _with_checksum(head + self.data, 16, _pseudo(addresses, self.number, len(head) + len(self.data)))

    @classmethod
    def parse(cls, untrusted: bytes, addresses: bytes) -> Tcp:
        source, destination, sequence, acknowledgement, words, flags, window = _unpack(">HHIIBBH", untrusted)
        offset = (words >> 4) * 4
        if not 20 <= offset <= len(untrusted):
            raise ValueError(f"a TCP header of {offset} bytes in a segment of {len(untrusted)}")
        _verify(_pseudo(addresses, cls.number, len(untrusted)) + untrusted)
        return cls(source, destination, sequence, acknowledgement, Flag(flags & 0x3F), window, untrusted[offset:])


@dataclass(frozen=True)
class Udp:
    """A UDP datagram."""

    number: ClassVar[int] = 17

    source_port: int
    destination_port: int
    data: bytes = b""

    def pack(self, addresses: bytes) -> bytes:
        length = 8 + len(self.data)
        head = _pack(">HHHH", self.source_port, self.destination_port, length, 0)
        # A sum of 0 would mean that there is none; its other form, 0xffff, is the same number.
        return _with_checksum(head + self.data, 6, _pseudo(addresses, self.number, length), zero=0xFFFF)

    @classmethod
    def parse(cls, untrusted: bytes, addresses: bytes) -> Udp:
        source, destination, length, checksum = _unpack(">HHHH", untrusted)
        if length != len(untrusted):
            raise ValueError(f"a UDP datagram of {length} bytes in {len(untrusted)}")
        if checksum:
            _verify(_pseudo(addresses, cls.number, length) + untrusted)
        return cls(source, destination, untrusted[8:])


@dataclass(frozen=True)
class Echo:
    """An ICMP echo request, or the reply to one."""

    number: ClassVar[int] = 1

    reply: bool
    identifier: int
    sequence: int
    data: bytes = b""

    def pack(self, _addresses: bytes = b"") -> bytes:
        kind = 0 if self.reply else 8
        return _with_checksum(_pack(">BBHHH", kind, 0, 0, self.identifier, self.sequence) + self.data, 2)

    @classmethod
    def parse(cls, untrusted: bytes, _addresses: bytes = b"") -> Echo:
        kind, code, _, identifier, sequence = _unpack(">BBHHH", untrusted)
        if kind not in (0, 8) or code:
            raise ValueError(f"ICMP type {kind}, code {code} is no echo")
        _verify(untrusted)
        return cls(kind == 0, identifier, sequence, untrusted[8:])


@dataclass(frozen=True)
class Ipv4:
    """An IPv4 packet, whole. Options are neither read nor written."""

    number: ClassVar[int] = 0x0800

    source: str
    destination: str
    payload: Union[Tcp, Udp, Echo, Unknown]
    ttl: int = 64
    identification: int = 0

    def pack(self) -> bytes:
        addresses = IPv4Address(self.source).packed + IPv4Address(self.destination).packed
        body = self.payload.pack(addresses)
        head = (0x45, 0, 20 + len(body), self.identification, 0, self.ttl, self.payload.number, 0)
        return _with_checksum(_pack(">BBHHHBBH", *head) + addresses, 10) + body

    @classmethod
    def parse(cls, untrusted: bytes) -> Ipv4:
        version, _, length, identification, fragment, ttl, protocol = _unpack(">BBHHHBB", untrusted)
        offset = (version & 0xF) * 4
        if version >> 4 != 4 or not 20 <= offset <= length <= len(untrusted):
            raise ValueError(f"no IPv4 packet: version {version >> 4}, {offset} of {length} of {len(untrusted)} bytes")
        if fragment & 0x3FFF:
            raise ValueError("a fragment of an IPv4 packet")
        _verify(untrusted[:offset])
        addresses, body = untrusted[12:20], untrusted[offset:length]
        payload: Union[Tcp, Udp, Echo, Unknown] = Unknown(protocol, body)
        for known in (Tcp, Udp, Echo):
            if known.number == protocol:
                payload = _or_unknown(known.parse, protocol, body, addresses)
        return cls(str(IPv4Address(addresses[:4])), str(IPv4Address(addresses[4:])), payload, ttl, identification)


@dataclass(frozen=True)
class Arp:
    """Who has an address (a request), or that one has it (a reply)."""

    number: ClassVar[int] = 0x0806

    reply: bool
    sender_mac: str
    sender: str
    target: str
    target_mac: str = _ANY_MAC

    def pack(self) -> bytes:
        sender, target = IPv4Address(self.sender).packed, IPv4Address(self.target).packed
        head = _pack(">HHBBH", 1, Ipv4.number, 6, 4, 2 if self.reply else 1)
        return head + _mac(self.sender_mac) + sender + _mac(self.target_mac) + target

    @classmethod
    def parse(cls, untrusted: bytes) -> Arp:
        *kind, operation, sender_mac, sender, target_mac, target = _unpack(">HHBBH6s4s6s4s", untrusted)
        if kind != [1, Ipv4.number, 6, 4] or operation not in (1, 2):
            raise ValueError(f"ARP of kind {kind}, operation {operation}")
        addresses = str(IPv4Address(sender)), str(IPv4Address(target))
        return cls(operation == 2, _mac_text(sender_mac), *addresses, _mac_text(target_mac))


@dataclass(frozen=True)
class Ethernet:
    """An Ethernet frame.

    :ivar tag: what 802.1Q adds: priority and VLAN; the VLAN is its lower 12 bits
    """

    destination: str
    source: str
    payload: Union[Ipv4, Arp, Unknown]
    tag: Optional[int] = None

    def pack(self) -> bytes:
        """The frame as it is on the wire, padded to the shortest that Ethernet allows.

        :raise ValueError: a field does not hold its value
        """
        tag = b"" if self.tag is None else _pack(">HH", _VLAN, self.tag)
        head = _mac(self.destination) + _mac(self.source) + tag + _pack(">H", self.payload.number)
        return (head + self.payload.pack()).ljust(SHORTEST, b"\0")

    @classmethod
    def parse(cls, untrusted: bytes) -> Ethernet:
        """:raise ValueError: there is no whole Ethernet header"""
        destination, source, number = _unpack(">6s6sH", untrusted)
        tag, body = None, untrusted[14:]
        if number == _VLAN:
            tag, number = _unpack(">HH", body)
            body = body[4:]
        payload: Union[Ipv4, Arp, Unknown] = Unknown(number, body)
        for known in (Ipv4, Arp):
            if known.number == number:
                payload = _or_unknown(known.parse, number, body)
        return cls(_mac_text(destination), _mac_text(source), payload, tag)


def _or_unknown(parse: Any, number: int, untrusted: bytes, *addresses: bytes) -> Any:
    try:
        return parse(untrusted, *addresses)
    except ValueError:
        return Unknown(number, untrusted)


def _pack(form: str, *values: int) -> bytes:
    try:
        return struct.pack(form, *values)
    except struct.error as error:
        raise ValueError(f"{values} do not fit their fields: {error}") from None


def _unpack(form: str, untrusted: bytes) -> tuple[Any, ...]:
    if len(untrusted) < struct.calcsize(form):
        raise ValueError(f"a header of {struct.calcsize(form)} bytes is cut off after {len(untrusted)}")
    return struct.unpack_from(form, untrusted)


def _mac(text: str) -> bytes:
    raw = bytes.fromhex(text.replace(":", ""))
    if len(raw) != 6:
        raise ValueError(f"{text!r} is no MAC address")
    return raw


def _mac_text(raw: bytes) -> str:
    return raw.hex(":")


def _pseudo(addresses: bytes, protocol: int, length: int) -> bytes:
    return addresses + _pack(">HH", protocol, length)


def _checksum(data: bytes) -> int:
    total = int.from_bytes(data + b"\0" * (len(data) % 2), "big") % 0xFFFF
    # The ones' complement sum: 0 comes out only of nothing but zeros, else its other form.
    return 0xFFFF - (total or (0xFFFF if any(data) else 0))


def _with_checksum(data: bytes, offset: int, pseudo: bytes = b"", zero: int = 0) -> bytes:
    return data[:offset] + _pack(">H", _checksum(pseudo + data) or zero) + data[offset + 2 :]


def _verify(untrusted: bytes) -> None:
    if _checksum(untrusted):
        raise ValueError("a wrong checksum")
