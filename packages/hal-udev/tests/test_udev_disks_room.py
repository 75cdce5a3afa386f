"""Bays with a real QEMU: disks are loop devices, and sysfs is a directory."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import pytest

import realqemu
from hal_core import paths, replan
from hal_core.errors import FileFormatError, HostError, QmpRefused
from hal_core.qmp import Event, Session
from hal_udev.disks import kernellog, opening, qemu
from hal_udev.disks.present import DiskHardware
from hal_udev.disks.room import DisksRoom
from realqemu import DiskServer, write_plan

pytestmark = [pytest.mark.component, realqemu.needs_loops]

BAYS = ("pci-0000:01:00.0-sas-phy0-lun-0", "pci-0000:01:00.0-sas-phy1-lun-0")


@dataclass
class Bench:
    server: DiskServer
    room: DisksRoom
    session: Session
    loops: list[str]
    pid: int
    run_dir: str
    deleted: list[str]  # what QEMU has said that it has let go of

    def plug_in_two(self) -> None:
        """Disks in both bays, as hal-vmm has planned."""
        for index, name in enumerate(("sda", "sdb")):
            self.server.plug(name, self.loops[index], f"S{index}", BAYS[index])
        write_plan(self.run_dir, {0: ("/dev/sda", "S0"), 1: ("/dev/sdb", "S1")})

    async def settle(self, later: float = 0.0) -> list[dict[str, Any]]:
        """As the loop does, that many seconds later, but all at once: until there is nothing to do."""
        self.room.forget()
        now = asyncio.get_running_loop().time() + later
        for _ in range(4):
            await self.room.follow(now)
            await self.room.idle()
        return self.room.told(True)

    async def scsi(self) -> dict[int, str]:
        """What the product has: by target, the serial number."""
        children: Any = await self.session.execute("qom-list", {"path": "/machine/peripheral"})
        found = {}
        for child in children:
            if child["name"].startswith("disk"):
                path = f"/machine/peripheral/{child['name']}"
                target: Any = await self.session.execute("qom-get", {"path": path, "property": "scsi-id"})
                serial: Any = await self.session.execute("qom-get", {"path": path, "property": "serial"})
                found[int(target)] = str(serial)
        return found

    async def read_from(self, id_: str) -> None:
        """QEMU counts this as it counts what the product reads."""
        command = {"command-line": f'qemu-io -d {id_} "aio_read 0 512"'}
        await self.session.execute("human-monitor-command", command)
        while id_ not in await qemu.read(self.session):
            await asyncio.sleep(0.01)

    def open_in_qemu(self) -> list[str]:
        """Which of the loop devices QEMU has open."""
        links = [os.readlink(path) for path in Path(f"/proc/{self.pid}/fd").iterdir()]
        numbers = {os.stat(loop).st_rdev: loop for loop in self.loops}
        found = []
        for fd, link in zip(Path(f"/proc/{self.pid}/fd").iterdir(), links):
            if link.startswith("/") and os.stat(fd).st_rdev in numbers:
                found.append(numbers[os.stat(fd).st_rdev])
        return sorted(found)


@asynccontextmanager
async def bench(
    tmp_path: Path, *more: str, reason: Callable[[str], str] = "{} is worn out".format
) -> AsyncIterator[Bench]:
    run_dir = paths.run_dir()
    with ExitStack() as stack:
        loops = [stack.enter_context(realqemu.loop_device(tmp_path / f"disk{index}.img")) for index in range(3)]
        pid = stack.enter_context(realqemu.qemu(tmp_path / "qmp", *more))
        threads = stack.enter_context(ThreadPoolExecutor(4))
        rooms: list[DisksRoom] = []
        deleted: list[str] = []
        session = Session(str(tmp_path / "qmp"), "udev", lambda event: _hear(rooms, deleted, event))
        server = DiskServer(tmp_path / "server")
        room = DisksRoom(session, DiskHardware(str(server.root)), threads, lambda: None, run_dir, reason)
        rooms.append(room)
        try:
            await asyncio.wait_for(session.reconnect(longest_pause=0.1), 30)
            yield Bench(server, room, session, loops, pid, run_dir, deleted)
        finally:
            await room.lost()
            await session.close()


def _hear(rooms: list[DisksRoom], deleted: list[str], event: Event) -> None:
    if event.name == "DEVICE_DELETED" and "device" in event.data:
        deleted.append(event.data["device"])
    for room in rooms:
        room.event(event)


def with_bench(tmp_path: Path, story: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    realqemu.tell(story, bench(tmp_path))


def states(told: list[dict[str, Any]]) -> dict[str, str]:
    return {one["id"]: one["state"] for one in told}


def test_a_disk_is_swapped_for_another_one_in_the_same_bay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(one: Bench) -> None:
        caplog.set_level(logging.INFO)
        one.plug_in_two()
        assert states(await one.settle()) == {"disk0": "attached", "disk1": "attached"}
        assert await one.scsi() == {0: "S0", 1: "S1"}
        assert one.open_in_qemu() == sorted(one.loops[:2])
        with pytest.raises(HostError, match="Device or resource busy"):  # nobody on the host can mount it meanwhile
            opening.open_disk(one.loops[0], one.server.numbers["sda"], False)

        one.server.pull("sdb")
        assert "disk1" not in {id_ for id_, state in states(await one.settle()).items() if state == "attached"}
        assert await one.scsi() == {0: "S0"}
        assert one.open_in_qemu() == one.loops[:1]
        assert Path(replan.path(one.run_dir, "udev")).read_text() == "/dev/sdb is gone\n"

        one.server.plug("sdc", one.loops[2], "S2", BAYS[1])
        write_plan(one.run_dir, {0: ("/dev/sda", "S0"), 1: ("/dev/sdc", "S2")})  # as hal-vmm does
        assert states(await one.settle()) == {"disk0": "attached", "disk1": "attached"}
        assert await one.scsi() == {0: "S0", 1: "S2"}
        assert one.open_in_qemu() == sorted([one.loops[0], one.loops[2]])
        text = "slot 1: the product has /dev/sdc now:"
        assert any(record.getMessage().startswith(text) for record in caplog.records)

    with_bench(tmp_path, story)


def test_a_disk_that_the_product_overlooks_is_announced_once_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(one: Bench) -> None:
        caplog.set_level(logging.INFO)
        one.plug_in_two()
        assert states(await one.settle()) == {"disk0": "attached", "disk1": "attached"}
        await one.read_from("disk0")
        one.deleted.clear()
        told = await one.settle(later=3.0)
        assert one.deleted == ["disk1"]
        assert states(told) == {"disk0": "attached", "disk1": "unseen"}
        assert "told of it 2 times" in told[1]["reason"]
        assert await one.scsi() == {0: "S0", 1: "S1"}
        assert one.open_in_qemu() == sorted(one.loops[:2])
        text = "slot 1: the product has not looked at /dev/sdb: announcing it once more"
        assert caplog.messages.count(text) == 1

        await one.read_from("disk1")
        one.deleted.clear()
        assert states(await one.settle(later=100.0)) == {"disk0": "attached", "disk1": "attached"}
        assert one.deleted == []

    with_bench(tmp_path, story)


def test_a_disk_that_is_slow_to_answer_is_not_taken_away_meanwhile(tmp_path: Path) -> None:
    """QEMU counts a read when it has ended, and would stand still until then."""

    async def story(one: Bench) -> None:
        one.plug_in_two()
        await one.settle()
        await one.read_from("disk1")
        inflight = one.server.root / "sys/block/sda/inflight"
        inflight.write_text("       1        0\n")
        one.deleted.clear()
        for later in (3.0, 30.0, 300.0):
            assert states(await one.settle(later)) == {"disk0": "attached", "disk1": "attached"}
        assert one.deleted == []
        inflight.write_text("       0        0\n")
        assert states(await one.settle(300.0)) == {"disk0": "unseen", "disk1": "attached"}
        assert one.deleted == ["disk0"]

    with_bench(tmp_path, story)


def test_what_qemu_does_not_tell_of_reads_keeps_nothing_else_from_being_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(one: Bench) -> None:
        async def refuse(session: Session) -> set[str]:
            raise QmpRefused("query-blockstats: not today")

        one.plug_in_two()
        await one.settle()
        monkeypatch.setattr(qemu, "read", refuse)
        one.server.plug("sdc", one.loops[2], "S2", "pci-0000:01:00.0-sas-phy2-lun-0")
        with pytest.raises(QmpRefused, match="not today"):
            await one.settle()
        assert Path(replan.path(one.run_dir, "udev")).read_text() == "/dev/sdc is new\n"

    with_bench(tmp_path, story)


def test_a_product_that_overlooks_all_disks_is_not_told_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever there is a look meanwhile: QEMU's word that a disk is out brings one."""

    async def story(one: Bench) -> None:
        later = 0.0

        async def look_and_announce(*arguments: Any) -> None:
            one.room.forget()
            await one.room.follow(asyncio.get_running_loop().time() + later)
            await announce(*arguments)

        one.plug_in_two()
        await one.settle()
        announce = qemu.announce
        monkeypatch.setattr(qemu, "announce", look_and_announce)
        one.deleted.clear()
        for later in (float(10 * step) for step in range(1, 30)):
            told = await one.settle(later)
        assert states(told) == {"disk0": "unseen", "disk1": "unseen"}
        assert sorted(one.deleted) == ["disk0"] * 7 + ["disk1"] * 7
        assert await one.scsi() == {0: "S0", 1: "S1"}

    with_bench(tmp_path, story)


def test_a_disk_in_an_empty_bay_is_what_hal_vmm_is_asked_about(tmp_path: Path) -> None:
    async def story(one: Bench) -> None:
        one.server.plug("sda", one.loops[0], "S0", BAYS[0])
        write_plan(one.run_dir, {})
        await one.settle()
        assert await one.scsi() == {}
        assert Path(replan.path(one.run_dir, "udev")).read_text() == "/dev/sda is new\n"

    with_bench(tmp_path, story)


def test_a_disk_that_the_host_uses_is_retried_and_the_others_are_there(tmp_path: Path) -> None:
    async def story(one: Bench) -> None:
        one.plug_in_two()
        claim = os.open(one.loops[0], os.O_RDWR | os.O_EXCL)
        try:
            told = {each["id"]: each for each in await one.settle()}
        finally:
            os.close(claim)
        assert await one.scsi() == {1: "S1"}
        assert told["disk0"]["state"] == "retrying"
        assert "Device or resource busy" in told["disk0"]["reason"]
        assert "lsblk" in told["disk0"]["reason"]

    with_bench(tmp_path, story)


def test_a_disk_that_is_left_half_plugged_in_is_finished_by_the_next_resident(tmp_path: Path) -> None:
    async def story(one: Bench) -> None:
        one.server.plug("sda", one.loops[0], "S0", BAYS[0])
        write_plan(one.run_dir, {0: ("/dev/sda", "S0")})
        await one.settle()
        one.session.again.clear()
        await one.session.execute("device_del", {"id": "disk0"})  # and then we were killed
        await asyncio.wait_for(one.session.again.wait(), 30)
        assert states(await one.settle()) == {"disk0": "attached"}
        assert await one.scsi() == {0: "S0"}
        assert one.open_in_qemu() == one.loops[:1]

    with_bench(tmp_path, story)


def test_a_product_that_is_paused_loses_its_disk_and_nothing_stays_open(tmp_path: Path) -> None:
    async def story(one: Bench) -> None:
        one.server.plug("sda", one.loops[0], "S0", BAYS[0])
        write_plan(one.run_dir, {0: ("/dev/sda", "S0")})
        await one.session.execute("stop")
        await one.settle()
        assert await one.scsi() == {0: "S0"}
        one.server.pull("sda")
        await one.settle()
        assert await one.scsi() == {}
        await one.session.execute("cont")
        await one.settle()
        assert one.open_in_qemu() == []

    with_bench(tmp_path, story)


def test_the_log_has_the_hosts_reason_for_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(one: Bench) -> None:
        one.server.plug("sda", one.loops[0], "S0", BAYS[0])
        write_plan(one.run_dir, {0: ("/dev/sda", "S0")})
        await one.settle()
        error = {"node-name": "disk0-node", "device": "", "operation": "write", "reason": "Input/output error"}
        assert one.room.event(Event("BLOCK_IO_ERROR", error, 0.0))
        told = await one.settle()
        assert told[0]["state"] == "errors"
        assert "1 I/O errors, the last one: write: Input/output error" in told[0]["reason"]
        logged = [record.getMessage() for record in caplog.records if "reported to the product" in record.getMessage()]
        assert len(logged) == 1
        assert "slot 0 (/dev/sda," in logged[0]
        assert logged[0].endswith("the host's kernel: sda is worn out")

    with_bench(tmp_path, story)


@pytest.mark.skipif(not os.access("/dev/kmsg", os.R_OK), reason="the kernel's log cannot be read here")
def test_a_disk_that_really_fails_is_logged_with_the_kernels_own_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The BIOS reads a loop device whose file has been cut off. (For the kernel it is loop0, and not sda.)"""

    async def run() -> None:
        named: list[str] = []
        async with bench(tmp_path, "-S", *realqemu.BIOS, reason=lambda _: kernellog.reason(named[0])) as one:
            named.append(Path(one.loops[0]).name)
            one.server.plug("sda", one.loops[0], "S0", BAYS[0])
            write_plan(one.run_dir, {0: ("/dev/sda", "S0")})
            await one.settle()
            os.truncate(tmp_path / "disk0.img", 0)
            await one.session.execute("cont")
            while one.room.told(True)[0]["io_errors"] == 0:
                one.session.again.clear()
                await asyncio.wait_for(one.session.again.wait(), 60)
            told = await one.settle()
            assert told[0]["state"] == "errors"

    asyncio.run(run())
    ((logged),) = [text for text in caplog.messages if "reported to the product" in text]
    assert "read: Input/output error" in logged
    assert "the host's kernel: I/O error in sector 0" in logged


def test_a_plan_that_is_damaged_is_told_and_changes_nothing(tmp_path: Path) -> None:
    async def story(one: Bench) -> None:
        one.server.plug("sda", one.loops[0], "S0", BAYS[0])
        write_plan(one.run_dir, {0: ("/dev/sda", "S0")})
        await one.settle()
        write_plan(one.run_dir, {0: ("/dev/sda", "S0")}, {"disks": [{"id": "disk0"}]})
        with pytest.raises(FileFormatError, match="not a plan of hal-vmm's"):
            await one.settle()
        assert await one.scsi() == {0: "S0"}

    with_bench(tmp_path, story)
