"""A disk's node, opened for QEMU as hal-vmm's launcher does it: claimed, so that the host cannot use it."""

from __future__ import annotations

import errno
import os
import stat

from hal_core.errors import HostError


def open_disk(path: str, number: str, read_only: bool) -> int:
    """The descriptor of a disk that nobody else on this host uses, nor can use any more.

    :param number: which disk it has to be, "8:16".
    :raise HostError: it is gone, it is another one by now, or the host uses it.
    """
    # On a block device O_EXCL is a claim, as mounting it is one (open(2)): whoever comes second is refused.
    flags = (os.O_RDONLY if read_only else os.O_RDWR) | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags)
    except OSError as error:
        busy = "this host uses it, as a file system, in a RAID or for LVM? see: lsblk"
        raise HostError(f"{path}: {error.strerror}", busy if error.errno == errno.EBUSY else "") from None
    found = os.fstat(fd)
    if not stat.S_ISBLK(found.st_mode) or f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}" != number:
        os.close(fd)
        raise HostError(f"{path}: is not the node of the disk {number}")
    os.set_blocking(fd, True)
    return fd
