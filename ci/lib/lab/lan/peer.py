"""The other end of a simulated server's LAN: what answers there, and everything that came from the server.

QEMU's ``-netdev dgram`` over unix sockets sends every Ethernet frame as one datagram, so a peer needs no privilege and
no network of this machine. A thread plays its :class:`~lab.lan.station.Station`. It does not mind when the server is
not there, goes, or comes back: as on a cable, what is sent meanwhile is lost.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Callable, Optional

from lab.errors import LabError
from lab.lan import lacp
from lab.lan.capture import Capture
from lab.lan.frames import BROADCAST, Arp, Echo, Ethernet, Ipv4
from lab.lan.station import Station, random

PATIENCE = 1.0  # seconds, until a question is asked again
LONGEST_PATIENCE = 8.0
_LONGEST = 0x40000
# Nobody has the other end open; it is being closed; it is not emptied as fast as we fill it.
_LOSSES = (errno.ENOENT, errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.EAGAIN, errno.ENOBUFS)


@dataclass(frozen=True)
class Received:
    """A frame that came from the server.

    :ivar monotonic: when, in seconds of the monotonic clock
    :ivar wall: when, in seconds since 1970
    """

    monotonic: float
    wall: float
    frame: Ethernet


class Peer:
    """Is on the LAN as long as it is entered.

    :param local: QEMU's ``remote.path``: a socket that is made here, in place of an older one
    :param remote: QEMU's ``local.path``
    :param address: its IPv4 address
    :param capture: a pcap file of all frames, in both directions
    :param mac: derived from the address if not given
    """

    def __init__(
        self, local: Path, remote: Path, capture: Path, address: str = "10.77.0.1", mac: Optional[str] = None
    ) -> None:
        self.address = address
        self.mac = mac or "02:00:" + IPv4Address(address).packed.hex(":")
        self._station = Station(self.address, self.mac)
        self._local, self._remote = local, str(remote)
        self._capture_path = capture
        self._changed = threading.Condition()  # guards everything below; told when the thread has done something
        self._frames: list[Received] = []
        self._thread = threading.Thread(target=self._serve, name=f"peer {address}", daemon=True)

    def __enter__(self) -> Peer:
        with contextlib.ExitStack() as stack:
            self._capture = stack.enter_context(Capture(self._capture_path))
            self._socket = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            self._socket.setblocking(False)
            self._wake, self._woken = (stack.enter_context(end) for end in socket.socketpair())
            self._local.unlink(missing_ok=True)
            try:
                self._socket.bind(str(self._local))
            except OSError as error:
                raise LabError(f"{self._local} cannot be the LAN's socket: {error.strerror or error}") from None
            stack.callback(self._local.unlink, missing_ok=True)
            self._thread.start()
            stack.callback(self._thread.join)
            stack.callback(self._wake.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._stack.close()

    def send(self, frame: bytes) -> bool:
        """Send a frame as it is.

        :return: False: it was lost, for nobody is there or the wire is full
        """
        with self._changed:
            try:
                self._socket.sendto(frame, self._remote)
            except OSError as error:
                if error.errno not in _LOSSES:
                    raise
                return False
            self._capture.add(time.time(), frame)
            return True

    def aggregate(self, system: str, number: int) -> None:
        """Be port *number*, from 1, of the switch with this MAC address, and speak LACP."""
        with self._changed:
            self._station.lacp = lacp.Port(system, number)

    def mark(self) -> int:
        """This moment, for ``since``: what was received before does not count."""
        with self._changed:
            return len(self._frames)

    def frames_since(self, mark: int = 0) -> list[Received]:
        with self._changed:
            return self._frames[mark:]

    def seen(self, since: int = 0) -> Counter[str]:
        """Which MAC addresses frames came from, and how many."""
        return Counter(received.frame.source for received in self.frames_since(since))

    def wait_for(self, predicate: Callable[[Ethernet], bool], seconds: float, since: int = 0) -> Received:
        """The first frame of which the predicate is true, now or when it comes.

        :raise LabError: none came in time
        """
        received = self._wait_for(predicate, time.monotonic() + seconds, since)
        if received is None:
            raise LabError(f"no such frame came to {self.address} within {seconds:g} s; see {self._capture_path}")
        return received

    def ping(self, address: str, count: int = 1, seconds: float = 10.0) -> list[float]:
        """Ask for its MAC address, then send echo requests, one after the other, until so many were answered.

        :return: the round trips' seconds; fewer than asked for, or none, if the time was up first
        """
        deadline = time.monotonic() + seconds
        round_trips: list[float] = []
        mac = self._resolve(address, deadline)
        identifier, sequence, patience = random(2), 0, PATIENCE
        while mac and len(round_trips) < count and time.monotonic() < deadline:
            sequence = (sequence + 1) % 0x10000
            mark, sent = self.mark(), time.monotonic()
            self.send(self._station.packet(mac, address, Echo(False, identifier, sequence)).pack())
            answer = _from(address, Echo(True, identifier, sequence))
            received = self._wait_for(answer, min(deadline, sent + patience), mark)
            if received is not None:
                round_trips.append(received.monotonic - sent)
            else:
                patience = min(patience * 2, LONGEST_PATIENCE)
        return round_trips

    def fetch(self, address: str, port: int, request: bytes, seconds: float = 30.0) -> bytes:
        """Connect by TCP, send the request and nothing more, and receive until the other end closes.

        :raise LabError: it does not answer, refuses, or has not finished in time
        """
        deadline = time.monotonic() + seconds
        end = f"{address}, TCP port {port}"
        mac = self._resolve(address, deadline)
        if mac is None:
            raise LabError(f"{end}: nobody answers to ARP within {seconds:g} s")
        with self._changed:
            connection, frames = self._station.connect(mac, address, port, request, time.monotonic())
            self._send(frames)
            self._wake.send(b"!")  # the thread is to look at this connection's clock
            self._changed.wait_for(lambda: connection.ended or connection.reset, deadline - time.monotonic())
            if connection.ended:
                return bytes(connection.received)
            so_far = f"{len(connection.received)} bytes came" if connection.connected else "there was no connection"
            if connection.reset:
                raise LabError(f"{end}: {'the connection was reset' if connection.connected else 'refused'}, {so_far}")
            connection.forget()
            raise LabError(f"{end}: {so_far}, and no end within {seconds:g} s")

    def _wait_for(self, predicate: Callable[[Ethernet], bool], deadline: float, since: int) -> Optional[Received]:
        with self._changed:
            while True:
                for received in self._frames[since:]:
                    if predicate(received.frame):
                        return received
                since = len(self._frames)
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)

    def _resolve(self, address: str, deadline: float) -> Optional[str]:
        """The MAC address of an IP address, always asked for anew: servers come back with another one."""
        mark = self.mark()
        while time.monotonic() < deadline:
            self.send(Ethernet(BROADCAST, self.mac, Arp(False, self.mac, self.address, address)).pack())
            received = self._wait_for(
                lambda frame: (
                    isinstance(frame.payload, Arp) and frame.payload.reply and frame.payload.sender == address
                ),
                min(deadline, time.monotonic() + PATIENCE),
                mark,
            )
            if received is not None and isinstance(received.frame.payload, Arp):
                return received.frame.payload.sender_mac
        return None

    def _send(self, frames: list[Ethernet]) -> None:
        for frame in frames:
            self.send(frame.pack())

    def _serve(self) -> None:
        """The thread: until the other end of its wake-up socket is closed."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                with self._changed:
                    due = self._station.due
                ready = selector.select(None if due is None else max(due - time.monotonic(), 0))
                if any(key.fileobj is self._woken for key, _ in ready) and not self._woken.recv(64):
                    return
                with self._changed:
                    for untrusted in self._arrived():
                        self._receive(untrusted)
                    self._send(self._station.overdue(time.monotonic()))
                    self._changed.notify_all()

    def _arrived(self) -> Iterator[bytes]:
        with contextlib.suppress(BlockingIOError):
            while True:
                yield self._socket.recv(_LONGEST)

    def _receive(self, untrusted: bytes) -> None:
        wall = time.time()
        self._capture.add(wall, untrusted)
        try:
            frame = Ethernet.parse(untrusted)
        except ValueError:
            return  # it is in the capture, and nothing can be said of it
        self._frames.append(Received(time.monotonic(), wall, frame))
        self._send(self._station.handle(frame, time.monotonic()))


def _from(address: str, payload: Echo) -> Callable[[Ethernet], bool]:
    return lambda frame: (
        isinstance(frame.payload, Ipv4) and frame.payload.source == address and frame.payload.payload == payload
    )
