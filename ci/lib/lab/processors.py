"""This machine's processors, shared by stories that are told side by side.

An emulated processor keeps one of this machine's busy. Servers with one run side by side, as many as this machine has
processors; a server with several has the machine to itself, because QEMU's emulation of several is at its best when
they really run at the same time.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.simulator.server import Server

_MEMORY = 4 << 30  # bytes of this machine's memory for each server at a time: the largest one that ships, and its files


def several(server: Server) -> bool:
    """Whether this server cannot be beside another."""
    return server.cpu.count > 1


def stories_at_a_time() -> int:
    """How many servers this machine can simulate side by side."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(len(os.sched_getaffinity(0)), memory // _MEMORY))


@contextmanager
def taken(server: Server, lock: Path) -> Iterator[None]:
    """Processors for this server: waits until they are free.

    :param lock: a file that all processes of one lab share
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if several(server) else fcntl.LOCK_SH)
        yield
