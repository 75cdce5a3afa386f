"""Finding QEMU by its lock, and holding on to exactly that process."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal_vmm.manager.qemulock import lock_path, running_pid
from hal_vmm.manager.qemuprocess import Process

NO_PROCESS = 1 << 22  # PID_MAX_LIMIT (proc(5))
PATIENCE = 20.0  # seconds


def lock(fd: int) -> None:
    """As the launcher does it. An open file description lock conflicts within one process too (fcntl(2))."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, fcntl.F_WRLCK.to_bytes(2, sys.byteorder) + bytes(30))


@pytest.fixture
def lock_file(tmp_path: Path) -> Iterator[int]:
    fd = os.open(lock_path(str(tmp_path)), os.O_RDWR | os.O_CREAT, 0o644)
    yield fd
    os.close(fd)


def test_without_a_file_nothing_runs(tmp_path: Path) -> None:
    assert running_pid(str(tmp_path)) is None


def test_an_unlocked_file_is_of_a_qemu_that_has_gone(tmp_path: Path, lock_file: int) -> None:
    os.write(lock_file, b"4711\n")
    assert running_pid(str(tmp_path)) is None


def test_a_locked_file_names_the_process(tmp_path: Path, lock_file: int) -> None:
    lock(lock_file)
    os.write(lock_file, b"4711\n")
    assert running_pid(str(tmp_path)) == 4711


@pytest.mark.parametrize("content", [b"", b"\n", b"soon\n", b"-1\n", b"\xff\xfe\n"])
def test_a_launcher_that_has_not_written_its_number_yet_is_seen_in_a_moment(
    tmp_path: Path, lock_file: int, content: bytes
) -> None:
    lock(lock_file)
    os.write(lock_file, content)
    assert running_pid(str(tmp_path)) is None


def test_asking_takes_no_lock_and_breaks_none(tmp_path: Path, lock_file: int) -> None:
    assert running_pid(str(tmp_path)) is None
    lock(lock_file)  # raises where asking has left one
    os.write(lock_file, b"4711\n")
    assert [running_pid(str(tmp_path)) for _ in range(3)] == [4711] * 3


def child() -> int:
    """A process that waits for a signal."""
    sleep = shutil.which("sleep") or "/bin/sleep"
    return os.posix_spawn(sleep, [sleep, "600"], {})


def test_the_end_of_a_process_is_noticed_and_the_child_is_reaped() -> None:
    async def scenario() -> int:
        pid = child()
        process = Process(pid)
        ended = asyncio.Event()
        process.on_exit(ended.set)
        process.kill()
        await asyncio.wait_for(ended.wait(), PATIENCE)
        process.kill()  # once more, to one that is dead: nothing to complain about
        process.close()
        return pid

    pid = asyncio.run(scenario())
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_the_end_is_waited_for_and_whoever_else_waits_is_told_too() -> None:
    async def scenario() -> None:
        process = Process(child())
        told = asyncio.Event()
        process.on_exit(told.set)
        assert not await process.ended(0.01)
        process.kill()
        assert await process.ended(PATIENCE)
        assert await process.ended(PATIENCE), "and again"
        await asyncio.wait_for(told.wait(), PATIENCE)
        process.close()

    asyncio.run(scenario())


def test_letting_go_of_a_living_process_leaves_it_alone() -> None:
    async def scenario() -> int:
        pid = child()
        process = Process(pid)
        process.on_exit(lambda: None)
        process.close()
        return pid

    pid = asyncio.run(scenario())
    assert os.waitpid(pid, os.WNOHANG) == (0, 0), "it lives"
    os.kill(pid, signal.SIGKILL)
    assert os.waitpid(pid, 0)[0] == pid


def test_a_process_that_has_ended_cannot_be_held() -> None:
    with pytest.raises(ProcessLookupError):
        Process(NO_PROCESS)
