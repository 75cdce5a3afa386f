"""NUMA nodes (Documentation/ABI/stable/sysfs-devices-node of Linux). A kernel without NUMA has none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Optional

from hal_core.facts import cpuids
from hal_core.facts.tree import Tree

if TYPE_CHECKING:
    from hal_core.machine import NumaNode

ROOT = "/sys/devices/system/node"


def read(tree: Tree) -> tuple[NumaNode, ...]:
    """By id; numbers may be missing in between."""
    from hal_core.machine import NumaNode  # only now: who asks for a NIC's node needs no other part of a machine

    return tuple(
        NumaNode(id=id_, cpus=cpus(tree, id_), memory_kib=_memory(tree, id_), distances=_distances(tree, id_))
        for id_ in _ids(tree)
    )


def node_of_cpu(tree: Tree) -> dict[int, int]:
    """The node of each CPU that is in one."""
    return {cpu: id_ for id_ in _ids(tree) for cpu in cpus(tree, id_)}


def cpus(tree: Tree, id_: int) -> tuple[int, ...]:
    """The node's online CPUs: a list, or before 2.6.25 a mask."""
    return cpuids.in_list(tree, f"{ROOT}/node{id_}/cpulist") or cpuids.in_mask(tree, f"{ROOT}/node{id_}/cpumap")


def node_of_device(tree: Tree, directory: str) -> Optional[int]:
    """The node of a device; None where the kernel does not know (it then says -1)."""
    id_ = tree.integer(f"{directory}/numa_node")
    return id_ if id_ is not None and id_ >= 0 else None


def _ids(tree: Tree) -> list[int]:
    return [int(name[4:]) for name in tree.names(ROOT, "node") if re.fullmatch("node[0-9]{1,6}", name)]


def _memory(tree: Tree, id_: int) -> Optional[int]:
    match = re.search(r"MemTotal:\s*([0-9]+) kB", tree.text(f"{ROOT}/node{id_}/meminfo"))
    return int(match[1]) if match else None


def _distances(tree: Tree, id_: int) -> tuple[int, ...]:
    numbers = tree.line(f"{ROOT}/node{id_}/distance").split()
    return tuple(map(int, numbers)) if all(re.fullmatch("[0-9]{1,6}", number) for number in numbers) else ()
