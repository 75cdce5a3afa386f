"""``ci/bench udev``: from an event of udev's to the command that gives QEMU the device, and how that grows.

The resident's loop is the real one. The server that devices are plugged into and the QEMU are the FAKES of its tests,
because nobody plugs devices into the machine that measures. So these are hal-udev's own costs, without those of the
kernel, of udev's rules and of QEMU.

The other side is what administrators do without HAL, a rule of udev's with ``virsh attach-device``. Only the least that
it can take is measured: virsh comes up, connects to libvirt's test driver, which is in its own process, and asks for a
domain's state. A real one reads a device's description, and waits for a daemon and for a QEMU, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, Callable, Optional
from unittest import mock

from benchmarks.libvirt import NOT_INSTALLED
from benchmarks.measure import BenchError, Row, Variant, interleave, median_of
from hal_core import paths
from hal_core.testing import synthetic
from hal_udev.config import UdevConfig
from hal_udev.plan import product
from hal_udev.resident.loop import Loop
from hal_udev.testing.server import FakeServer, ModelQemu

MOST = 127  # devices of a bus (USB 2.0, 9.4.6: seven bits)
_BUSES = {f"xhci{number}.0": 15 for number in range(9)}  # more than any product has: places are not what is measured
_ALREADY = (0, 31, MOST - 1)  # plugged in before the one that is measured
_AT_START = 32  # devices of a product that starts
_MEMORY = "/dev/shm"  # noqa: S108 - only where directories of random names are made
_PATIENCE = 60.0  # seconds
_RUNS = 3  # of virsh, per round
_REST = 0.3  # seconds in which the resident ends what it does after its last device


def measure(cache: Path, rounds: int) -> list[Row]:
    """:param cache: not used; every benchmark gets it.

    :raise BenchError: a device does not arrive.
    """
    variants: dict[str, Variant] = {f"{already} before": _plugged_in(already) for already in _ALREADY}
    variants["new"] = _plugged_in(0, known=False)
    variants["start"] = lambda: {"seconds": _run(_started)}
    virsh = shutil.which("virsh")
    if virsh:
        command = [virsh, "-c", "test:///default", "domstate", "test"]
        variants["virsh"] = lambda: {"seconds": median_of(_RUNS, command, os.environ)}
    samples = interleave("devices", variants, rounds)
    names = {already: f"event → device_add, {already} devices there before" for already in _ALREADY}
    rows = [
        samples.median(name, f"{already} before seconds", "ms", 1e3, 5 if already == 0 else None)
        for already, name in names.items()
    ]
    first, most = (f"{already} before seconds" for already in (_ALREADY[0], _ALREADY[-1]))
    rows.append(samples.ratio(f"event → device_add: {MOST} devices / 1", most, first))
    rows.append(samples.median("event → device_add, in a port that never had one", "new seconds", "ms", 1e3))
    rows.append(samples.median(f"a product starts: its {_AT_START} devices", "start seconds", "ms", 1e3, 1000))
    if virsh:
        rows.append(samples.median("virsh, the least that attach-device takes", "virsh seconds", "ms", 1e3))
    rows.append(samples.ratio("event → device_add / virsh", first, "virsh seconds", 0.1, NOT_INSTALLED))
    return rows


class _Qemu(ModelQemu):
    """Tells when it has so many devices."""

    def __init__(self, server: FakeServer) -> None:
        super().__init__(server, _BUSES, lambda _: None)
        self._changed = asyncio.Event()

    async def has(self, count: int) -> None:
        """:raise BenchError: it does not come to that."""

        async def wait() -> None:
            while len(self.devices) < count:
                self._changed.clear()
                await self._changed.wait()

        try:
            await asyncio.wait_for(wait(), _PATIENCE)
        except asyncio.TimeoutError:
            raise BenchError(f"the product has {len(self.devices)} of {count} devices") from None

    async def execute(
        self, command: str, arguments: Optional[Mapping[str, object]] = None, deadline: float = 3.0
    ) -> object:
        answer = await super().execute(command, arguments, deadline)
        self._changed.set()
        return answer


class _Bell:
    """Events of udev's, rung by hand."""

    def __init__(self) -> None:
        self._heard, self._rung = socket.socketpair()
        self._heard.setblocking(False)

    def fileno(self) -> int:
        return self._heard.fileno()

    def drain(self) -> None:
        self._heard.recv(4096)

    def ring(self) -> None:
        self._rung.send(b"!")

    def close(self) -> None:
        self._heard.close()
        self._rung.close()


def _plugged_in(already: int, known: bool = True) -> Variant:
    """:param known: the port has had a device before. Otherwise its place is written down first, on a disk."""
    port = f"9-{already + 1}"

    async def story() -> float:
        if known:
            async with _resident(already + 1) as (_, qemu, bell):
                qemu.start()
                await qemu.has(already + 1)
        async with _resident(already) as (server, qemu, bell):
            qemu.start()
            await qemu.has(already)
            await asyncio.sleep(_REST)
            begun = time.perf_counter()
            server.plug(synthetic.usb_plugged(port))
            bell.ring()
            await qemu.has(already + 1)
            return time.perf_counter() - begun

    return lambda: {"seconds": _run(story)}


async def _started() -> float:
    async with _resident(_AT_START) as (_, qemu, _bell):
        begun = time.perf_counter()
        qemu.start()
        await qemu.has(_AT_START)
        return time.perf_counter() - begun


def _run(story: Callable[[], Any]) -> float:
    with _directories():
        seconds: float = asyncio.run(story())
    return seconds


@contextlib.contextmanager
def _directories() -> Iterator[None]:
    """None of this machine's own; what is in memory on a host is in memory here."""
    names = {"HAL_CONFIG_DIR": "etc", "HAL_DEFAULTS_DIR": "lib", "HAL_STATE_DIR": "state"}
    memory = _MEMORY if os.path.isdir(_MEMORY) else None
    with tempfile.TemporaryDirectory(prefix="hal-bench-") as base, tempfile.TemporaryDirectory(dir=memory) as run:
        there = {"HAL_RUN_DIR": run, **{variable: os.path.join(base, name) for variable, name in names.items()}}
        for directory in [*(os.path.join(base, name) for name in names.values()), os.path.join(run, "udev")]:
            os.mkdir(directory)
        with mock.patch.dict(os.environ, there):
            buses = [{"bus": bus, "ports": ports} for bus, ports in _BUSES.items()]
            Path(product.path(paths.run_dir())).write_text(json.dumps({"usb_buses": buses, "serial": []}))
            yield


@contextlib.asynccontextmanager
async def _resident(count: int) -> AsyncIterator[tuple[FakeServer, _Qemu, _Bell]]:
    """The loop, and so many devices; the product is still to be started."""
    server, bell = FakeServer(), _Bell()
    for number in range(count):
        server.plug(synthetic.usb_plugged(f"9-{number + 1}"))
    qemu = _Qemu(server)
    loop = Loop(server, UdevConfig(), paths.run_dir(), lambda _: None, qemu)
    qemu.tell = loop._event  # as its own session would
    running = asyncio.create_task(loop.run(bell))
    try:
        yield server, qemu, bell
    finally:
        loop.stop()
        await asyncio.wait_for(running, _PATIENCE)
        bell.close()
