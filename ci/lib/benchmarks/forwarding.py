"""Frames between a NIC and the product, against a bridge that somebody makes by hand, which has no firewall.

One thread on one CPU sends a burst, and takes it out at the other end. Linux carries such a frame all the way within
the call that sends it, so this is work, and nobody waits to be woken; none may be lost. The bursts of both bridges
alternate: a machine that is shared is equally fast for that long, if for no longer.

HAL's bridge takes part without its firewall, too: that tells which of them costs what there is to be paid.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import socket
import statistics
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Callable

from benchmarks.measure import BenchError, Row, Variant, interleave
from benchmarks.netserver import mac, nic, server
from hal_netcfg.firewall import nft
from hal_netcfg.links import netfilter
from hal_netcfg.testing.host import Tap, frame
from hal_netcfg.testing.netns import PATIENCE, Namespace, wait_for

RATE, LATENCY = 1 / 0.98, 1.02  # goals: 98 % of the frames per second, 2 % more latency
_PRODUCT, _PEER = mac(0), "00:aa:00:00:00:01"
_CHECKSUM = 4  # bytes of a frame that only its cable sees
_SIZES = (64, 1500)  # bytes, with it
BURST = 64  # frames: what a tap and a packet socket keep
_BURSTS, _TRIPS = 150, 1500  # per round
_LARGEST = 2048  # bytes


@dataclass(frozen=True)
class Way:
    """Descriptors of both ends of it: each write sends a frame, each read takes one."""

    lan: int
    product: int


def rows(rounds: int) -> list[Row]:
    """:raise BenchError, AssertionError: frames do not pass."""
    with contextlib.ExitStack() as stack:
        made = {"hal": _hals(), "open": _hals(firewall=False), "plain": _by_hand()}
        ways = {name: stack.enter_context(way) for name, way in made.items()}
        for way in ways.values():
            _introduce(way)
        stack.enter_context(_on_one_cpu())
        bursts: dict[str, Variant] = {}
        for size in _SIZES:
            bursts[f"NIC → product, {size}-byte frames"] = functools.partial(_rates, ways, _inwards, size)
            bursts[f"product → NIC, {size}-byte frames"] = functools.partial(_rates, ways, _outwards, size)
        trips: dict[str, Variant] = {"latency": lambda: _alternate(ways, _there_and_back, _TRIPS)}
        samples = interleave("frames", {**bursts, **trips}, rounds)
    found = []
    for name in bursts:
        found.append(samples.median(f"{name}: HAL", f"{name} hal", "frames/s"))
        found.append(samples.median(f"{name}: plain bridge", f"{name} plain", "frames/s"))
        found.append(samples.ratio(f"{name}: plain bridge / HAL", f"{name} plain", f"{name} hal", RATE))
        title = f"{name}: plain bridge / HAL without its firewall"
        found.append(samples.ratio(title, f"{name} plain", f"{name} open"))
    name = "NIC → product → NIC, one frame"
    found.append(samples.median(f"{name}: HAL", "latency hal", "µs", 1e6))
    found.append(samples.median(f"{name}: plain bridge", "latency plain", "µs", 1e6))
    found.append(samples.ratio(f"{name}: HAL / plain bridge", "latency hal", "latency plain", LATENCY))
    found.append(samples.ratio(f"{name}: HAL without its firewall / plain bridge", "latency open", "latency plain"))
    return found


# --- the ways -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _hals(firewall: bool = True) -> Iterator[Way]:
    with server(1) as host:
        host.run("apply")
        if not firewall:
            with host.namespace.inside():
                nft.remove()
        with host.lan.packet_socket(host.peer(nic(0))) as lan, host.product("haltap0") as tap:
            yield Way(lan.fileno(), tap.fd)


@contextlib.contextmanager
def _by_hand() -> Iterator[Way]:
    """As quick as such a bridge can be: without br_netfilter, which HAL switches off, too."""
    with Namespace() as host, Namespace() as lan:
        with host.inside():
            list(netfilter.switch_off())
        host.ip(
            "link add br0 type bridge",
            f"link add nic0 type veth peer name lan0 netns {lan.path}",
            "tuntap add tap0 mode tap",
            *(f"link set {port} master br0 up" for port in ("nic0", "tap0")),
            "link set br0 up",
        )
        lan.ip("link set lan0 up")
        with contextlib.closing(Tap(host, "tap0")) as tap, lan.packet_socket("lan0") as sock:
            yield Way(sock.fileno(), tap.fd)


def _introduce(way: Way) -> None:
    """Send until something arrives on either side: then the bridge knows who is where, and forwards to nobody else."""
    for source, target, sent in (
        (way.product, way.lan, _packet(_PRODUCT, _PEER, 64)),
        (way.lan, way.product, _packet(_PEER, _PRODUCT, 64)),
    ):

        def arrives(source: int = source, target: int = target, sent: bytes = sent) -> bool:
            os.write(source, sent)
            return bool(select.select([target], [], [], 0.01)[0])

        wait_for(arrives, lambda: "no frame gets through the bridge")
    for fd in (way.lan, way.product):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.read(fd, _LARGEST)


def _packet(source: str, target: str, size: int) -> bytes:
    """IPv4, as most of what a bridge carries, and as a firewall looks at most closely."""
    addresses = {_PRODUCT: socket.inet_aton("10.0.0.1"), _PEER: socket.inet_aton("10.0.0.2")}
    length = size - _CHECKSUM - 14
    header = struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0, 64, socket.IPPROTO_UDP, 0)
    return frame(target, source, 0x0800, header + addresses[source] + addresses[target], size - _CHECKSUM)


# --- the stopwatch ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _on_one_cpu() -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})  # not the first, which gets most interrupts
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _rates(ways: Mapping[str, Way], carry: Callable[[Way, int], float], size: int) -> dict[str, float]:
    """Frames per second."""
    taken = _alternate(ways, lambda way: carry(way, size), _BURSTS)
    return {name: BURST / seconds for name, seconds in taken.items()}


def _alternate(ways: Mapping[str, Way], once: Callable[[Way], float], turns: int) -> dict[str, float]:
    """Seconds, the median of each; every turn begins with another one."""
    figures: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for turn in range(turns):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            figures[name].append(once(ways[name]))
    return {name: statistics.median(seconds) for name, seconds in figures.items()}


def _inwards(way: Way, size: int) -> float:
    return burst(way.lan, way.product, _packet(_PEER, _PRODUCT, size))


def _outwards(way: Way, size: int) -> float:
    return burst(way.product, way.lan, _packet(_PRODUCT, _PEER, size))


def burst(source: int, target: int, packet: bytes) -> float:
    """Seconds that it takes.

    :raise BenchError: not all of it arrives.
    """
    begun = time.perf_counter()
    for _ in range(BURST):
        os.write(source, packet)
    for _ in range(BURST):
        _take(target)
    return time.perf_counter() - begun


def _there_and_back(way: Way) -> float:
    there, back = _packet(_PEER, _PRODUCT, 64), _packet(_PRODUCT, _PEER, 64)
    begun = time.perf_counter()
    os.write(way.lan, there)
    _take(way.product)
    os.write(way.product, back)
    _take(way.lan)
    return time.perf_counter() - begun


def _take(fd: int) -> None:
    try:
        os.read(fd, _LARGEST)
    except BlockingIOError:
        # The kernel may have left the rest of the way to its ksoftirqd.
        if not select.select([fd], [], [], PATIENCE)[0]:
            raise BenchError("a frame was lost between the LAN and the product") from None
        os.read(fd, _LARGEST)
