"""Mounts that nobody else sees, and that end with this process."""

from __future__ import annotations

import ctypes
import os
import threading

from factory import programs
from factory.errors import FactoryError

_CLONE_NEWNS = 0x00020000  # linux/sched.h; os.unshare() needs Python 3.12
_entered = False


def enter_private_mounts() -> None:
    """From now on, what this process and its children mount is theirs alone. To be called before any thread is started.

    :raise FactoryError: this process may not mount anything, or has threads already
    """
    global _entered
    if _entered:
        return
    if threading.active_count() > 1:
        raise FactoryError("private mounts must be entered before threads are started")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0:
        raise FactoryError(f"cannot have mounts of our own: {os.strerror(ctypes.get_errno())}; clean roots need that")
    try:
        programs.run("mount", "--make-rprivate", "/")
    except programs.ProgramFailed:
        raise FactoryError(
            "mounts cannot be made private, because / is no mount point here (a chroot: bind it to itself beforehand)"
        ) from None
    _entered = True
