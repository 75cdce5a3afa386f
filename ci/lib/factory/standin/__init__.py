"""The stand-in OS: EL and Fedora, played by Debian's binaries.

Where no EL or Fedora repository can be reached, packages are built and installed on this. Every Debian package of a
closure becomes one RPM with the same files and dependencies and, as Provides, the name that EL and Fedora have for it.
Own packages play the distribution's identity and its macros, and Debian's reference policy plays
selinux-policy-targeted. So dnf, rpm, their solver, scriptlets and triggers are the real ones, and a missing
BuildRequires is missing. What this cannot show is that a name or a version exists on EL: only :mod:`names` says so.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Callable

from factory.standin.store import Store
from factory.target import Target


def key(target: Target, work: Path) -> str:
    """What the repository of a target is known by: another one, if anything in it would be.

    :param work: where everything is kept; it is made
    :raise FactoryError: apt cannot say what the stand-in OS is made of
    """
    work.mkdir(parents=True, exist_ok=True)
    return Store(target, work).key


def repository(target: Target, work: Path, progress: Callable[[str], None]) -> Path:
    """A directory that is a complete dnf repository of the stand-in OS.

    :param work: where everything is kept; it is made. Of two callers at once, the second waits for the first
    :param progress: is told what is being done, one line each
    :raise FactoryError: it cannot be made; nothing half-made is left
    """
    work.mkdir(parents=True, exist_ok=True)
    with open(work / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        store = Store(target, work)
        if not store.repository.exists():
            store.make(progress)
        return store.repository
