"""A distribution's binary packages, unpacked and cached: what disk images are made of, with nothing installed here.

A package that is named by its version never changes, so what is unpacked once is used for ever.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Callable

from factory import programs
from factory.distribution import is_debian
from lab import kept
from lab.errors import LabError

Say = Callable[[str], None]

_UNPACK_RPM = 'rpm2cpio "$1" | cpio -idm --quiet'


def newest(*names: str) -> list[str]:
    """What apt or dnf would download now, in the order of the names: NAME=VERSION, or NAME-EPOCH:VERSION-RELEASE.ARCH.

    :raise LabError: no repository has one of them
    """
    return _newest_debs(names) if is_debian() else _newest_rpms(names)


def unpacked(
    packages: Sequence[str], cache: Path, say: Say, finish: Callable[[Path], None] = lambda tree: None
) -> Path:
    """One directory with the files of all these packages; from the cache if it is there. Whole or not at all.

    :param packages: as :func:`newest` says them; the first one names the directory
    :param say: told what is downloaded
    :param finish: what else belongs to the directory
    :raise ProgramFailed: a package cannot be had
    """

    def make(tree: Path) -> None:
        say(f"fetching {', '.join(packages)}")
        tree.mkdir()
        downloads = tree.with_name("downloads")
        downloads.mkdir()
        (_unpack_debs if is_debian() else _unpack_rpms)(packages, downloads, tree)
        finish(tree)

    return kept.once(cache / packages[0], make)


def first(tree: Path, *patterns: str) -> Path:
    """The first file that is there, of the places where distributions put it.

    :raise LabError: none is
    """
    for pattern in patterns:
        for path in sorted(tree.glob(pattern)):
            return path
    raise LabError(f"{tree.name} has no {patterns[0]}; remove {tree} to fetch it again")


def fields(shown: str) -> Iterable[dict[str, str]]:
    """What ``apt-cache show`` says: one dictionary per package, the first of several versions only."""
    seen = set()
    for paragraph in shown.strip().split("\n\n"):
        entry = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if entry["Package"] not in seen:
            seen.add(entry["Package"])
            yield entry


def _newest_debs(names: Sequence[str]) -> list[str]:
    try:
        shown = programs.run("apt-cache", "show", "--no-all-versions", *names)
    except programs.ProgramFailed as error:
        raise LabError(
            f"apt does not know {', '.join(names)}: {programs.last_line(error.output)}; apt-get update?"
        ) from None
    versions = {entry["Package"]: entry["Version"] for entry in fields(shown)}
    _all_of(names, versions, "apt-get update may help")
    return [f"{name}={versions[name]}" for name in names]


def _newest_rpms(names: Sequence[str]) -> list[str]:
    found = {}
    query = ("repoquery", "--latest-limit=1", "--arch=x86_64,noarch", "--qf", "%{name} %{evr}.%{arch}\n")
    for line in programs.run("dnf", "-q", *query, *names).splitlines():
        if line.strip():
            name, version = line.split()
            found[name] = f"{name}-{version}"
    _all_of(names, found, "on EL enable EPEL: dnf install epel-release")
    return [found[name] for name in names]


def _all_of(names: Sequence[str], found: Iterable[str], advice: str) -> None:
    missing = sorted(set(names) - set(found))
    if missing:
        raise LabError(f"no repository has {', '.join(missing)}; {advice}")


def _unpack_debs(packages: Sequence[str], downloads: Path, tree: Path) -> None:
    # As another user apt would complain that its sandbox user cannot write here.
    programs.run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *packages, cwd=downloads)
    for deb in sorted(downloads.glob("*.deb")):
        programs.run("dpkg-deb", "-x", deb, tree)


def _unpack_rpms(packages: Sequence[str], downloads: Path, tree: Path) -> None:
    programs.run("dnf", "-q", "download", "--destdir", downloads, *packages)
    for rpm in sorted(downloads.glob("*.rpm")):
        unpack_rpm(rpm, tree)
    for merged in ("lib", "sbin"):
        if not os.path.lexists(tree / merged):
            (tree / merged).symlink_to(f"usr/{merged}")


def unpack_rpm(rpm: Path, tree: Path) -> None:
    """The files of an RPM, below a directory.

    :raise ProgramFailed: it is none
    """
    programs.run("bash", "-o", "pipefail", "-c", _UNPACK_RPM, "bash", rpm.resolve(), cwd=tree)


def program(name: str) -> dict[str, Path]:
    """A program of this machine and the libraries that it is linked to: files by their path without a leading slash.

    :raise LabError: it is not installed
    """
    found = shutil.which(name, path="/usr/bin:/usr/sbin:/bin:/sbin")
    if found is None:
        raise LabError(f"{name} is not installed here")
    files = {found.lstrip("/"): Path(found).resolve()}
    for line in programs.run("ldd", found).splitlines():
        # "libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x...)", "/lib64/ld-linux-x86-64.so.2 (0x...)"
        path = next((word for word in line.split() if word.startswith("/")), None)
        if path:
            files[path.lstrip("/")] = Path(path).resolve()
    return files
