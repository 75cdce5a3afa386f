"""Rooms: nobody waits for them, and what has begun in one is ended, also when it hangs. The rooms are FAKE."""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bench_of_fakes import PATIENCE, Bench, bench, open_files
from hal_core.errors import HostError
from hal_core.qmp import Event, Session
from hal_core.testing import synthetic
from hal_udev.resident.errands import Errands
from hal_udev.resident.opened import opened
from hal_udev.resident.report import Report
from hal_udev.resident.rooms import Rooms


class FakeRoom:
    name = "disks"

    def __init__(self, session: Session, threads: Executor, wake: Callable[[], None], run_dir: str) -> None:
        self.threads = threads
        self.wake = wake
        self.heard: list[str] = []
        self.looks: list[str] = []
        self.ended: list[str] = []
        self.look: Callable[[], Awaitable[float]] = self.rest

    async def rest(self) -> float:
        return math.inf

    def forget(self) -> None:
        pass

    async def follow(self, now: float) -> float:
        self.looks.append("begun")
        until = await self.look()
        self.looks.append("done")
        return until

    async def stop(self) -> None:
        self.ended.append("stop")

    async def lost(self) -> None:
        self.ended.append("lost")

    async def idle(self) -> None:
        pass

    def event(self, event: Event) -> bool:
        return event.name == "DEVICE_TRAY_MOVED"

    def hear(self, device: dict[str, str]) -> None:
        self.heard.append(device["DEVNAME"])

    def told(self, connected: bool) -> list[dict[str, Any]]:
        return [{"id": "disk0", "state": "attached", "reason": f"{len(self.looks)} looks"}]

    def problems(self) -> list[str]:
        return []


def make_into(rooms: list[FakeRoom], **more: Any) -> Callable[..., FakeRoom]:
    def make(*arguments: Any) -> FakeRoom:
        room = FakeRoom(*arguments)
        rooms.append(room)
        for name, value in more.items():
            setattr(room, name, value(room))
        return room

    return make


def with_bench(story: Callable[[Bench], Awaitable[None]], running: bool = True) -> None:
    async def tell() -> None:
        async with bench(running) as one:
            await story(one)

    asyncio.run(tell())


def test_a_disk_that_hangs_holds_up_no_usb_device() -> None:
    free = threading.Event()

    def hang(room: FakeRoom) -> Callable[[], Awaitable[float]]:
        async def look() -> float:
            run = asyncio.get_running_loop().run_in_executor
            await asyncio.gather(*(run(room.threads, free.wait) for _ in range(100)))  # more than there are threads
            return math.inf

        return look

    async def story(one: Bench) -> None:
        rooms: list[FakeRoom] = []
        try:
            async with one.resident(None, make_into(rooms, look=hang)):
                await one.until(lambda: rooms[0].looks == ["begun"])
                one.server.plug(synthetic.usb_plugged("1-1"))
                one.ring()
                await one.until_the_product_has_what_is_plugged()
                await one.until(lambda: one.states() == {"1-1": "attached"})
                assert rooms[0].looks == ["begun"]
        finally:
            free.set()
        assert rooms[0].ended[0] == "stop", "the product runs on"

    with_bench(story)


def test_a_room_looks_when_there_is_news_and_what_it_tells_is_told() -> None:
    async def story(one: Bench) -> None:
        rooms: list[FakeRoom] = []
        async with one.resident(None, make_into(rooms)):
            (room,) = rooms
            await one.until(lambda: len(room.looks) == 2)
            one.ring()
            await one.until(lambda: len(room.looks) >= 4)
            assert set(room.heard) == {"/dev/sr0"}
            before = len(room.looks)
            one.qemu.tell(Event("DEVICE_TRAY_MOVED", {}, 0.0))
            await one.until(lambda: len(room.looks) >= before + 2)
            await one.until(lambda: one.status()["disks"][0]["reason"] == f"{len(room.looks)} looks")

    with_bench(story)


def test_a_product_that_has_gone_is_not_a_resident_that_ends() -> None:
    async def story(one: Bench) -> None:
        rooms: list[FakeRoom] = []
        async with one.resident(None, make_into(rooms)):
            await one.until(lambda: len(rooms[0].looks) == 2)
            one.qemu.die()
            await one.until(lambda: rooms[0].ended == ["lost"])
            heard = len(rooms[0].heard)
            one.ring()  # a button that is pushed while there is no product
            await one.until(lambda: not one.status()["product"])
            assert len(rooms[0].heard) == heard
        assert set(rooms[0].ended[1:]) == {"stop"}

    with_bench(story)


def test_what_a_room_cannot_know_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hal_udev.resident.rooms._AGAIN_SECONDS", 0.01)

    def fail_twice(room: FakeRoom) -> Callable[[], Awaitable[float]]:
        async def look() -> float:
            if room.looks.count("begun") <= 2:
                raise HostError("plan.json: cannot be read")
            return math.inf

        return look

    async def story(one: Bench) -> None:
        rooms: list[FakeRoom] = []
        async with one.resident(None, make_into(rooms, look=fail_twice)):
            await one.until(lambda: "done" in rooms[0].looks)
            assert rooms[0].looks == ["begun", "begun", "begun", "done"]
            await one.until(lambda: one.status()["problems"] == [])

    with_bench(story)


def test_what_must_not_happen_in_a_room_ends_the_resident_for_systemd_to_start_it_anew(tmp_path: Path) -> None:
    def fail(room: FakeRoom) -> Callable[[], Awaitable[float]]:
        async def look() -> float:
            raise ZeroDivisionError

        return look

    async def story(run_dir: str) -> None:
        nobody = Session("/nonexistent", "nobody")
        rooms = Rooms([make_into([], look=fail)], nobody, run_dir, Report("/nonexistent"), lambda: None)
        rooms.check()
        rooms.begin()
        await asyncio.wait(rooms._tasks, timeout=PATIENCE)
        with pytest.raises(ZeroDivisionError):
            rooms.check()  # which the loop does in every round
        await rooms.end(gone=False)
        rooms.close()

    asyncio.run(story(str(tmp_path)))


def test_a_descriptor_that_nobody_waits_for_any_more_is_closed() -> None:
    async def story(threads: Executor) -> None:
        begun, go = threading.Event(), threading.Event()

        def slow() -> int:
            begun.set()
            assert go.wait(PATIENCE)
            return os.open("/dev/null", os.O_RDONLY)

        async def use() -> None:
            async with opened(threads, slow):
                raise AssertionError("nobody is here any more")

        task = asyncio.create_task(use())
        await asyncio.get_running_loop().run_in_executor(None, begun.wait, PATIENCE)
        before = open_files()
        task.cancel()
        assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
        go.set()
        threads.shutdown()
        assert open_files() == before

    with ThreadPoolExecutor(1) as threads:
        asyncio.run(story(threads))


def test_a_descriptor_is_closed_after_use_and_what_opening_raises_is_raised() -> None:
    def refuse(path: str) -> int:
        raise HostError(f"{path}: busy")

    async def story(threads: Executor) -> None:
        async with opened(threads, os.open, "/dev/null", os.O_RDONLY) as fd:
            os.fstat(fd)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
        with pytest.raises(HostError, match="/dev/sdb: busy"):
            async with opened(threads, refuse, "/dev/sdb"):
                raise AssertionError("there is nothing to use")

    with ThreadPoolExecutor(1) as threads:
        asyncio.run(story(threads))


def test_errands_that_fail_are_tried_again_later_and_no_other_waits() -> None:
    async def story() -> None:
        woken: list[bool] = []
        done: list[str] = []
        errands = Errands(lambda: woken.append(True))

        async def fail() -> None:
            raise HostError("busy")

        async def work() -> None:
            done.append("work")

        now = asyncio.get_running_loop().time()
        errands.begin("disk0", "slot 0", fail)
        errands.begin("disk1", "slot 1", work)
        assert not errands.may_begin("disk0", now)
        assert "disk0" in errands
        await errands.idle()
        assert done == ["work"]
        assert errands.failure("disk0") == "busy; again after 0.5 s"
        assert errands.failure("disk1") == ""
        now = asyncio.get_running_loop().time()
        assert not errands.may_begin("disk0", now)
        assert errands.may_begin("disk1", now)
        assert now < errands.next_time(now) <= now + 0.5
        assert errands.may_begin("disk0", now + 0.5)
        errands.only({"disk0"})
        assert errands.failure("disk0")
        errands.only(set())  # QEMU has it after all
        assert not errands.failure("disk0")
        await asyncio.sleep(0)
        assert len(woken) == 2

    asyncio.run(story())


def test_errands_are_given_up_even_before_they_have_begun() -> None:
    async def story() -> None:
        errands = Errands(lambda: None)

        async def never() -> None:
            await asyncio.Event().wait()

        errands.begin("disk0", "slot 0", never)
        await errands.stop()
        assert "disk0" not in errands
        assert errands.next_time(0.0) == math.inf

    asyncio.run(story())
