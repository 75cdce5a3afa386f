"""Hybrid processors: which cores are the fast ones.

The kernel says it through the two PMUs that Intel's hybrid processors have, ``/sys/devices/cpu_core/cpus`` and
``cpu_atom/cpus`` (perf's Documentation/intel-hybrid.txt). Where those are missing (a hypervisor that hides the PMU, a
recording without it), two other signs must agree:

* ``acpi_cppc/nominal_perf`` differs: the performance that a core can *sustain* (ACPI 6.5, 8.4.6.1.1.3). Not
  ``highest_perf``: that also differs between equal cores, since the best of them are allowed to turbo higher.
* the first-level data cache differs in size: a different core design. A server whose firmware gives some of its equal
  cores a higher base frequency (Intel Speed Select) has the first sign, but not this one.

Anything other than two groups is not told apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Optional

from hal_core.facts import cpuids
from hal_core.facts.tree import Tree

PERFORMANCE = "performance"
EFFICIENCY = "efficiency"


def read(tree: Tree, online: Iterable[int]) -> dict[int, str]:
    """The type of each online CPU's core; {} where all are alike."""
    fast = cpuids.in_list(tree, "/sys/devices/cpu_core/cpus")
    slow = cpuids.in_list(tree, "/sys/devices/cpu_atom/cpus")
    if fast and slow:
        return {**dict.fromkeys(slow, EFFICIENCY), **dict.fromkeys(fast, PERFORMANCE)}
    return _by_design(tree, list(online))


def _by_design(tree: Tree, online: list[int]) -> dict[int, str]:
    nominal = {id_: tree.integer(f"{cpuids.ROOT}/cpu{id_}/acpi_cppc/nominal_perf") for id_ in online}
    levels = {value for value in nominal.values() if value is not None}
    if len(levels) != 2 or None in nominal.values():
        return {}
    groups: dict[int, set[Optional[str]]] = {level: set() for level in levels}
    for id_, value in nominal.items():
        if value is not None:
            groups[value].add(_data_cache(tree, id_))
    slow, fast = sorted(levels)
    if None in groups[slow] | groups[fast] or groups[slow] & groups[fast]:
        return {}
    return {id_: PERFORMANCE if value == fast else EFFICIENCY for id_, value in nominal.items()}


def _data_cache(tree: Tree, id_: int) -> Optional[str]:
    """The size of the first-level data cache, as the kernel writes it, "48K"."""
    directory = f"{cpuids.ROOT}/cpu{id_}/cache"
    for name in tree.names(directory, "index"):
        if tree.integer(f"{directory}/{name}/level") == 1 and tree.line(f"{directory}/{name}/type") == "Data":
            return tree.line(f"{directory}/{name}/size") or None
    return None
