"""Memory and huge pages (Documentation/filesystems/proc.rst, Documentation/admin-guide/mm/hugetlbpage.rst of Linux)."""

from __future__ import annotations

import re
from typing import Optional

from hal_core.facts.tree import Tree
from hal_core.machine import HugePages, Memory

_POOLS = "/sys/kernel/mm/hugepages"


def read(tree: Tree) -> Memory:
    """What /proc/meminfo calls MemTotal, and the pool of every huge page size."""
    meminfo = tree.text("/proc/meminfo")
    return Memory(total_kib=_field(meminfo, "MemTotal"), hugepages=_pools(tree) or _default_pool(meminfo))


def _pools(tree: Tree) -> tuple[HugePages, ...]:
    found = []
    for name in tree.names(_POOLS, "hugepages-"):
        match = re.fullmatch("hugepages-([0-9]+)kB", name)
        if match:
            total = tree.integer(f"{_POOLS}/{name}/nr_hugepages") or 0
            free = tree.integer(f"{_POOLS}/{name}/free_hugepages") or 0
            found.append(HugePages(size_kib=int(match[1]), total=total, free=free))
    return tuple(found)


def _default_pool(meminfo: str) -> tuple[HugePages, ...]:
    """The one pool that /proc/meminfo knows, for kernels before 2.6.27."""
    size = _field(meminfo, "Hugepagesize")
    if not size:
        return ()
    return (HugePages(size, _field(meminfo, "HugePages_Total") or 0, _field(meminfo, "HugePages_Free") or 0),)


def _field(meminfo: str, name: str) -> Optional[int]:
    match = re.search(rf"^{name}:[ \t]*([0-9]+)", meminfo, re.MULTILINE)
    return int(match[1]) if match else None
