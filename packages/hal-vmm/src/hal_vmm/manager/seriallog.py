"""What the product has said on its serial ports: QEMU appends it to a file each, whether or not anybody looks.

``<run>/events/com1.log`` and so on, beside what QEMU hands to the real ports. A file outlives the product's restarts,
since the reason for one is often among its last lines. The guest manager gives back what is older than the last
``KEPT_BYTES``: by a hole, as in :mod:`hal_vmm.manager.eventjournal`. `hal vmm dump` saves the rest with the dump, and
`hal console attach --serial` shows it.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os

logger = logging.getLogger(__name__)

KEPT_BYTES = 1 << 20
_TRIM_BYTES = 2 * KEPT_BYTES  # so that there is something to be given back
_PORTS = range(4)


def path(run_dir: str, index: int) -> str:
    """:param index: of the product's port, 0 for COM1."""
    return os.path.join(run_dir, "events", f"com{index + 1}.log")


def trim(run_dir: str) -> None:
    """Let no file hold more than about two MiB. To be called again and again; without a file it costs a few stat()."""
    for index in _PORTS:
        try:
            if os.stat(path(run_dir, index)).st_blocks * 512 > _TRIM_BYTES:
                _punch(path(run_dir, index))
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.warning("the log of a serial port is not trimmed: %s", error)


def save(run_dir: str, beside: str) -> list[str]:
    """Copy the last ``KEPT_BYTES`` of each log to a file for root alone.

    :param beside: what they are named after: "dump-20261128T071716Z.kdump" → "dump-20261128T071716Z.kdump.com1.log".
    :return: the files.
    :raise OSError: no room.
    """
    saved = []
    for index in _PORTS:
        text = tail(path(run_dir, index))
        if text:
            name = f"{beside}.com{index + 1}.log"
            with open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(text)
            saved.append(name)
    return saved


def tail(log: str) -> bytes:
    """The last ``KEPT_BYTES`` of a log; b"" where there is none."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - KEPT_BYTES))
            return file.read(KEPT_BYTES).lstrip(b"\0")
    except FileNotFoundError:
        return b""


def _punch(log: str) -> None:
    """MADV_REMOVE frees the pages (madvise(2)); QEMU, which appends, notices nothing."""
    fd = os.open(log, os.O_RDWR | os.O_CLOEXEC)
    try:
        begin = os.lseek(fd, 0, os.SEEK_DATA) // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        end = (os.fstat(fd).st_size - KEPT_BYTES) // mmap.PAGESIZE * mmap.PAGESIZE
        if end > begin:
            # A file system that cannot do it: the file grows, and is gone with this boot.
            with mmap.mmap(fd, end - begin, offset=begin) as view, contextlib.suppress(OSError):
                view.madvise(mmap.MADV_REMOVE)
    finally:
        os.close(fd)
