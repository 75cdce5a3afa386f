"""A process that looks like ``hal-netcfg run``, and does nothing."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator


@contextlib.contextmanager
def a_resident() -> Iterator[int]:
    """Its number."""
    command = ["sh", "-c", "echo; read x", "/usr/bin/hal-netcfg", "run"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # before that, the kernel may not have its command line yet
        yield process.pid
