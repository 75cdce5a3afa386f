"""A recorded server in a tar file, read in memory: nothing is unpacked to disk, whatever the tar says.

Plain, gzip, bzip2 or xz, told apart by their first bytes. A recording is a stranger's file: names that lead out of it,
sizes that are not credible and a tar cut short are each refused in one line.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable
from typing import Optional

from hal_core.errors import FileFormatError

MAX_BYTES = 512 << 20  # unpacked; the largest recording known is 30 MiB
_BLOCK = 512
_UNPACKERS: dict[bytes, Callable[[io.BytesIO], io.BufferedIOBase]] = {
    b"\x1f\x8b": lambda packed: gzip.GzipFile(fileobj=packed),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}


class TarStore:
    """The members of a tar, by absolute path (:class:`hal_core.facts.tree.Store`).

    :param prefix: the one directory that everything is in, without slashes; ``""`` if there is none.
    """

    def __init__(self, members: dict[str, tuple[str, bytes]], prefix: str = "") -> None:
        self._members = members  # path to (kind, content or link target)
        self._prefix = f"/{prefix}" if prefix else ""
        self._children: dict[str, set[str]] = {}
        for path in list(members):
            while path != "/":
                parent, _, name = path.rpartition("/")
                parent = parent or "/"
                siblings = self._children.setdefault(parent, set())
                if name in siblings:
                    break
                siblings.add(name)
                path = parent

    def link(self, path: str) -> Optional[str]:
        kind, content = self._members.get(self._prefix + path, ("", b""))
        return os.fsdecode(content) if kind == "link" else None

    def data(self, path: str) -> bytes:
        kind, content = self._members.get(self._prefix + path, ("", b""))
        if kind != "file":
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return content

    def names(self, path: str) -> list[str]:
        children = self._children.get((self._prefix + path).rstrip("/") or "/")
        if children is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return list(children)

    def kind(self, path: str) -> str:
        full = self._prefix + path
        if full in self._children:
            return "directory"
        return self._members.get(full, ("", b""))[0]

    def inside(self, name: str) -> TarStore:
        return TarStore(self._members, name)


def read(path: str) -> TarStore:
    """The tar at ``path``.

    :raise FileFormatError: not a tar, damaged, cut short, too large, or with names that lead out of it.
    :raise OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        plain = _decompress(path, file.read(MAX_BYTES + 1))
    members: dict[str, tuple[str, bytes]] = {}
    end = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as tar:
            for member in tar:
                _add(path, tar, member, members)
            end = tar.offset
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise FileFormatError(f"{path}: not a whole tar file: {error}", _HINT) from error
    # tarfile takes the end of the file for the end of the tar. A tar ends with blocks of zeros (tar(5)).
    if plain[end : end + _BLOCK] != bytes(_BLOCK):
        raise FileFormatError(f"{path}: the tar file is cut short", _HINT)
    return TarStore(members)


_HINT = "ask for it to be sent again; 'hal record' writes it"


def _decompress(path: str, data: bytes) -> bytes:
    plain = data
    try:
        for magic, unpacker in _UNPACKERS.items():
            if data.startswith(magic):
                with unpacker(io.BytesIO(data)) as file:
                    plain = file.read(MAX_BYTES + 1)
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise FileFormatError(f"{path}: damaged or cut short: {error}", _HINT) from error
    if len(plain) > MAX_BYTES:
        raise FileFormatError(f"{path}: larger than {MAX_BYTES >> 20} MiB: not a recorded machine")
    return plain


def _add(archive: str, tar: tarfile.TarFile, member: tarfile.TarInfo, members: dict[str, tuple[str, bytes]]) -> None:
    name = _clean(archive, member.name)
    if name == "/":
        return
    if member.isdir():
        members[name] = ("directory", b"")
    elif member.issym():
        members[name] = ("link", os.fsencode(member.linkname))
    elif member.islnk():
        original = members.get(_clean(archive, member.linkname))
        if original:
            members[name] = original
    elif member.isreg() and not member.issparse():
        content = tar.extractfile(member)
        members[name] = ("file", content.read() if content else b"")
    # Device nodes, FIFOs and sparse files are in no recording that facts could use.


def _clean(archive: str, name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise FileFormatError(
            f"{archive}: a member leads out of the recording: {name[:80]!r}", "do not trust this file"
        )
    return "/" + "/".join(parts)
