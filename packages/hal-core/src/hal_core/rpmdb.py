"""What is installed from RPMs, asked of rpm itself through its own bindings (python3-rpm).

The bindings belong to the system's rpm and are in no package index, so they are no dependency of the Python package but
of the RPM, and they are imported at the first question only. Not named ``rpm``: that is the bindings' own name.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Optional

from hal_core.errors import FileFormatError, HostError


@dataclass(frozen=True)
class Package:
    """One binary RPM: installed, or in a file."""

    name: str
    epoch: Optional[int]  # None is the same as 0, and is what nearly every package has
    version: str
    release: str
    arch: str  # "noarch", "x86_64"
    installed: Optional[int]  # when, in seconds since 1970, UTC; None for a file

    @property
    def evr(self) -> str:
        """``0.1.0-1.el9``, with the epoch in front where there is one."""
        return ("" if self.epoch is None else f"{self.epoch}:") + f"{self.version}-{self.release}"

    @property
    def nevra(self) -> str:
        """The full name, as ``rpm -q`` and ``dnf`` take it: ``hal-core-0.1.0-1.el9.noarch``."""
        return f"{self.name}-{self.evr}.{self.arch}"


@dataclass(frozen=True)
class Change:
    """A file that is not as its package installed it."""

    path: str
    what: tuple[str, ...]  # "missing", "content", "mode", "owner", … in rpm's order
    config: bool  # it is configuration, which people are meant to change


# What rpm compares, in the order of the columns of "rpm --verify" (rpm(8), VERIFY OPTIONS), and what can hinder it.
_ASPECTS = (
    ("LSTATFAIL", "missing"),
    ("FILESIZE", "size"),
    ("MODE", "mode"),
    ("FILEDIGEST", "content"),
    ("RDEV", "device number"),
    ("LINKTO", "link"),
    ("USER", "owner"),
    ("GROUP", "group"),
    ("MTIME", "time"),
    ("CAPS", "capabilities"),
    ("READFAIL", "unreadable"),
    ("READLINKFAIL", "unreadable link"),
)


def installed(pattern: str) -> tuple[Package, ...]:
    """The installed packages whose name matches, ``hal-*`` for instance, by name; none where rpm has no database.

    :raise HostError: rpm's bindings are missing, or its database cannot be read.
    """
    return tuple(sorted((_package(header) for header in _matching(pattern)), key=lambda package: package.name))


def owner(path: str) -> Optional[Package]:
    """The installed package that a file belongs to.

    :raise HostError: as for ``installed``.
    """
    for header in _query("basenames", path):
        return _package(header)
    return None


def changes(pattern: str) -> tuple[Change, ...]:
    """What differs on the disk from what the matching packages installed: rpm's own verification.

    A file may be missing if its package says so (``%ghost``, ``%config(missingok)``).

    :raise HostError: as for ``installed``.
    """
    rpm = bindings()
    optional = rpm.RPMFILE_GHOST | rpm.RPMFILE_MISSINGOK
    found = []
    for header in _matching(pattern):
        for file in rpm.files(header):
            differs = file.verify()
            if differs & rpm.RPMVERIFY_LSTATFAIL and file.fflags & optional:
                continue
            what = tuple(word for name, word in _ASPECTS if differs & getattr(rpm, f"RPMVERIFY_{name}"))
            if what:
                found.append(Change(file.name, what, bool(file.fflags & rpm.RPMFILE_CONFIG)))
    return tuple(sorted(found, key=lambda change: change.path))


def read(path: str) -> Package:
    """What an RPM file says of itself. Its digests are checked, its signature is not: that needs the signer's key.

    :raise HostError: rpm's bindings are missing.
    :raise FileFormatError: it is no RPM, or damaged.
    :raise OSError: it cannot be opened.
    """
    rpm = bindings()
    transaction = rpm.TransactionSet("/", rpm.RPMVSF_MASK_NOSIGNATURES)
    with open(path, "rb") as file:
        try:
            return _package(transaction.hdrFromFdno(file.fileno()))
        except rpm.error as error:
            raise FileFormatError(f"{path}: not an RPM, or damaged: {error}") from None


def compare(one: Package, other: Package) -> int:
    """-1, 0 or 1, as ``one`` is older than, as old as or newer than ``other``, by rpm's own rules.

    :raise HostError: rpm's bindings are missing.
    """
    result: int = bindings().labelCompare(_label(one), _label(other))
    return result


def bindings() -> Any:
    """The module ``rpm``, which says nothing on standard error by itself any more.

    :raise HostError: it is not installed.
    """
    try:
        rpm = importlib.import_module("rpm")
    except ImportError:
        raise HostError("rpm cannot be asked: python3-rpm is not installed", "dnf install python3-rpm") from None
    rpm.setVerbosity(rpm.RPMLOG_CRIT)  # what goes wrong is raised; rpm would print it as well, in its own words
    return rpm


def _label(package: Package) -> tuple[str, str, str]:
    return str(package.epoch or 0), package.version, package.release


def _package(header: Any) -> Package:
    return Package(
        header["name"],
        header["epoch"],
        header["version"],
        header["release"],
        header["arch"],
        header["installtime"],
    )


def _matching(pattern: str) -> Iterator[Any]:
    return _query("", "", pattern)


def _query(index: str, key: str, pattern: str = "") -> Iterator[Any]:
    """The headers of rpm's database under a key of an index, or all those whose name matches a pattern."""
    rpm = bindings()
    directory = rpm.expandMacro("%{_dbpath}")
    # Where there is no database, rpm would make one.
    if not os.path.isdir(directory) or not os.listdir(directory):
        return
    try:
        found = rpm.TransactionSet().dbMatch(*([index, key] if index else []))
        if pattern:
            found.pattern("name", rpm.RPMMIRE_GLOB, pattern)
        yield from found
    except rpm.error as error:
        raise HostError(f"rpm's database in {directory} cannot be read: {error}", "rpm --rebuilddb") from None
