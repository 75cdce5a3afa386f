"""Unix sockets in a directory that may be deep: an address has room for 107 bytes only (unix(7))."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from lab.errors import LabError


@contextlib.contextmanager
def address(path: Path) -> Iterator[str]:
    """A short name for a socket's path, good for bind, connect and sendto until the end of the block.

    :raise OSError: its directory is not there
    """
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def connect(path: Path) -> socket.socket:
    """A connected stream socket.

    :raise LabError: nobody listens there
    """
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address(path) as name:
            stream.connect(name)
    except OSError as error:
        stream.close()
        raise LabError(f"{path}: {error.strerror}: is the server on?") from None
    return stream
