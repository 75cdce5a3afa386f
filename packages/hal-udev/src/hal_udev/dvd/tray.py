"""The server's own drive: what is in it, its tray, and the lock of its door.

Opened for a moment each time: the kernel moves a tray only for the only one who has it open (drivers/cdrom/cdrom.c).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator

from hal_core.errors import HostError
from hal_udev.dvd.decision import BUSY, DISC, EMPTY, GONE, OPEN

# include/uapi/linux/cdrom.h
_EJECT, _CLOSE, _DRIVE_STATUS, _LOCK_DOOR, _CURRENT_SLOT = 0x5309, 0x5319, 0x5326, 0x5329, 0x7FFFFFFF
_STATUS = {1: EMPTY, 2: OPEN, 3: BUSY, 4: DISC}


class Tray:
    """:param root: where dev and sys are; a test has others than this server's. Everything blocks."""

    def __init__(self, root: str = "/") -> None:
        self._root = root

    def look(self, host: str) -> tuple[str, str]:
        """What is in the drive, and something that is another one for every disc.

        :raise HostError: it does not tell.
        """
        try:
            with self._opened(host) as fd:
                status = _STATUS.get(fcntl.ioctl(fd, _DRIVE_STATUS, _CURRENT_SLOT), EMPTY)
        except FileNotFoundError:
            return GONE, ""
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENODEV):
                return GONE, ""
            raise HostError(f"{host}: {error.strerror}") from None
        # Opening it has made the kernel look whether the disc has changed; diskseq: Linux 5.15.
        return status, "/".join(self._line(host, name) for name in ("diskseq", "size"))

    def open_disc(self, host: str) -> int:
        """The descriptor for QEMU, to read from. :raise HostError: there is nothing to read."""
        try:
            fd = os.open(self._node(host), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise HostError(f"{host}: {error.strerror}") from None
        if not stat.S_ISBLK(os.fstat(fd).st_mode):
            os.close(fd)
            raise HostError(f"{host}: is not a drive")
        return fd

    def eject(self, host: str) -> None:
        """Open the tray; its door is unlocked before. :raise HostError: it does not open."""
        self._tell(host, ((_LOCK_DOOR, 0), (_EJECT, 0)), "the tray does not open")

    def close(self, host: str) -> None:
        """:raise HostError: it does not close; many have no motor for that."""
        self._tell(host, ((_CLOSE, 0),), "the tray does not close by itself")

    def lock(self, host: str, locked: bool) -> None:
        """While it is locked, the button asks instead of opening. :raise HostError: the drive cannot."""
        self._tell(host, ((_LOCK_DOOR, int(locked)),), "the door cannot be locked")

    def _tell(self, host: str, commands: tuple[tuple[int, int], ...], problem: str) -> None:
        try:
            with self._opened(host) as fd:
                for command, argument in commands:
                    fcntl.ioctl(fd, command, argument)
        except OSError as error:
            raise HostError(f"{host}: {problem}: {error.strerror}") from None

    @contextlib.contextmanager
    def _opened(self, host: str) -> Iterator[int]:
        # O_NONBLOCK: without a disc, too, and without locking the door.
        fd = os.open(self._node(host), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            yield fd
        finally:
            os.close(fd)

    def _node(self, host: str) -> str:
        return os.path.join(self._root, host.lstrip("/"))

    def _line(self, host: str, name: str) -> str:
        try:
            with open(os.path.join(self._root, "sys/block", os.path.basename(host), name), encoding="ascii") as file:
                return file.read().strip()
        except OSError:
            return ""
