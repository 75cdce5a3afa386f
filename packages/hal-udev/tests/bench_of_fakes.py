"""The resident's loop with a FAKE server and a model of a QEMU, which a test drives."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from hal_core import paths
from hal_udev.config import UdevConfig
from hal_udev.plan import planfile
from hal_udev.resident.loop import Loop
from hal_udev.resident.rooms import Maker
from hal_udev.statusfile import STATUS
from hal_udev.testing.server import Bell, FakeServer, ModelQemu

PATIENCE = 20.0
BUSES = {"xhci.0": 15, "xhci2.0": 15, "xhci3.0": 15}


@dataclass
class Bench:
    server: FakeServer
    qemu: ModelQemu
    bell: Bell
    loop: Optional[Loop] = None

    def ring(self) -> None:
        self.bell.ring()

    def status(self) -> dict[str, Any]:
        """The status file; as if nothing were there before it is."""
        path = Path(STATUS.path(paths.run_dir()))
        if not path.exists():
            return {"devices": [{"port": "?", "state": "?", "reason": ""}], "problems": []}
        known: dict[str, Any] = json.loads(path.read_text())
        return known

    def states(self) -> dict[str, str]:
        return {one["port"]: one["state"] for one in self.status()["devices"]}

    def reason(self, port: str) -> str:
        return "".join(str(one["reason"]) for one in self.status()["devices"] if one["port"] == port)

    async def until(self, is_so: Callable[[], bool], what: str = "") -> None:
        """Let everybody run until it is so.

        :raise AssertionError: it has not become so for a long time.
        """
        for _ in range(int(PATIENCE / 0.005)):
            if is_so():
                return
            await asyncio.sleep(0.005)  # the code under test has no event for "the test may look now"
        path = Path(STATUS.path(paths.run_dir()))
        raise AssertionError(f"{what}: {self.qemu.seen()} {path.read_text() if path.exists() else 'no status'}")

    async def until_the_product_has_what_is_plugged(self, *kept: str) -> None:
        def is_so() -> bool:
            here = {port: one.number for port, one in self.server.plugged.items() if not one.hub and port not in kept}
            return self.qemu.seen() == here and not self.qemu.fdsets

        await self.until(is_so, "the product does not have what is plugged in")

    @asynccontextmanager
    async def resident(self, settings: Optional[UdevConfig] = None, *rooms: Maker) -> AsyncIterator[Loop]:
        loop = Loop(self.server, settings or UdevConfig(), paths.run_dir(), lambda _: None, self.qemu, rooms)
        self.loop = loop
        self.qemu.tell = loop._event  # as its own session would
        task = asyncio.create_task(loop.run(self.bell))
        try:
            yield loop
        finally:
            loop.stop()
            await asyncio.wait_for(task, PATIENCE)


@asynccontextmanager
async def bench(running: bool = True, server: Optional[FakeServer] = None) -> AsyncIterator[Bench]:
    """With a product that runs."""
    buses = [{"bus": bus, "ports": ports} for bus, ports in BUSES.items()]
    with open(planfile.path(paths.run_dir()), "w", encoding="utf-8") as file:
        json.dump({"usb_buses": buses, "serial": []}, file)
    server, bell = server or FakeServer(), Bell()
    qemu = ModelQemu(server, BUSES, lambda _: None)
    if running:
        qemu.start()
    try:
        yield Bench(server, qemu, bell)
    finally:
        bell.close()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))
