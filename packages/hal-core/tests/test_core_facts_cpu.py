"""Processors as kernels of all ages describe them."""

from __future__ import annotations

from typing import Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_core.anonymize import Recording
from hal_core.facts import cpu, memory, numa
from hal_core.facts.tree import Tree
from hal_core.testing import sysfs

CPU = "/sys/devices/system/cpu"


def files(content: dict[str, Union[str, int]], directories: tuple[str, ...] = ()) -> Tree:
    return sysfs.tree(Recording({path: f"{text}\n".encode() for path, text in content.items()}, {}, directories))


def topology(siblings: dict[int, str], name: str = "thread_siblings_list") -> dict[str, Union[str, int]]:
    return {f"{CPU}/cpu{id_}/topology/{name}": text for id_, text in siblings.items()}


def cores(tree: Tree) -> list[tuple[int, ...]]:
    return [thread.core for thread in cpu.read(tree).cores]


@pytest.mark.parametrize("name", ["core_cpus_list", "thread_siblings_list"])
def test_siblings_as_lists(name: str) -> None:
    tree = files({f"{CPU}/online": "0-3", **topology({0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}, name)})
    assert cores(tree) == [(0, 2), (1, 3)]


@pytest.mark.parametrize("name", ["core_cpus", "thread_siblings"])
def test_siblings_as_masks(name: str) -> None:
    tree = files({f"{CPU}/online": "0-3", **topology({0: "00000005", 1: "a", 2: "0,00000005", 3: "a"}, name)})
    assert cores(tree) == [(0, 2), (1, 3)]


def test_an_offline_cpu_is_listed_and_in_no_core() -> None:
    tree = files({f"{CPU}/present": "0-3", f"{CPU}/online": "0-1,3", **topology(dict.fromkeys(range(4), "0-3"))})
    read = cpu.read(tree)
    assert [thread.online for thread in read.threads] == [True, True, False, True]
    assert read.threads[2].core == ()
    assert cores(tree) == [(0, 1, 3)]


def test_old_kernels_without_an_online_list_have_a_file_for_each_cpu_that_can_go_offline() -> None:
    content = topology({0: "0", 1: "1", 2: "2"})
    tree = files({**content, f"{CPU}/cpu1/online": 0, f"{CPU}/cpu2/online": 1})
    assert [thread.id for thread in cpu.read(tree).online] == [0, 2]


def test_older_kernels_have_no_online_at_all() -> None:
    assert cores(files(topology({0: "00000003", 1: "00000003"}, "thread_siblings"))) == [(0, 1)]


def test_without_sysfs_the_cores_are_those_of_cpuinfo() -> None:
    blocks = [(0, 0, 0), (1, 1, 0), (2, 0, 0), (3, 1, 0)]
    text = "\n\n".join(f"processor\t: {n}\nphysical id\t: {p}\ncore id\t\t: {c}" for n, p, c in blocks)
    tree = files({"/proc/cpuinfo": text})
    assert cores(tree) == [(0, 2), (1, 3)]
    assert [thread.package for thread in cpu.read(tree).threads] == [0, 1, 0, 1]


def test_without_any_topology_each_cpu_is_its_own_core() -> None:
    assert cores(files({"/proc/cpuinfo": "processor : 0\n\nprocessor : 1"})) == [(0,), (1,)]
    assert cores(files({}, (f"{CPU}/cpu0", f"{CPU}/cpu5", f"{CPU}/cpufreq"))) == []
    assert cores(files({f"{CPU}/online": "0,5"}, (f"{CPU}/cpu0", f"{CPU}/cpu5"))) == [(0,), (5,)]


def test_sparse_numbers_and_a_package_that_the_firmware_does_not_tell() -> None:
    content: dict[str, Union[str, int]] = {f"{CPU}/online": "8,40", f"{CPU}/cpu8/topology/physical_package_id": -1}
    content[f"{CPU}/cpu40/topology/physical_package_id"] = 3
    content[f"{CPU}/cpu40/topology/die_id"] = 1
    read = cpu.read(files({**content, **topology({8: "8", 40: "40"})}))
    assert [(thread.id, thread.package, thread.die) for thread in read.threads] == [(8, 0, 0), (40, 3, 1)]


@given(
    st.dictionaries(st.integers(0, 12), st.frozensets(st.integers(0, 12), max_size=4), min_size=1, max_size=10),
    st.frozensets(st.integers(0, 12), min_size=1),
)
def test_whatever_the_siblings_say_every_online_cpu_is_in_exactly_one_core(
    siblings: dict[int, frozenset[int]], online: frozenset[int]
) -> None:
    listed = {id_: ",".join(map(str, sorted(others))) for id_, others in siblings.items()}
    read = cpu.read(files({f"{CPU}/online": ",".join(map(str, online)), **topology(listed)}))
    in_cores = [id_ for core in {thread.core for thread in read.online} for id_ in core]
    assert sorted(in_cores) == [thread.id for thread in read.online]
    assert all(thread.id in thread.core for thread in read.online)
    assert len(read.cores) == len({thread.core for thread in read.online})


def test_model_vendor_and_flags() -> None:
    text = "processor : 0\nvendor_id : AuthenticAMD\nmodel name :  AMD  EPYC   7763 \nflags : fpu svm vmxx"
    read = cpu.read(files({"/proc/cpuinfo": text}))
    assert (read.model, read.vendor, read.virtualization) == ("AMD EPYC 7763", "AuthenticAMD", "svm")


def hybrid(nominal: list[int], cache: list[str], highest: list[int]) -> dict[str, Union[str, int]]:
    content: dict[str, Union[str, int]] = {f"{CPU}/online": f"0-{len(nominal) - 1}"}
    for id_ in range(len(nominal)):
        content[f"{CPU}/cpu{id_}/acpi_cppc/nominal_perf"] = nominal[id_]
        content[f"{CPU}/cpu{id_}/acpi_cppc/highest_perf"] = highest[id_]
        content[f"{CPU}/cpu{id_}/cache/index0/level"] = 1
        content[f"{CPU}/cpu{id_}/cache/index0/type"] = "Data"
        content[f"{CPU}/cpu{id_}/cache/index0/size"] = cache[id_]
    return content


def types(content: dict[str, Union[str, int]]) -> list[str]:
    return [thread.core_type for thread in cpu.read(files(content)).threads]


def test_hybrid_cores_by_the_kernels_own_word() -> None:
    content: dict[str, Union[str, int]] = {
        f"{CPU}/online": "0-2",
        "/sys/devices/cpu_core/cpus": "0-1",
        "/sys/devices/cpu_atom/cpus": 2,
    }
    assert types(content) == ["performance", "performance", "efficiency"]


def test_hybrid_cores_by_design_and_sustained_performance() -> None:
    content = hybrid([24, 24, 19, 19], ["48K", "48K", "32K", "32K"], [64, 67, 39, 39])
    assert types(content) == ["performance", "performance", "efficiency", "efficiency"]


@pytest.mark.parametrize(
    ("nominal", "cache"),
    [
        ([24, 24, 19], ["48K", "48K", "48K"]),  # a server with a higher base frequency on some cores
        ([24, 24, 24], ["48K", "48K", "32K"]),
        ([24, 22, 19], ["48K", "48K", "32K"]),  # three groups: we cannot tell
        ([24, 24, 19], ["48K", "32K", "32K"]),
    ],
)
def test_cores_are_alike_unless_both_signs_agree(nominal: list[int], cache: list[str]) -> None:
    assert types(hybrid(nominal, cache, [67, 64, 39])) == ["", "", ""]


def test_cores_are_alike_where_one_of_them_does_not_tell() -> None:
    content = hybrid([24, 19], ["48K", "32K"], [64, 39])
    del content[f"{CPU}/cpu1/cache/index0/size"]
    assert types(content) == ["", ""]
    del content[f"{CPU}/cpu1/acpi_cppc/nominal_perf"]
    assert types(content) == ["", ""]


def test_nodes_by_list_or_by_mask_with_gaps_and_without_memory() -> None:
    node = "/sys/devices/system/node"
    content: dict[str, Union[str, int]] = {
        f"{node}/node0/cpulist": "0-1",
        f"{node}/node0/meminfo": "Node 0 MemTotal:       8257600 kB\nNode 0 MemFree: 1 kB",
        f"{node}/node0/distance": "10 20",
        f"{node}/node8/cpumap": "00000000,0000000c",
        f"{node}/node8/meminfo": "Node 8 MemTotal:       0 kB",
        f"{node}/possible": "0-8",
    }
    tree = files(content)
    first, second = numa.read(tree)
    assert (first.id, first.cpus, first.memory_kib, first.distances) == (0, (0, 1), 8257600, (10, 20))
    assert (second.id, second.cpus, second.memory_kib, second.distances) == (8, (2, 3), 0, ())
    assert numa.node_of_cpu(tree) == {0: 0, 1: 0, 2: 8, 3: 8}


def test_huge_pages_from_sysfs_and_from_old_meminfo() -> None:
    pools: dict[str, Union[str, int]] = {
        "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": 12,
        "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages": 5,
        "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": 0,
    }
    text = "MemTotal:  33018776 kB\nHugePages_Total:    2048\nHugePages_Free:     2000\nHugepagesize:       2048 kB"
    read = memory.read(files(pools))
    assert [(pool.size_kib, pool.total, pool.free) for pool in read.hugepages] == [(2048, 12, 5), (1048576, 0, 0)]
    assert read.total_kib is None
    read = memory.read(files({"/proc/meminfo": text}))
    assert read.total_kib == 33018776
    assert [(pool.size_kib, pool.total, pool.free) for pool in read.hugepages] == [(2048, 2048, 2000)]
