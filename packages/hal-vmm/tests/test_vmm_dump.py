"""Memory dumps: the cap, what is kept, and a QEMU that fails half-way; QEMU is played by a fake QMP peer."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hal_core.errors import HostError, QmpRefused
from hal_core.qmp import Session
from hal_core.testing.fakeqmp import FakeQmp, Refusal
from hal_vmm.manager import dump

MIB = 1 << 20


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[FakeQmp]:
    with FakeQmp(tmp_path / "qmp") as fake:
        fake.on("query-dump-guest-memory-capability", {"formats": ["elf", "kdump-zlib"]})
        fake.on("getfd", {})
        fake.on("query-dump", {"status": "completed"})
        yield fake


def writes(qemu: FakeQmp, size: int) -> Callable[[object], dict[str, object]]:
    """Answers dump-guest-memory as QEMU does: at once, and writes ``size`` bytes in the background."""

    def write(fd: int) -> None:
        try:
            left = size
            while left:
                left -= os.write(fd, bytes(min(left, 1 << 16)))
        except BrokenPipeError:
            qemu.on("query-dump", {"status": "failed"})
        finally:
            os.close(fd)

    def answer(_: object) -> dict[str, object]:
        threading.Thread(target=write, args=(qemu.fds.pop(),), daemon=True).start()
        return {}

    return answer


def take(tmp_path: Path, limit_mib: int = 8, keep: int = 2, deadline: float = 20.0) -> dump.Dump:
    async def run() -> dump.Dump:
        session = Session(str(tmp_path / "qmp"), "test")
        await session.connect()
        try:
            return await dump.take(session, str(tmp_path / "dumps"), limit_mib, keep, deadline)
        finally:
            await session.close()

    return asyncio.run(run())


def test_a_dump_is_written_whole_and_for_root_alone(qemu: FakeQmp, tmp_path: Path) -> None:
    qemu.on("dump-guest-memory", writes(qemu, 3 * MIB))
    taken = take(tmp_path)
    assert (taken.bytes, taken.shortfall) == (3 * MIB, "")
    assert taken.path.endswith(".kdump")
    assert os.stat(taken.path).st_size == 3 * MIB
    assert os.stat(taken.path).st_mode & 0o777 == 0o600
    assert [name for name in os.listdir(tmp_path / "dumps") if name.endswith(".part")] == []
    asked = dict(qemu.received)["dump-guest-memory"]
    assert asked == {"paging": False, "protocol": "fd:hal-dump", "detach": True, "format": "kdump-zlib"}


def test_a_dump_stops_at_the_limit(qemu: FakeQmp, tmp_path: Path) -> None:
    qemu.on("dump-guest-memory", writes(qemu, 64 * MIB))
    taken = take(tmp_path, limit_mib=1)
    assert (taken.bytes, taken.shortfall) == (MIB, "cut off at the limit")
    assert str(taken) == f"{taken.path}: 1 MiB, cut off at the limit"


def test_a_qemu_that_gives_up_is_told_of(qemu: FakeQmp, tmp_path: Path) -> None:
    qemu.on("dump-guest-memory", writes(qemu, MIB))
    qemu.on("query-dump", {"status": "failed"})
    assert take(tmp_path).shortfall == "QEMU gave up"


def test_a_qemu_without_kdump_writes_elf(qemu: FakeQmp, tmp_path: Path) -> None:
    qemu.on("query-dump-guest-memory-capability", {"formats": ["elf"]})
    qemu.on("dump-guest-memory", writes(qemu, MIB))
    assert take(tmp_path).path.endswith(".elf")


@pytest.mark.parametrize("size", [0, None])
def test_what_fails_leaves_nothing_behind(qemu: FakeQmp, tmp_path: Path, size: int | None) -> None:
    if size is None:
        qemu.on("dump-guest-memory", Refusal("GenericError", "no such format"))
    else:
        qemu.on("dump-guest-memory", writes(qemu, size))
    with pytest.raises((HostError, QmpRefused), match="empty memory dump" if size == 0 else "no such format"):
        take(tmp_path)
    assert os.listdir(tmp_path / "dumps") == []


def test_a_dump_that_takes_too_long_is_given_up(qemu: FakeQmp, tmp_path: Path) -> None:
    qemu.on("dump-guest-memory", {})  # and never writes: its end of the pipe stays open
    with pytest.raises(HostError, match=r"not finished after 0 s \(see vmm.crash.dump_grace\)"):
        take(tmp_path, deadline=0.2)
    assert os.listdir(tmp_path / "dumps") == []


def test_only_the_newest_are_kept_and_unfinished_ones_go(qemu: FakeQmp, tmp_path: Path) -> None:
    directory = tmp_path / "dumps"
    directory.mkdir()
    for day in range(1, 6):
        (directory / f"dump-2026010{day}T000000Z.kdump").write_bytes(b"old")
    (directory / "dump-20260109T000000Z.kdump.part").write_bytes(b"half")
    (directory / "notes.txt").write_text("somebody's own")
    qemu.on("dump-guest-memory", writes(qemu, MIB))
    taken = take(tmp_path, keep=3)
    left = sorted(os.listdir(directory))
    assert left == sorted(
        ["dump-20260104T000000Z.kdump", "dump-20260105T000000Z.kdump", os.path.basename(taken.path), "notes.txt"]
    )


def test_a_full_disk_is_said_before_anything_is_written(
    qemu: FakeQmp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "RESERVE_BYTES", 1 << 62)
    with pytest.raises(HostError, match="no room for a memory dump"):
        take(tmp_path)
    assert "dump-guest-memory" not in dict(qemu.received)
