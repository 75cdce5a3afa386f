"""Processors: which there are, which are online, and which share a core.

Sources: Documentation/ABI/testing/sysfs-devices-system-cpu and Documentation/admin-guide/cputopology.rst of Linux, and
/proc/cpuinfo for names, flags, and for kernels that export no topology.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from hal_core.facts import coretype, cpuids, numa, parse
from hal_core.facts.cpuids import ROOT
from hal_core.facts.tree import Tree
from hal_core.machine import Cpu, CpuThread


class _Listed(NamedTuple):
    """One processor as /proc/cpuinfo lists it; only online ones are there."""

    package: int
    core: tuple[int, int]  # (physical id, core id); (-1, id) where the kernel does not say


def read(tree: Tree) -> Cpu:
    """Every CPU that is plugged in, offline ones included."""
    text = tree.text("/proc/cpuinfo")
    listed = _listed(text)
    ids = _present(tree, listed)
    online = _online(tree, ids, listed)
    cores = _cores(tree, [id_ for id_ in ids if id_ in online], listed)
    types = coretype.read(tree, cores)
    nodes = numa.node_of_cpu(tree)
    threads = []
    for id_ in ids:
        topology = f"{ROOT}/cpu{id_}/topology"
        package = tree.integer(f"{topology}/physical_package_id")
        if package is None and id_ in listed:
            package = listed[id_].package
        threads.append(
            CpuThread(
                id=id_,
                online=id_ in online,
                # Linux says -1 where the firmware does not tell, and some old kernels for every offline CPU.
                package=max(package or 0, 0),
                die=max(tree.integer(f"{topology}/die_id") or 0, 0),
                core=cores.get(id_, ()),
                core_type=types.get(id_, ""),
                node=nodes.get(id_, 0),
            )
        )
    flags = set(_field(text, "flags").split())
    return Cpu(
        model=" ".join(_field(text, "model name").split()),
        vendor=_field(text, "vendor_id"),
        virtualization="vmx" if "vmx" in flags else "svm" if "svm" in flags else "",
        threads=tuple(threads),
    )


def _present(tree: Tree, listed: Iterable[int]) -> list[int]:
    """The CPUs that exist. ``offline`` cannot be asked: old kernels list every number up to NR_CPUS in it."""
    directories = {int(name[3:]) for name in tree.names(ROOT, "cpu") if re.fullmatch("cpu[0-9]{1,6}", name)}
    lists = (*cpuids.in_list(tree, f"{ROOT}/present"), *cpuids.in_list(tree, f"{ROOT}/online"))
    return sorted(directories.union(lists) or listed)


def _online(tree: Tree, every: list[int], listed: Iterable[int]) -> frozenset[int]:
    """Which of these CPUs are online.

    The ``online`` list of all CPUs is the kernel's own mask. Before 2.6.26 there is none; then each CPU that can be
    taken offline has a file of its own (the boot CPU mostly has not), and the topology is there for online CPUs only.
    """
    online = cpuids.in_list(tree, f"{ROOT}/online")
    if online:
        return frozenset(online).intersection(every)
    found = set()
    for id_ in every:
        flag = tree.integer(f"{ROOT}/cpu{id_}/online")
        if flag == 1 or (flag is None and tree.exists(f"{ROOT}/cpu{id_}/topology")):
            found.add(id_)
    return frozenset(found or listed).intersection(every)


def _cores(tree: Tree, online: list[int], listed: dict[int, _Listed]) -> dict[int, tuple[int, ...]]:
    """For each online CPU, the online CPUs of its core: every CPU is in exactly one core, whatever the files say."""
    by_number: dict[tuple[int, int], list[int]] = {}
    for id_ in online:
        by_number.setdefault(listed[id_].core if id_ in listed else (-1, id_), []).append(id_)
    allowed = frozenset(online)
    cores: dict[int, tuple[int, ...]] = {}
    for id_ in online:
        if id_ in cores:
            continue
        siblings = _siblings(tree, id_)
        if not siblings and id_ in listed:
            siblings = tuple(by_number[listed[id_].core])
        core = tuple(sorted({other for other in siblings if other in allowed and other not in cores} | {id_}))
        cores.update(dict.fromkeys(core, core))
    return cores


def _siblings(tree: Tree, id_: int) -> tuple[int, ...]:
    """The threads of a core: the names are of 5.3 and of before, lists came with 2.6.25."""
    topology = f"{ROOT}/cpu{id_}/topology"
    return (
        cpuids.in_list(tree, f"{topology}/core_cpus_list")
        or cpuids.in_list(tree, f"{topology}/thread_siblings_list")
        or cpuids.in_mask(tree, f"{topology}/core_cpus")
        or cpuids.in_mask(tree, f"{topology}/thread_siblings")
    )


def _listed(text: str) -> dict[int, _Listed]:
    found = {}
    for block in re.split(r"\n\s*\n", text):
        number = parse.integer(_field(block, "processor"))
        if number is None or not 0 <= number < parse.MAX_CPUS:
            continue
        package, core = parse.integer(_field(block, "physical id")), parse.integer(_field(block, "core id"))
        known = package is not None and core is not None
        found[number] = _Listed(package or 0, (package or 0, core or 0) if known else (-1, number))
    return found


def _field(text: str, name: str) -> str:
    match = re.search(rf"^{name}[ \t]*:[ \t]*(.*?)[ \t]*$", text, re.MULTILINE)
    return match[1] if match else ""
