"""Is the product's QEMU there, and under which process id? From the lock that it holds for as long as it lives.

Without asyncio, so that one-shot commands may ask, too.
"""

from __future__ import annotations

import fcntl
import os
import sys


def lock_path(run_dir: str) -> str:
    """The file that the launcher locks for as long as QEMU lives."""
    return os.path.join(run_dir, "qemu.lock")


def running_pid(run_dir: str) -> int | None:
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
