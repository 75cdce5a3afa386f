"""Whether a file that says what is wanted is another than before: no event tells, and stat(2) costs next to nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator

from hal_netcfg.firewall import ports
from hal_netcfg.plan import product

Stamp = tuple[tuple[str, int, int, int], ...]  # path, inode, bytes, time of the last change in ns


def stamp(run_dir: str) -> Stamp:
    """Another one as soon as hal-vmm's plan or a file of ports.d is written to, replaced, made or removed."""
    return tuple(_stamps(run_dir))


def _stamps(run_dir: str) -> Iterator[tuple[str, int, int, int]]:
    for path in (product.path(run_dir), *ports.candidates()):
        try:
            status = os.stat(path)
        except OSError:
            yield path, 0, 0, 0
        else:
            yield path, status.st_ino, status.st_size, status.st_mtime_ns
