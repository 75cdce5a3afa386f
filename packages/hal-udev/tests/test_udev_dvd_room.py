"""Discs with a real QEMU that has no part in the real drive: that is a model, and its discs are loop devices."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import pytest

import realqemu
from hal_core import paths
from hal_core.errors import HostError
from hal_core.qmp import Event, Session
from hal_udev.dvd.decision import BUSY, DISC, EMPTY, OPEN
from hal_udev.dvd.room import DvdRoom
from hal_udev.dvd.tray import Tray
from realqemu import write_plan

pytestmark = [pytest.mark.component, realqemu.needs_loops]


class ModelTray(Tray):
    """A drive with a motor; ``inside`` is the loop device that is the disc in it."""

    def __init__(self) -> None:
        super().__init__()
        self.status = EMPTY
        self.inside = ""
        self.locked = False
        self.stuck = False

    def look(self, host: str) -> tuple[str, str]:
        return self.status, self.inside

    def open_disc(self, host: str) -> int:
        return os.open(self.inside, os.O_RDONLY | os.O_CLOEXEC)

    def eject(self, host: str) -> None:
        if self.stuck:
            raise HostError(f"{host}: the tray does not open: Input/output error")
        self.status, self.locked = OPEN, False

    def close(self, host: str) -> None:
        self.status = DISC if self.inside else EMPTY

    def lock(self, host: str, locked: bool) -> None:
        self.locked = locked


@dataclass
class Bench:
    room: DvdRoom
    tray: ModelTray
    session: Session
    discs: list[str]

    async def settle(self) -> dict[str, Any]:
        self.room.forget()
        now = asyncio.get_running_loop().time
        for _ in range(3):
            await self.room.follow(now())
            await self.room.idle()
        ((told),) = self.room.told(True)
        return told

    async def drive(self) -> tuple[int, bool]:
        """What the product has: the size of its disc in MiB, 0 without one; whether its tray is open."""
        blocks: Any = await self.session.execute("query-block")
        ((drive),) = [block for block in blocks if block.get("qdev") == "dvd0"]
        size = drive["inserted"]["image"]["virtual-size"] >> 20 if "inserted" in drive else 0
        return size, bool(drive["tray_open"])

    async def nodes(self) -> set[str]:
        known: Any = await self.session.execute("query-named-block-nodes")
        return {node["node-name"] for node in known}

    async def sets(self) -> list[Any]:
        known: Any = await self.session.execute("query-fdsets")
        return [one for one in known if one["fds"]]

    def put_in(self, disc: int) -> None:
        self.tray.status, self.tray.inside = DISC, self.discs[disc]

    def push_the_button(self) -> None:
        """The drive opens by itself where it is not locked; where it is, udev says that it was pushed."""
        if not self.tray.locked:
            self.tray.status = OPEN
            return
        self.room.hear({"DEVNAME": "/dev/sr0", "DISK_EJECT_REQUEST": "1"})


def medium() -> dict[str, Any]:
    file = {"driver": "host_device", "node-name": "dvd0-medium-file", "filename": "", "read-only": True}
    return {"driver": "raw", "node-name": "dvd0-medium", "read-only": True, "file": file}


@asynccontextmanager
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    with ExitStack() as stack:
        discs = [stack.enter_context(realqemu.loop_device(tmp_path / f"{mib}.iso", mib)) for mib in (2, 3)]
        stack.enter_context(realqemu.qemu(tmp_path / "qmp", "-device", "ide-cd,id=dvd0,bus=ide.0"))
        threads = stack.enter_context(ThreadPoolExecutor(2))
        rooms: list[DvdRoom] = []
        session = Session(str(tmp_path / "qmp"), "udev", lambda event: _hear(rooms, event))
        tray = ModelTray()
        room = DvdRoom(session, tray, threads, lambda: None, paths.run_dir())
        rooms.append(room)
        write_plan(paths.run_dir(), {}, {"drives": [{"id": "dvd0", "host": "/dev/sr0", "medium": medium()}]})
        try:
            await asyncio.wait_for(session.reconnect(longest_pause=0.1), 30)
            yield Bench(room, tray, session, discs)
        finally:
            await room.lost()
            await room.idle()
            assert not tray.locked, "whoever wants his disc back gets it"
            await session.close()


def _hear(rooms: list[DvdRoom], event: Event) -> None:
    for room in rooms:
        room.event(event)


def with_bench(tmp_path: Path, story: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    realqemu.tell(story, bench(tmp_path))


def test_a_disc_is_put_in_and_its_button_takes_it_out_again(tmp_path: Path) -> None:
    async def story(one: Bench) -> None:
        assert (await one.settle())["reason"] == "no disc"
        assert await one.drive() == (0, False)
        for disc, size in ((0, 2), (1, 3)):
            one.put_in(disc)
            assert (await one.settle())["reason"] == "a disc"
            assert await one.drive() == (size, False)
            assert one.tray.locked, "its button asks from now on"
            assert await one.sets() == [], "QEMU alone has it open"
            one.push_the_button()
            assert (await one.settle())["reason"] == "the tray is open"
            assert await one.drive() == (0, True)
            assert one.tray.status == OPEN
            assert "dvd0-medium" not in await one.nodes()

    with_bench(tmp_path, story)


def test_the_product_opens_and_closes_its_tray(tmp_path: Path) -> None:
    async def story(one: Bench) -> None:
        one.put_in(0)
        await one.settle()
        await one.session.execute("blockdev-open-tray", {"id": "dvd0"})  # nothing has locked it: as if by the product
        await one.settle()
        assert one.tray.status == OPEN
        await one.session.execute("blockdev-close-tray", {"id": "dvd0"})
        await one.settle()
        assert one.tray.status == DISC
        assert await one.drive() == (2, False)

    with_bench(tmp_path, story)


def test_a_disc_that_is_changed_behind_our_back(tmp_path: Path) -> None:
    async def story(one: Bench) -> None:
        one.put_in(0)
        await one.settle()
        one.put_in(1)
        await one.settle()
        assert await one.drive() == (3, False)
        one.tray.status, one.tray.inside = EMPTY, ""
        await one.settle()
        assert await one.drive() == (0, False)

    with_bench(tmp_path, story)


def test_while_it_reads_the_disc_it_is_awaited(tmp_path: Path) -> None:
    async def story(one: Bench) -> None:
        one.put_in(0)
        one.tray.status = BUSY
        assert (await one.settle())["reason"] == "the drive is reading the disc"
        now = asyncio.get_running_loop().time()
        assert await one.room.follow(now) <= now + 1.0
        await one.room.idle()
        one.tray.status = DISC
        assert (await one.settle())["reason"] == "a disc"

    with_bench(tmp_path, story)


def test_a_tray_that_is_stuck_is_told_and_tried_again(tmp_path: Path) -> None:
    async def story(one: Bench) -> None:
        one.put_in(0)
        await one.settle()
        one.tray.stuck = True
        one.push_the_button()
        told = await one.settle()
        assert told["state"] == "retrying"
        assert "the tray does not open: Input/output error" in told["reason"]
        assert await one.drive() == (0, True)
        one.tray.stuck = False
        loop = asyncio.get_running_loop()
        await one.room.follow(loop.time() + 60)
        await one.room.idle()
        assert one.tray.status == OPEN

    with_bench(tmp_path, story)


def test_a_resident_that_is_killed_leaves_a_drive_that_the_next_one_understands(tmp_path: Path) -> None:
    async def story(one: Bench) -> None:
        one.put_in(0)
        await one.settle()
        before = one.room
        one.room = DvdRoom(one.session, one.tray, before._threads, lambda: None, paths.run_dir())
        assert (await one.settle())["reason"] == "a disc"
        assert await one.drive() == (2, False)
        one.push_the_button()
        await one.settle()
        assert one.tray.status == OPEN
        assert await one.drive() == (0, True)

    with_bench(tmp_path, story)


def test_a_resident_that_ends_leaves_the_door_locked(tmp_path: Path) -> None:
    async def story(one: Bench) -> None:
        one.put_in(0)
        await one.settle()
        await one.room.stop()
        await one.room.idle()
        assert one.tray.locked, "the product has its disc mounted"

    with_bench(tmp_path, story)


def test_a_disc_that_qemu_does_not_take_leaves_nothing_open(tmp_path: Path) -> None:
    async def story(one: Bench) -> None:
        one.tray.status, one.tray.inside = DISC, str(tmp_path / "2.iso")  # a file: no device
        told = await one.settle()
        assert told["state"] == "retrying"
        assert "host_device" in told["reason"]
        assert await one.sets() == []
        assert "dvd0-medium" not in await one.nodes()
        one.put_in(0)
        await one.room.follow(asyncio.get_running_loop().time() + 60)
        await one.room.idle()
        assert await one.drive() == (2, False)

    with_bench(tmp_path, story)


def test_a_button_of_a_drive_that_qemu_does_not_have_is_told_and_not_pushed_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(one: Bench) -> None:
        write_plan(paths.run_dir(), {}, {"drives": [{"id": "dvd7", "host": "/dev/sr7", "medium": None}]})
        await one.settle()
        one.room.hear({"DEVNAME": "/dev/sr7", "DISK_EJECT_REQUEST": "1"})
        assert (await one.settle())["state"] == "attached"
        assert sum("does not hear of its button" in text for text in caplog.messages) == 1
        one.room.hear({"DEVNAME": "/dev/sr0", "DISK_EJECT_REQUEST": "1"})  # somebody else's drive
        await one.settle()
        assert sum("does not hear of its button" in text for text in caplog.messages) == 1

    with_bench(tmp_path, story)
