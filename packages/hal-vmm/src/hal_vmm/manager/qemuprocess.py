"""One QEMU process: how to wait for its end, or bring that about."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Callable


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
