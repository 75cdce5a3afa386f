"""Reading files that name CPUs; a damaged one is as good as a missing one."""

from __future__ import annotations

from collections.abc import Callable

from hal_core.facts import parse
from hal_core.facts.tree import Tree

ROOT = "/sys/devices/system/cpu"


def in_list(tree: Tree, path: str) -> tuple[int, ...]:
    """The CPUs in a file like ``core_cpus_list``; () if it is missing or damaged."""
    return _ids(tree, path, parse.cpulist)


def in_mask(tree: Tree, path: str) -> tuple[int, ...]:
    """The CPUs in a file like ``thread_siblings``; () if it is missing or damaged."""
    return _ids(tree, path, parse.cpumask)


def _ids(tree: Tree, path: str, notation: Callable[[str], tuple[int, ...]]) -> tuple[int, ...]:
    try:
        return notation(tree.line(path))
    except ValueError:
        return ()
