"""The files of a server: this one, or a recorded one; the only module of the facts that touches a file system.

Every path is absolute and as on the server itself, ``/sys/block/sda/size``. Symbolic links, absolute or relative, are
followed *inside* the recording: one that points out of it ends at its root, as in chroot(2).

A missing file is normal and is given as ``None`` or as empty. A file that exists but may not be read is remembered in
:attr:`Tree.unreadable`. What was read is remembered too, which is how a recording can never lack what facts need.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from typing import Optional, Protocol

from hal_core.facts import parse

MAX_FILE_BYTES = 16 << 20  # /proc/cpuinfo of 4096 CPUs is a third of this; it bounds what a bad recording can cost
MAX_LINKS = 40  # as Linux has it: path_resolution(7)

# Links of procfs that change with the reader. As plain directories they mean the same in a recording.
_PLAIN = frozenset({"/proc/self"})


class Store(Protocol):
    """Where the files really are. Paths are absolute and free of links."""

    def link(self, path: str) -> Optional[str]:
        """The target, if this is a symbolic link."""

    def data(self, path: str) -> bytes:
        """:raise OSError: as open(2) and read(2) have it."""

    def names(self, path: str) -> list[str]:
        """:raise OSError: as opendir(3) has it."""

    def kind(self, path: str) -> str:
        """``file``, ``directory`` or ``link``; ``""`` if there is nothing."""

    def inside(self, name: str) -> Store:
        """The same files, seen from a directory in the root."""


class DirectoryStore:
    """A directory that looks like the root of a server, or is it."""

    def __init__(self, root: str) -> None:
        self._root = "" if root == "/" else root.rstrip("/")

    def link(self, path: str) -> Optional[str]:
        try:
            return os.readlink(self._root + path)
        except OSError:
            return None  # not a link, or nothing there: reading it will tell

    def data(self, path: str) -> bytes:
        # NOFOLLOW: links have been followed already, inside the root. NONBLOCK: a FIFO in a recording must not hang us.
        fd = os.open(self._root + path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            chunks = []
            left = MAX_FILE_BYTES
            while left > 0 and (chunk := os.read(fd, min(left, 1 << 16))):
                chunks.append(chunk)
                left -= len(chunk)
            return b"".join(chunks)
        finally:
            os.close(fd)

    def names(self, path: str) -> list[str]:
        return os.listdir(self._root + path)

    def kind(self, path: str) -> str:
        try:
            mode = os.lstat(self._root + path).st_mode
        except OSError:
            return ""
        return "link" if stat.S_ISLNK(mode) else "directory" if stat.S_ISDIR(mode) else "file"

    def inside(self, name: str) -> DirectoryStore:
        return DirectoryStore(f"{self._root}/{name}")


class Tree:
    """Reads the files of one server and remembers what it has read.

    :param extra: files that are not in the store: what only a system call can tell (:mod:`hal_core.facts.live`).
    """

    def __init__(self, store: Store, extra: Optional[Mapping[str, bytes]] = None) -> None:
        self._store = store
        self._extra = dict(extra or {})
        self._resolved: dict[str, str] = {}
        self._listed: list[tuple[str, list[str]]] = []
        self.files: dict[str, bytes] = {}  # by resolved path: everything that was read
        self.links: dict[str, str] = {}  # path to target: every link that was followed
        self.unreadable: list[str] = []

    def data(self, path: str) -> Optional[bytes]:
        """The content; None if the file is missing, unreadable, or has no value at the moment.

        sysfs answers some reads with an error by design (``speed`` of a NIC that is down: EINVAL). That is "no value";
        only a denied permission is worth telling.
        """
        real = self.resolve(path)
        if real in self.files:
            return self.files[real]
        try:
            content = self._extra[real] if real in self._extra else self._store.data(real)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM) and path not in self.unreadable:
                self.unreadable.append(path)
            return None
        self.files[real] = content
        return content

    def text(self, path: str) -> str:
        """The whole content as text, ``""`` if missing; bytes that are not UTF-8 are replaced."""
        content = self.data(path)
        return content.decode("utf-8", "replace") if content else ""

    def line(self, path: str) -> str:
        """The first line, stripped, without unprintable characters; ``""`` if missing."""
        return "".join(filter(str.isprintable, self.text(path).partition("\n")[0])).strip()

    def integer(self, path: str, base: int = 10) -> Optional[int]:
        """The first line as a number; None if missing or not a number. Base 0 takes ``0x``."""
        return parse.integer(self.line(path), base)

    def flag(self, path: str) -> bool:
        """True for a file that says 1."""
        return self.integer(path) == 1

    def names(self, path: str, prefix: str = "") -> list[str]:
        """The names in a directory that start with ``prefix``, counted (``eth2`` before ``eth10``); [] if missing."""
        real = self.resolve(path)
        try:
            every = self._store.names(real)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM) and path not in self.unreadable:
                self.unreadable.append(path)
            return []
        found = sorted((name for name in every if name.startswith(prefix)), key=parse.natural)
        self._listed.append((real, found))
        return found

    def exists(self, path: str) -> bool:
        """True if something is there; a link counts even if its target is missing from a recording."""
        parent, _, name = path.rpartition("/")
        directory = self.resolve(parent)
        real = f"{directory.rstrip('/')}/{name}"
        kind = "file" if real in self._extra else self._store.kind(real)
        if kind:
            self._listed.append((directory, [name]))
        return bool(kind)

    def link(self, path: str) -> str:
        """The last part of a link's target: ``device/driver`` gives ``e1000e``; ``""`` if it is no link."""
        parent, _, name = path.rpartition("/")
        directory = self.resolve(parent)
        real = f"{directory.rstrip('/')}/{name}"
        target = self._store.link(real)
        if target is None:
            return ""
        self.links[real] = target
        return target.rstrip("/").rpartition("/")[2]

    def resolve(self, path: str) -> str:
        """The path free of links; missing parts stay as they are named."""
        return self._follow("/", path, 0)

    def directories(self) -> list[str]:
        """The directories that were listed or looked for, and the directories in those: a recording keeps their names.

        Links among the names are added to :attr:`links`. Plain files among them are not needed, unless they were read.
        """
        found = set()
        for directory, names in self._listed:
            found.add(directory)
            for name in names:
                path = f"{directory.rstrip('/')}/{name}"
                kind = self._store.kind(path)
                if kind == "directory":
                    found.add(path)
                elif kind == "link" and (target := self._store.link(path)) is not None:
                    self.links[path] = target
        return sorted(found)

    def _follow(self, directory: str, target: str, depth: int) -> str:
        current = "/" if target.startswith("/") else directory
        for name in target.split("/"):
            if name in ("", "."):
                continue
            current = os.path.dirname(current) if name == ".." else self._step(current, name, depth)
        return current

    def _step(self, directory: str, name: str, depth: int) -> str:
        path = directory + name if directory == "/" else f"{directory}/{name}"
        known = self._resolved.get(path)
        if known is not None:
            return known
        target = None if path in _PLAIN or path in self._extra else self._store.link(path)
        if target is None:
            real = path
        elif depth >= MAX_LINKS:
            return path  # a loop: reading the link itself fails, which makes it a missing file
        else:
            self.links[path] = target
            real = self._follow(directory, target, depth + 1)
        self._resolved[path] = real
        return real
