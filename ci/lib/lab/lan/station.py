"""A station on a LAN, pure: frames and the time come in, frames go out.

It answers ARP and pings, echoes UDP and TCP on port 7, refuses every other TCP port, and opens TCP connections. It has
no routes: whoever sends it something gets the answer, by the MAC address it came from.
"""

from __future__ import annotations

import os
from typing import Optional, Union

from lab.lan import lacp
from lab.lan.frames import BROADCAST, Arp, Echo, Ethernet, Flag, Ipv4, Tcp, Udp
from lab.lan.tcp import Connection, refusal

ECHO = 7  # the port, RFC 862

_Key = tuple[str, int, int]  # the other end's address and port, and the port here


class Station:
    """Times are monotonic seconds.

    :param address: its IPv4 address
    :param mac: its MAC address
    :ivar lacp: the port of a switch that it is behind, where that port is part of a link aggregation
    """

    def __init__(self, address: str, mac: str) -> None:
        self.address = address
        self.mac = mac
        self.lacp: Optional[lacp.Port] = None
        self._connections: dict[_Key, tuple[Connection, str]] = {}
        self._port = random(2)

    @property
    def due(self) -> Optional[float]:
        """When :meth:`overdue` wants to be called."""
        return min((connection.due for connection, _ in self._connections.values() if connection.due), default=None)

    def handle(self, frame: Ethernet, now: float) -> list[Ethernet]:
        """What it answers to a frame, if it is for this station."""
        if self.lacp is not None and frame.destination == lacp.ADDRESS:
            said = self.lacp.answer(frame, self.mac)
            return [] if said is None else [said]
        untrusted = frame.payload
        if frame.destination not in (self.mac, BROADCAST) or frame.tag is not None:
            return []
        if isinstance(untrusted, Arp) and not untrusted.reply and untrusted.target == self.address:
            answer = Arp(True, self.mac, self.address, untrusted.sender, untrusted.sender_mac)
            return [Ethernet(frame.source, self.mac, answer)]
        if isinstance(untrusted, Ipv4) and untrusted.destination == self.address:
            answers = self._handle_ip(frame.source, untrusted.source, untrusted.payload, now)
            return [self.packet(frame.source, untrusted.source, answer) for answer in answers]
        return []

    def overdue(self, now: float) -> list[Ethernet]:
        """What is to be sent again, unanswered as it is; and what is done with is forgotten."""
        frames = []
        for key, (connection, mac) in list(self._connections.items()):
            frames += [self.packet(mac, key[0], segment) for segment in connection.again(now)]
            if connection.done:
                del self._connections[key]
        return frames

    def connect(
        self, mac: str, address: str, port: int, request: bytes, now: float
    ) -> tuple[Connection, list[Ethernet]]:
        """Open a TCP connection, send the request, and nothing more."""
        self._port = self._port % 0x3FFF + 1
        local_port = 0xC000 + self._port
        connection = Connection(local_port, port, random(4))
        self._connections[address, port, local_port] = (connection, mac)
        segments = [*connection.connect(now), *connection.send(request, now), *connection.finish(now)]
        return connection, [self.packet(mac, address, segment) for segment in segments]

    def packet(self, mac: str, address: str, payload: Union[Tcp, Udp, Echo]) -> Ethernet:
        """A packet from this station."""
        return Ethernet(mac, self.mac, Ipv4(self.address, address, payload))

    def _handle_ip(self, mac: str, address: str, untrusted: object, now: float) -> list[Union[Tcp, Udp, Echo]]:
        if isinstance(untrusted, Echo) and not untrusted.reply:
            return [Echo(True, untrusted.identifier, untrusted.sequence, untrusted.data)]
        if isinstance(untrusted, Udp) and untrusted.destination_port == ECHO != untrusted.source_port:
            return [Udp(ECHO, untrusted.source_port, untrusted.data)]
        if isinstance(untrusted, Tcp):
            return [*self._handle_tcp(mac, address, untrusted, now)]
        return []

    def _handle_tcp(self, mac: str, address: str, untrusted: Tcp, now: float) -> list[Tcp]:
        key = (address, untrusted.source_port, untrusted.destination_port)
        if key in self._connections:
            connection, _ = self._connections[key]
            return connection.handle(untrusted, now) + (_echo(connection, now) if key[2] == ECHO else [])
        if key[2] == ECHO and untrusted.flags & (Flag.SYN | Flag.ACK | Flag.RST) == Flag.SYN:
            connection = Connection(ECHO, untrusted.source_port, random(4))
            self._connections[key] = (connection, mac)
            return connection.accept(untrusted, now)
        return refusal(untrusted)


def random(size: int) -> int:
    """A number of so many bytes: whoever knew a station before shall not take a new connection for an old one."""
    return int.from_bytes(os.urandom(size), "big")


def _echo(connection: Connection, now: float) -> list[Tcp]:
    data = bytes(connection.received)
    connection.received.clear()
    return connection.send(data, now) + (connection.finish(now) if connection.ended else [])
