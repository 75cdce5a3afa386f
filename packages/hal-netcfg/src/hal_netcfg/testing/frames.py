"""Ethernet frames made by hand, for what no socket would send: made-up addresses, VLAN tags, ARP that lies."""

from __future__ import annotations

import socket
import struct

TAGS: dict[str, tuple[int, ...]] = {
    "untagged": (),
    "802.1Q": (0x8100,),
    "802.1ad": (0x88A8,),
    "802.1ad + 802.1Q": (0x88A8, 0x8100),
    "802.1Q twice": (0x8100, 0x8100),
    "802.1ad twice": (0x88A8, 0x88A8),
}
_VLAN = 42
_MARK = b"made by hand"
_CHECKSUMS = {socket.IPPROTO_UDP: 6, socket.IPPROTO_TCP: 16, socket.IPPROTO_ICMPV6: 2}  # where they are


def ethernet(target: str, source: str, ether_type: int, payload: bytes, tags: tuple[int, ...] = ()) -> bytes:
    """A frame, as long as Ethernet wants it. :param tags: TPIDs of VLAN tags, the outermost first."""
    header = _mac(target) + _mac(source) + b"".join(struct.pack("!HH", tag, _VLAN) for tag in tags)
    return (header + struct.pack("!H", ether_type) + payload).ljust(60, b"\0")


def arp(target: str, source: str, sender_ip: str, target_ip: str, tags: tuple[int, ...] = ()) -> bytes:
    """An ARP request (RFC 826)."""
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    body += _mac(source) + socket.inet_aton(sender_ip) + bytes(6) + socket.inet_aton(target_ip)
    return ethernet(target, source, 0x0806, body, tags)


def ipv4(
    target: str, source: str, source_ip: str, target_ip: str, packet: tuple[int, bytes], tags: tuple[int, ...] = ()
) -> bytes:
    """An IPv4 packet. :param packet: protocol number and payload, from :func:`udp`, :func:`tcp_syn` or :func:`ping`."""
    protocol, payload = packet
    addresses = socket.inet_aton(source_ip) + socket.inet_aton(target_ip)
    if protocol == socket.IPPROTO_TCP:  # its checksum is over the addresses, too
        pseudo = addresses + struct.pack("!BBH", 0, protocol, len(payload))
        payload = payload[:16] + _checksum(pseudo + payload) + payload[18:]
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0) + addresses
    header = header[:10] + _checksum(header) + header[12:]
    return ethernet(target, source, 0x0800, header + payload, tags)


def ipv6(
    target: str, source: str, source_ip: str, target_ip: str, packet: tuple[int, bytes], tags: tuple[int, ...] = ()
) -> bytes:
    """An IPv6 packet. :param packet: as :func:`ipv4`'s; :func:`ping6` in place of :func:`ping`."""
    protocol, payload = packet
    addresses = socket.inet_pton(socket.AF_INET6, source_ip) + socket.inet_pton(socket.AF_INET6, target_ip)
    # Here all of them have one over the addresses (RFC 8200, 8.1).
    place = _CHECKSUMS[protocol]
    pseudo = addresses + struct.pack("!IxxxB", len(payload), protocol)
    payload = payload[:place] + _checksum(pseudo + payload) + payload[place + 2 :]
    header = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + addresses
    return ethernet(target, source, 0x86DD, header + payload, tags)


def udp(port: int, source: int = 40000) -> tuple[int, bytes]:
    return socket.IPPROTO_UDP, struct.pack("!HHHH", source, port, 8 + len(_MARK), 0) + _MARK  # 0: no checksum


def tcp_syn(port: int, source: int = 40000) -> tuple[int, bytes]:
    return socket.IPPROTO_TCP, struct.pack("!HHIIBBHHH", source, port, 1, 0, 5 << 4, 0x02, 1024, 0, 0)


def ping(identifier: int = 1) -> tuple[int, bytes]:
    message = struct.pack("!BBHHH", 8, 0, 0, identifier, 1) + _MARK
    return socket.IPPROTO_ICMP, message[:2] + _checksum(message) + message[4:]


def ping6() -> tuple[int, bytes]:
    return socket.IPPROTO_ICMPV6, struct.pack("!BBHHH", 128, 0, 0, 1, 1) + _MARK


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _checksum(data: bytes) -> bytes:
    """RFC 1071's."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data.ljust((len(data) + 1) // 2 * 2, b"\0")))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)
