"""The product's memory to a file, for whoever has to find out why it panicked.

QEMU writes into a pipe, and ``head -c`` carries at most the limit to the disk: the cap holds whatever QEMU does, and a
dump that was cut off still starts with its headers. The format is kdump-zlib (flattened, as makedumpfile has it) where
QEMU offers it, else ELF; ``crash`` reads both.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import dataclass

from hal_core import atomic
from hal_core.errors import HalError, HostError
from hal_core.qmp import Session
from hal_vmm.manager import seriallog

logger = logging.getLogger(__name__)

RESERVE_BYTES = 256 << 20  # always left free on the file system that dumps are written to
SMALLEST_BYTES = 1 << 20  # not worth a file below this


@dataclass(frozen=True)
class Dump:
    path: str
    bytes: int
    shortfall: str  # why it is not whole: "cut off at the limit", "QEMU gave up"; "" if it is
    logs: tuple[str, ...] = ()  # of the serial ports, saved beside it

    def __str__(self) -> str:
        size = f"{self.path}: {self.bytes / (1 << 20):.0f} MiB" + (f", {self.shortfall}" if self.shortfall else "")
        return "; ".join([size, *(f"serial port: {log}" for log in self.logs)])


def prune(directory: str, keep: int) -> None:
    """Remove the oldest dumps, by name, which starts with the date, until ``keep`` are left; unfinished ones go too.

    With a dump goes what was saved beside it.
    """
    names = sorted(os.listdir(directory))
    finished = [name for name in names if name.startswith("dump-") and not name.endswith((".part", ".log"))]
    kept = tuple(finished[max(0, len(finished) - keep) :])
    gone = [
        name for name in names if name.endswith(".part") or (name.startswith("dump-") and not name.startswith(kept))
    ]
    for name in gone:
        os.unlink(os.path.join(directory, name))


def limit_bytes(directory: str, limit_mib: int) -> int:
    """How much may be written: the configured limit, or what the disk has left beyond the reserve."""
    space = os.statvfs(directory)
    return min(limit_mib << 20, space.f_bavail * space.f_frsize - RESERVE_BYTES)


async def take(session: Session, directory: str, limit_mib: int, keep: int, deadline: float, run_dir: str = "") -> Dump:
    """Write one dump. The guest is paused meanwhile, by QEMU itself if it is not already.

    :param keep: dumps to keep in ``directory``, the new one included.
    :param deadline: seconds; QEMU may be slow, but a restart must not wait for ever.
    :param run_dir: where the logs of the serial ports are; "": none are saved.
    :raise HostError: no room, no pipe, no file; or the deadline has passed.
    :raise QmpError: QEMU refused or does not answer.
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)
    prune(directory, keep - 1)
    limit = limit_bytes(directory, limit_mib)
    if limit < SMALLEST_BYTES:
        raise HostError(
            f"no room for a memory dump in {directory}", "remove old dumps there, or set vmm.crash.dump_keep"
        )
    file_format = await _file_format(session)
    suffix = "elf" if file_format == "elf" else "kdump"
    path = os.path.join(directory, f"dump-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.{suffix}")
    part = path + ".part"
    try:
        await asyncio.wait_for(_stream(session, part, file_format, limit), deadline)
        size = os.path.getsize(part)
        if size == 0:
            raise HostError("QEMU wrote an empty memory dump")
        shortfall = "cut off at the limit" if size >= limit else await _shortfall(session)
        os.replace(part, path)
    except asyncio.TimeoutError:
        raise HostError(
            f"the memory dump was not finished after {deadline:.0f} s", "see vmm.crash.dump_grace"
        ) from None
    finally:
        atomic.remove(part)
    return Dump(path, size, shortfall, tuple(_save_logs(run_dir, path)) if run_dir else ())


def _save_logs(run_dir: str, path: str) -> list[str]:
    try:
        return seriallog.save(run_dir, path)
    except OSError as error:
        logger.warning("the logs of the serial ports are not saved: %s", error)
        return []


async def _shortfall(session: Session) -> str:
    """Whether QEMU says that it wrote everything; it does before it closes the pipe (dump/dump.c, dump_process)."""
    untrusted_answer = await session.execute("query-dump")
    status = untrusted_answer.get("status") if isinstance(untrusted_answer, dict) else None
    return "" if status == "completed" else "QEMU gave up"


async def _file_format(session: Session) -> str:
    untrusted_answer = await session.execute("query-dump-guest-memory-capability")
    formats = untrusted_answer.get("formats") if isinstance(untrusted_answer, dict) else None
    return "kdump-zlib" if isinstance(formats, list) and "kdump-zlib" in formats else "elf"


async def _stream(session: Session, part: str, file_format: str, limit: int) -> None:
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    try:
        target = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            head = await asyncio.create_subprocess_exec("head", "-c", str(limit), stdin=read_end, stdout=target)
        finally:
            os.close(target)
        os.close(read_end)
        read_end = -1
        try:
            await session.execute_with_fd("getfd", {"fdname": "hal-dump"}, write_end)
            os.close(write_end)
            write_end = -1
            arguments = {"paging": False, "protocol": "fd:hal-dump", "detach": True, "format": file_format}
            await session.execute("dump-guest-memory", arguments, deadline=30.0)
            if await head.wait():
                raise HostError(f"the memory dump could not be written to {part}")
        except (HalError, asyncio.CancelledError):
            if head.returncode is None:
                head.kill()
                await head.wait()
            raise
    finally:
        for fd in (read_end, write_end):
            if fd >= 0:
                os.close(fd)
