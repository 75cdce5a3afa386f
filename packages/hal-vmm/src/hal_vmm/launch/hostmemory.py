"""Huge pages and KSM on the host, as the plan has them: what is already so is left alone.

Files: Documentation/admin-guide/mm/hugetlbpage.rst and ksm.rst of the kernel.
"""

from __future__ import annotations

import os

from hal_core.errors import HostError
from hal_vmm.plan.memoryplan import MemoryPlan

_PAGE_KIB = {"2M": 2048, "1G": 1048576}


def apply(memory: MemoryPlan, root: str = "/") -> list[str]:
    """Reserve the huge pages, switch KSM on; returns what was changed, in words.

    Huge pages are never given back here: another program may have reserved some of them. KSM is only ever switched on.

    :param root: where /sys is, for tests.
    :raise HostError: the kernel did not find enough free memory in one piece; or we may not.
    """
    changed = []
    if memory.hugepages != "none":
        for node in memory.nodes:
            changed += _reserve(memory, node.host_node, node.mib // memory.page_mib, root)
    if memory.ksm:
        path = os.path.join(root, "sys/kernel/mm/ksm/run")
        if _read(path) != 1:
            _write(path, 1)
            changed.append("KSM is on")
    return changed


def _reserve(memory: MemoryPlan, node: int | None, pages: int, root: str) -> list[str]:
    directory = "sys/kernel/mm/hugepages" if node is None else f"sys/devices/system/node/node{node}/hugepages"
    path = os.path.join(root, directory, f"hugepages-{_PAGE_KIB[memory.hugepages]}kB", "nr_hugepages")
    before = _read(path)
    if before >= pages:
        return []
    _write(path, pages)
    reserved = _read(path)
    where = "" if node is None else f" on NUMA node {node}"
    if reserved < pages:
        raise HostError(
            f"only {reserved} of {pages} huge pages of {memory.hugepages} could be reserved{where}",
            f"reserve them at boot: hugepagesz={memory.hugepages} hugepages={pages} on the host's kernel command line",
        )
    return [f"huge pages of {memory.hugepages}{where}: {before} → {reserved}"]


def _read(path: str) -> int:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except FileNotFoundError:
        raise HostError(f"this kernel has no {path}", "take hugepages or ksm out of hal.toml") from None
    except (OSError, ValueError) as error:
        raise HostError(f"{path} cannot be read: {error}") from None


def _write(path: str, value: int) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(f"{value}\n")
    except OSError as error:
        raise HostError(f"{path} cannot be written: {error.strerror}", "run as root") from None
