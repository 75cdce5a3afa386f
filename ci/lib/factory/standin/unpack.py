"""Unpacks Debian packages into one tree, each file where the stand-in OS has it."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path
from typing import Optional

from factory.errors import FactoryError
from factory.programs import small_environment
from factory.standin.layout import Layout
from factory.standin.package import Entry


def unpack(deb: Path, tree: Path, layout: Layout) -> list[Entry]:
    """Unpack one package.

    :return: what it has, in the tree
    :raise FactoryError: it cannot be unpacked
    """
    entries = []
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", os.fspath(deb)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=small_environment(),
    ) as unpacker:
        if unpacker.stdout is None or unpacker.stderr is None:
            raise ValueError("pipes were asked for")
        try:
            with tarfile.open(fileobj=unpacker.stdout, mode="r|") as archive:
                for member in archive:
                    entry = extract(archive, member, tree, layout)
                    if entry is not None:
                        entries.append(entry)
        except (tarfile.TarError, OSError) as error:
            unpacker.kill()
            said = unpacker.stderr.read().decode(errors="replace").strip()
            raise FactoryError(f"{deb.name}: {said or error}") from None
        unpacker.stdout.read()  # the zeros that end an archive
        said = unpacker.stderr.read().decode(errors="replace").strip()
    if unpacker.returncode:
        raise FactoryError(f"{deb.name}: {said}")
    return entries


def extract(archive: tarfile.TarFile, member: tarfile.TarInfo, tree: Path, layout: Layout) -> Optional[Entry]:
    """Unpack one member; None: the stand-in OS does not have it.

    :raise FactoryError: it is there already, or it is something that a package does not have
    """
    original = os.path.normpath(f"/{member.name}")
    path = layout.place(original)
    if path is None or path == "/":
        return None
    place = tree / path[1:]
    if member.isdir():
        place.mkdir(parents=True, exist_ok=True)
        return Entry(path, "dir", member.mode, member.uname or "root", member.gname or "root")
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        if member.issym():
            place.symlink_to(layout.target(original, member.linkname))
            return Entry(path, "link", 0o777)
        if member.islnk():
            first = layout.place(os.path.normpath(f"/{member.linkname}"))
            if first is None:
                return None
            os.link(tree / first[1:], place)
        elif member.isreg():
            content = archive.extractfile(member)
            if content is None:
                raise ValueError(member.name)
            with open(place, "xb") as file:
                file.write(layout.edit(path, content.read()))
            os.utime(place, (member.mtime, member.mtime))
        else:
            raise FactoryError(f"{original} is neither file, directory nor link")
    except FileExistsError:
        raise FactoryError(f"{path} is in another package too") from None
    # Debian's policy 10.7: every configuration file is below /etc, and what is below /etc is configuration.
    kind = "config" if path.startswith("/etc/") else "file"
    return Entry(path, kind, member.mode, member.uname or "root", member.gname or "root")
