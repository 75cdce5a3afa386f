"""The result: a directory per target that dnf installs from, and that a vendor copies to a DVD.

A new one is made beside the old, and takes its place in one step: `dist/TARGET` is a symbolic link, and always leads to
the last complete one.

    dist/el9/*.rpm, repodata/       the repository, with the comps groups
    dist/el9/source/*.src.rpm       the sources, a repository as well
    dist/el9/SHA256SUMS             for sha256sum --check
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Optional

from factory import programs
from factory.errors import FactoryError

CHECKSUMS = "SHA256SUMS"
SOURCE = "source"


def publish(rpms: Iterable[Path], comps: Path, place: Path, sign: Optional[str] = None) -> bool:
    """Make the repository with exactly these RPMs the one at *place*.

    :param sign: the GPG key to sign the packages, the index and the checksums with
    :return: whether anything changed
    :raise FactoryError: it could not be made; what was there before is there still
    """
    rpms = sorted(rpms, key=where)
    if sign is None and kept_checksums(place) == checksums(rpms):
        return False
    partial = place.with_name(f".{place.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        (partial / SOURCE).mkdir(parents=True)
        copies = [Path(shutil.copy2(rpm, partial / where(rpm))) for rpm in rpms]
        if sign is not None:
            gpg = shutil.which("gpg") or "gpg"  # rpm's own default is gpg2, which Debian does not call it
            programs.run("rpmsign", "--define", f"__gpg {gpg}", "--define", f"_gpg_name {sign}", "--addsign", *copies)
        (partial / CHECKSUMS).write_text(checksums(copies))
        index(partial / SOURCE)
        index(partial, "--groupfile", comps, "--excludes", f"{SOURCE}/*")
        if sign is not None:
            for name in ("repodata/repomd.xml", f"{SOURCE}/repodata/repomd.xml", CHECKSUMS):
                programs.run("gpg", "--batch", "--local-user", sign, "--detach-sign", "--armor", partial / name)
        replace(place, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def kept_checksums(place: Path) -> Optional[str]:
    """What the repository that is there says of itself; None, also when it is signed, since then it is another one."""
    signed = (place / f"{CHECKSUMS}.asc").exists()
    return None if signed or not (place / CHECKSUMS).exists() else (place / CHECKSUMS).read_text()


def where(rpm: Path) -> Path:
    """The place of an RPM below the repository."""
    return Path(SOURCE, rpm.name) if rpm.name.endswith(".src.rpm") else Path(rpm.name)


def checksums(rpms: Iterable[Path]) -> str:
    """The SHA-256 of every RPM, as sha256sum(1) writes it."""
    return "".join(f"{hashlib.sha256(rpm.read_bytes()).hexdigest()}  {where(rpm)}\n" for rpm in rpms)


def index(directory: Path, *options: programs.Argument) -> None:
    """Write the repodata of a directory of RPMs."""
    programs.run("createrepo_c", "--quiet", *options, directory)


def replace(place: Path, partial: Path) -> None:
    """Let the link at *place* lead to the new directory, and remove the one it led to.

    :raise FactoryError: there is something else at that place
    """
    if place.exists() and not place.is_symlink():
        raise FactoryError(f"{place} is not what ci/rpms made (a link to a directory): move it away")
    old = place.resolve() if place.is_symlink() else None
    number = int(old.suffix[1:]) + 1 if old is not None and old.suffix[1:].isdigit() else 1
    new = place.with_name(f".{place.name}.repository.{number}")
    shutil.rmtree(new, ignore_errors=True)
    # What is in the directory has to be on the disk before the name that leads to it.
    os.sync()
    partial.rename(new)
    link = place.with_name(f".{place.name}.link")
    link.unlink(missing_ok=True)
    link.symlink_to(new.name)
    link.replace(place)
    if old is not None and old != new:
        shutil.rmtree(old, ignore_errors=True)


def packages(place: Path) -> list[Path]:
    """The RPMs of a repository, sources included; none, if there is no repository."""
    return sorted(path for path in place.rglob("*.rpm") if path.is_file()) if place.exists() else []
