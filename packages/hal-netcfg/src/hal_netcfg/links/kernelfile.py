"""Writing to files of /proc and /sys."""

from __future__ import annotations

import os


def write(path: str, text: str) -> None:
    """Write to a file that is there.

    Not by ``open(path, "w")``: that asks to create it, too, and an enforcing kernel denies that, and complains, before
    it looks and finds it (fs/namei.c, lookup_open).

    :raise OSError: not permitted, not there, or not what the kernel takes.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
