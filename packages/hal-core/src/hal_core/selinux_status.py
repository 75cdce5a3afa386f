"""What SELinux does on this server, through libselinux's own bindings (python3-libselinux).

Nothing here fails: a kernel without SELinux and missing bindings are answers too. The bindings belong to the system's
libselinux, so they are no dependency of the Python package but of the RPM. Not named ``selinux``: that is theirs.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import Any, Optional

STORE = "/var/lib/selinux"  # libsemanage's; semanage.conf(5), store-root


@dataclass(frozen=True)
class SELinux:
    """The state of SELinux as a whole."""

    mode: str  # "enforcing", "permissive", "disabled"; "unknown" without python3-libselinux
    policy: Optional[str]  # "targeted"; None unless it is enabled


def read() -> SELinux:
    """What holds now; not what /etc/selinux/config wants at the next boot."""
    selinux = _bindings()
    if selinux is None:
        return SELinux("unknown", None)
    if not selinux.is_selinux_enabled():
        return SELinux("disabled", None)
    try:
        mode = "enforcing" if selinux.security_getenforce() else "permissive"
        return SELinux(mode, selinux.selinux_getpolicytype()[1])
    except OSError:  # selinuxfs is not mounted here, in a container for instance
        return SELinux("unknown", None)


def of_process(pid: int) -> Optional[str]:
    """The context of a process, ``system_u:system_r:hal_qemu_t:s0``; None if it is gone or there is no SELinux."""
    return _context("getpidcon", pid)


def of_file(path: str) -> Optional[str]:
    """The context of a file, of a symbolic link itself; None if it has none, is gone, or there is no SELinux."""
    return _context("lgetfilecon", path)


def type_of(context: str) -> str:
    """The part of a context that policy rules are about: ``hal_qemu_t``."""
    return context.split(":")[2]


def modules(policy: str, prefix: str, store: str = STORE) -> Optional[tuple[str, ...]]:
    """The installed policy modules whose name begins so, sorted; None if only root may know.

    Read from libsemanage's store, where each is a directory PRIORITY/NAME: the names alone need no bindings of its own.
    """
    directory = os.path.join(store, policy, "active", "modules")
    try:
        found = {
            name
            for priority in os.listdir(directory)
            if priority.isdigit()  # beside them is "disabled"
            for name in os.listdir(os.path.join(directory, priority))
            if name.startswith(prefix)
        }
    except PermissionError:
        return None
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple(sorted(found))


def _context(function: str, subject: object) -> Optional[str]:
    selinux = _bindings()
    # Without SELinux, another security module may answer: AppArmor's labels are no contexts.
    if selinux is None or not selinux.is_selinux_enabled():
        return None
    try:
        status, context = getattr(selinux, function)(subject)
    except OSError:
        return None
    return context if status >= 0 else None


def _bindings() -> Any:
    try:
        return importlib.import_module("selinux")
    except ImportError:
        return None
