"""Replacing files so that a power failure leaves the old one or the new one, never a part of one."""

from __future__ import annotations

import os


def write(path: str, content: str | bytes, mode: int = 0o644) -> None:
    """Replace the file at ``path``; the directory is made when it is missing.

    The new content and the rename are on the disk when this returns: ``fsync`` on the file before the rename and on the
    directory after it (rename(2), fsync(2): the directory entry needs its own).

    :raise OSError: as the system says; the old file is then untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    directory = os.path.dirname(path) or "."
    os.makedirs(directory, exist_ok=True)
    temporary = f"{path}.{os.getpid()}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        try:
            os.fchmod(fd, mode)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, path)
    except OSError:
        remove(temporary)
        raise
    directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory_fd)
    finally:
        os.close(directory_fd)


def remove(path: str) -> None:
    """Remove a file that may already be gone."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
