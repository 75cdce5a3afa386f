"""Recording a server: a tar of just the files that the facts read.

The facts are read, and what was read on the way is what the tar gets, byte for byte. So a recording can lack nothing
that facts need, and never holds more.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable

from hal_core import atomic, facts
from hal_core.anonymize import Recording, anonymize
from hal_core.errors import HostError, UsageError

_PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": lambda data: gzip.compress(data, mtime=0),
    ".tgz": lambda data: gzip.compress(data, mtime=0),
    ".tar.bz2": bz2.compress,
    ".tbz2": bz2.compress,
    ".tar.xz": lzma.compress,
    ".txz": lzma.compress,
}


def record(path: str, root: str = "/", anonymous: bool = False) -> Recording:
    """Write the machine at ``root`` to the tar ``path``, replacing it in one step if it exists.

    The file is for its owner only, since serial numbers are for root only in sysfs; an anonymous one is for everybody.

    :return: what was written.
    :raise UsageError: the name does not say which kind of tar it is to be.
    :raise HostError: the file cannot be written, or ``root`` cannot be read.
    :raise FileFormatError: ``root`` is not a recorded machine.
    """
    name, suffix = split_name(path)
    recording = collect(root)
    if anonymous:
        recording = anonymize(recording)
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise HostError(f"cannot write {path}: there is no directory {directory}")
    try:
        atomic.write(path, _PACKERS[suffix](pack(recording, name)), mode=0o644 if anonymous else 0o600)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}", "give a file in a directory of your own") from error
    return recording


def collect(root: str = "/") -> Recording:
    """Everything that facts read of the machine at ``root``; raises as :func:`hal_core.facts.read` does."""
    tree = facts.open_tree(root)
    machine = facts.read_tree(tree, facts.is_live(root))
    directories = tree.directories()
    files = dict(tree.files)
    if machine.unreadable:
        files[facts.UNREADABLE] = "".join(f"{path}\n" for path in machine.unreadable).encode()
    return Recording(files=files, links=dict(tree.links), directories=tuple(directories))


def pack(recording: Recording, name: str) -> bytes:
    """The recording as an uncompressed tar in which everything is below the directory ``name``.

    The same recording gives the same bytes: no times, no owners.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(_member(name, "/", tarfile.DIRTYPE))
        for path in sorted({*recording.directories, *recording.files, *recording.links} - {"/"}):
            if path in recording.links:
                member = _member(name, path, tarfile.SYMTYPE)
                member.linkname = recording.links[path]
                tar.addfile(member)
            elif path in recording.files:
                member = _member(name, path, tarfile.REGTYPE)
                member.size = len(recording.files[path])
                tar.addfile(member, io.BytesIO(recording.files[path]))
            else:
                tar.addfile(_member(name, path, tarfile.DIRTYPE))
    return buffer.getvalue()


def split_name(path: str) -> tuple[str, str]:
    """``/tmp/r910.tar.xz`` as the directory inside, ``r910``, and the suffix.

    :raise UsageError: another suffix, or nothing before it.
    """
    base = os.path.basename(path)
    for suffix in sorted(_PACKERS, key=len, reverse=True):
        name = base[: -len(suffix)]
        if base.endswith(suffix) and name.strip("."):
            return name, suffix
    raise UsageError(f"{path}: the name of a recording must end in one of {', '.join(sorted(_PACKERS))}")


def _member(name: str, path: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(f"{name}{path}".rstrip("/"))
    member.type = kind
    member.mode = 0o755 if kind == tarfile.DIRTYPE else 0o777 if kind == tarfile.SYMTYPE else 0o644
    return member
