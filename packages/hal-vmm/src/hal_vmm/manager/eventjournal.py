"""QEMU's own event journal: nothing that the product did is lost while nobody is looking.

QMP events are not replayed: whoever connects late finds a guest that has ended, and not why. So QEMU gets one more
monitor, over a ``pipe`` chardev: commands come from a FIFO in which the launcher has left ``qmp_capabilities``, and
everything QEMU says goes to a regular file, events included, whether or not a guest manager is alive. (QEMU opens
``BASE.in`` and ``BASE.out`` read-write: chardev/char-pipe.c. The FIFO therefore never ends.) Reading that file from its
start tells what has happened to this QEMU process since its birth.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
from dataclasses import dataclass, replace

# Above this, what has been read is given back to the file system. It leaves a hole: reading starts behind it.
TRIM_BYTES = 1 << 20
KEPT_BYTES = 1 << 16  # of what has been read: the end of a run stays there for a manager that is restarted just then
_LONGEST_LINE = 1 << 16  # no event is longer


@dataclass(frozen=True)
class History:
    """What the journal says of one QEMU process."""

    end: str = (
        ""  # reason of the first SHUTDOWN: "guest-reset", "guest-shutdown", … (qapi/run-state.json, ShutdownCause)
    )
    panicked: bool = False
    watchdog: bool = False  # the product's watchdog expired
    crash_kernel: bool = False  # the product has loaded its own crash kernel and is saving its own dump

    def and_then(self, untrusted_event: object) -> History:
        """This history, and one more line of the journal, whatever it is.

        The first reason counts: when the guest manager later makes QEMU quit, that is no news of the product.
        """
        if not isinstance(untrusted_event, dict):
            return self
        name = untrusted_event.get("event")
        if name == "SHUTDOWN" and not self.end:
            data = untrusted_event.get("data")
            reason = data.get("reason") if isinstance(data, dict) else None
            return replace(self, end=reason if isinstance(reason, str) and reason else "unknown")
        if name == "GUEST_PANICKED":
            return replace(self, panicked=True)
        if name == "WATCHDOG":
            return replace(self, watchdog=True)
        if name == "GUEST_CRASHLOADED":
            return replace(self, crash_kernel=True)
        return self


class EventJournal:
    """The journal of one QEMU, read as far as it has got. Every QEMU has a new one, and so has its reader.

    :param base: the launch plan's ``journal``.
    """

    def __init__(self, base: str) -> None:
        self._path = base + ".out"
        self._offset = 0
        self._rest = b""
        self.history = History()

    def read(self) -> History:
        """Take in what has been written since the last call. A missing journal is an empty one."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return self.history
        try:
            self._follow(fd)
        finally:
            os.close(fd)
        return self.history

    def _follow(self, fd: int) -> None:
        status = os.fstat(fd)
        if status.st_size <= self._offset:
            return
        with contextlib.suppress(OSError):  # ENXIO: nothing but hole; a file system without SEEK_DATA reads as zeros
            self._offset = max(self._offset, os.lseek(fd, self._offset, os.SEEK_DATA))
        while True:
            chunk = os.pread(fd, 1 << 16, self._offset)
            if not chunk:
                break
            self._offset += len(chunk)
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            self._rest = self._rest[-_LONGEST_LINE:]  # do not let a broken QEMU fill our memory
            for line in lines:
                self._take(line.strip(b"\0 \r"))
        if status.st_blocks * 512 > TRIM_BYTES:
            self._trim(fd)

    def _trim(self, fd: int) -> None:
        """Free what has been read, by a hole: truncating would lose what QEMU has written since our last read.

        MADV_REMOVE punches it (madvise(2): any file system that has FALLOC_FL_PUNCH_HOLE; elsewhere the file grows).
        """
        length = (self._offset - KEPT_BYTES) // mmap.PAGESIZE * mmap.PAGESIZE
        if length > 0:
            with mmap.mmap(fd, length) as view, contextlib.suppress(OSError):
                view.madvise(mmap.MADV_REMOVE)

    def _take(self, untrusted_line: bytes) -> None:
        try:
            self.history = self.history.and_then(json.loads(untrusted_line))
        except (ValueError, RecursionError):
            return  # half a line of a QEMU that was killed: it says nothing
