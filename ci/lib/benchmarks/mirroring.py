"""A cable is pulled, and plugged in again: how soon QEMU is told to show the product. QEMU is a FAKE here."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import queue
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.measure import BenchError, Row, Variant, interleave
from benchmarks.netserver import nic, server
from hal_core.testing.fakeqmp import FakeQmp
from hal_netcfg.resident.mirror import GAP_SECONDS
from hal_netcfg.testing.host import Host

SECONDS = 0.1  # goal
LANS = 16
_PATIENCE = 10.0  # seconds
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1  # linux/sockios.h, linux/if.h


def rows(rounds: int) -> list[Row]:
    """:raise BenchError: QEMU is not told. :raise AssertionError: hal-netcfg does not run."""
    with _cables(1) as one, _cables(LANS) as many:
        variants: dict[str, Variant] = {
            "1 LAN": functools.partial(one.pull_and_plug, [0]),
            f"{LANS} LANs, one cable": functools.partial(many.pull_and_plug, [LANS // 2]),
            f"{LANS} LANs, all cables at once": functools.partial(many.pull_and_plug, list(range(LANS))),
        }
        samples = interleave("cables", variants, rounds)
    return [
        samples.median(f"cable {figure} → set_link: {name}", f"{name} {figure}", "ms", 1e3, SECONDS * 1e3)
        for name in variants
        for figure in ("pulled", "plugged in")
    ]


class _Cables:
    def __init__(self, host: Host, qemu: FakeQmp) -> None:
        self._host = host
        self._told: queue.SimpleQueue[tuple[float, str, bool]] = queue.SimpleQueue()
        self._socket = host.lan.socket(socket.AF_INET, socket.SOCK_DGRAM)
        qemu.on("set_link", self._note)

    def close(self) -> None:
        self._socket.close()

    def pull_and_plug(self, numbers: Sequence[int]) -> dict[str, float]:
        return {figure: self._switch(numbers, up) for figure, up in (("pulled", False), ("plugged in", True))}

    def wait(self, numbers: Sequence[int], up: bool) -> float:
        """When the last of these LANs was shown so; monotonic seconds.

        :raise BenchError: one was not in time.
        """
        shown: dict[str, bool] = {}
        wanted = {f"lan-{number}": up for number in numbers}
        moment = 0.0
        while any(shown.get(name) is not up for name in wanted):
            try:
                moment, name, link = self._told.get(timeout=_PATIENCE)
            except queue.Empty:
                raise BenchError(f"QEMU was not told within {_PATIENCE:.0f} s; it was told: {shown}") from None
            shown[name] = link
        return moment

    def _switch(self, numbers: Sequence[int], up: bool) -> float:
        # What follows another change at once is held back, and that is meant.
        select.select([], [], [], GAP_SECONDS)
        begun = time.monotonic()
        for number in numbers:
            request = struct.pack("16sH22x", self._host.peer(nic(number)).encode(), _IFF_UP if up else 0)
            fcntl.ioctl(self._socket, _SIOCSIFFLAGS, request)
        return self.wait(numbers, up) - begun

    def _note(self, arguments: dict[str, Any]) -> dict[str, object]:
        self._told.put((time.monotonic(), arguments["name"], arguments["up"]))
        return {}


@contextlib.contextmanager
def _cables(lans: int) -> Iterator[_Cables]:
    """All plugged in, and the product has been shown so."""
    with server(lans) as host:
        directory = host.run_dir / "qmp"
        directory.mkdir()
        with FakeQmp(directory / "netcfg") as qemu, contextlib.closing(_Cables(host, qemu)) as cables, host.resident():
            cables.wait(range(lans), True)
            yield cables
