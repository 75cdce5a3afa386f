"""The product's QEMU as a process: is it there, under which id, and how to wait for its end or bring that about."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
from typing import Callable, Optional


def lock_path(run_dir: str) -> str:
    """The file that the launcher locks for as long as QEMU lives."""
    return os.path.join(run_dir, "qemu.lock")


def running_pid(run_dir: str) -> Optional[int]:
    """The process id of the product's QEMU, or of its launcher; None when there is none.

    Asking takes no lock (F_OFD_GETLK, fcntl(2)), so it never gets in a launcher's way.
    """
    try:
        fd = os.open(lock_path(run_dir), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        wanted = fcntl.F_WRLCK.to_bytes(2, sys.byteorder) + bytes(30)
        found = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, wanted)
        if int.from_bytes(found[:2], sys.byteorder) == fcntl.F_UNLCK:
            return None
        text = os.read(fd, 20).decode("ascii", "replace").strip()
    finally:
        os.close(fd)
    return int(text) if text.isdigit() else None  # locked but not yet written: in a moment


class Process:
    """One QEMU process, held by a pidfd: never mistaken for another with the same number (pidfd_open(2))."""

    def __init__(self, pid: int) -> None:
        """:raise ProcessLookupError: it has ended already."""
        self.pid = pid
        self._fd = os.pidfd_open(pid)

    def on_exit(self, callback: Callable[[], None]) -> None:
        """Call back, once or more, from the running event loop when the process has ended."""
        asyncio.get_running_loop().add_reader(self._fd, callback)

    async def ended(self, seconds: float) -> bool:
        """Whether the process has ended; waits for that as long as ``seconds``."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        fd = os.dup(self._fd)  # the loop has one callback for each descriptor, and on_exit's shall stay
        loop.add_reader(fd, done.set)
        try:
            await asyncio.wait_for(done.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        finally:
            loop.remove_reader(fd)
            os.close(fd)
        return True

    def kill(self) -> None:
        """SIGKILL: QEMU gets no say. A process that has ended meanwhile is fine."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, signal.SIGKILL)

    def close(self) -> None:
        """Let go, and reap it if it was our own child."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
