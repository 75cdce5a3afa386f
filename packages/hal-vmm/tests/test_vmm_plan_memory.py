"""Memory: the formula, its limits, what hal.toml may say, NUMA shares; huge pages and KSM on the host."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_core.errors import ConfigError, HostError
from hal_core.machine import Machine, Memory
from hal_core.testing import synthetic
from hal_vmm.config import MemoryConfig
from hal_vmm.launch import hostmemory
from hal_vmm.plan import memoryplan
from hal_vmm.plan.memoryplan import MemoryPlan, NodeMemory
from hal_vmm.plan.numaplan import GuestNode


def machine(mib: int, nodes: int = 0) -> Machine:
    return synthetic.machine(memory_mib=mib, nodes=nodes)


def plan(mib: int, config: MemoryConfig | None = None, nodes: tuple[GuestNode, ...] = ()) -> MemoryPlan:
    return memoryplan.plan(machine(mib), config or MemoryConfig(), 16, nodes)


@pytest.mark.parametrize(
    ("total", "vcpus", "host"), [(2048, 2, 1024), (65536, 16, 1487), (1 << 20, 128, 11765), (1 << 24, 128, 16384)]
)
def test_the_formula_has_a_floor_and_a_ceiling(total: int, vcpus: int, host: int) -> None:
    assert memoryplan.host_share(total, vcpus) == host


def test_the_product_gets_the_rest_in_whole_pages() -> None:
    planned = plan(65537)
    assert planned.guest_mib == 64050
    assert planned.host_mib == 1487
    assert planned.nodes == (NodeMemory(None, 64050),)


def test_hal_toml_can_say_either_share_but_not_both() -> None:
    assert plan(4096, MemoryConfig(guest_mib=1001)).guest_mib == 1000
    assert plan(4096, MemoryConfig(host_mib=2000)).guest_mib == 2096
    with pytest.raises(ConfigError, match="only one of them is allowed"):
        plan(4096, MemoryConfig(guest_mib=1024, host_mib=1024))
    with pytest.raises(ConfigError, match="huge pages cannot be merged"):
        plan(4096, MemoryConfig(ksm=True, hugepages="2M"))


def test_too_little_memory_is_said_with_the_numbers() -> None:
    with pytest.raises(HostError, match="too little memory: the server has 1200 MiB and the host needs 1024, which"):
        plan(1200)
    with pytest.raises(HostError, match=r"guest_mib = 4000 of 4096 MiB leaves 96 for the host; at least 512"):
        plan(4096, MemoryConfig(guest_mib=4000))
    with pytest.raises(HostError, match="too little memory"):
        plan(1024, MemoryConfig(host_mib=2048))


def test_gigantic_pages_are_whole() -> None:
    assert plan(10000, MemoryConfig(hugepages="1G")).guest_mib == 8192


def test_without_meminfo_the_nodes_are_added_up() -> None:
    unknown = dataclasses.replace(machine(4096, nodes=2), memory=Memory(None, ()))
    planned = memoryplan.plan(unknown, MemoryConfig(), 16, ())
    assert planned.total_mib == 4096
    assert "NUMA nodes" in planned.notes[0]


def test_memory_that_nobody_knows_is_no_error_for_a_plan() -> None:
    unknown = dataclasses.replace(machine(4096), memory=Memory(None, ()), nodes=())
    planned = memoryplan.plan(unknown, MemoryConfig(), 16, ())
    assert planned.guest_mib is None
    assert planned.notes
    assert memoryplan.plan(unknown, MemoryConfig(guest_mib=512), 16, ()).guest_mib == 512


@given(
    total=st.integers(2048, 1 << 22),
    weights=st.lists(st.integers(65536, 1 << 30), min_size=2, max_size=16),
    huge=st.sampled_from(["none", "2M", "1G"]),
)
def test_nodes_share_all_of_it_in_whole_pages(total: int, weights: list[int], huge: str) -> None:
    nodes = tuple(GuestNode(index, index, kib, (index,), ()) for index, kib in enumerate(weights))
    page = 1024 if huge == "1G" else 2
    left = (total - memoryplan.host_share(total, 16)) // page
    if left * page < memoryplan.LEAST_GUEST_MIB or left < len(nodes):
        with pytest.raises(HostError, match="too little memory"):
            plan(total, MemoryConfig(hugepages=huge), nodes)
        return
    planned = plan(total, MemoryConfig(hugepages=huge), nodes)
    assert planned.guest_mib is not None
    shares = [node.mib for node in planned.nodes]
    assert sum(shares) == planned.guest_mib
    assert all(share > 0 and share % planned.page_mib == 0 for share in shares)
    assert planned.guest_mib + memoryplan.host_share(total, 16) <= total


def sysfs(root: Path, node: str, pages: int) -> Path:
    file = root / node / "hugepages/hugepages-2048kB/nr_hugepages"
    file.parent.mkdir(parents=True)
    file.write_text(f"{pages}\n")
    return file


def test_huge_pages_are_reserved_once(tmp_path: Path) -> None:
    nodes = [sysfs(tmp_path, f"sys/devices/system/node/node{node}", pages) for node, pages in ((0, 0), (1, 900))]
    planned = MemoryPlan(4096, 2048, 2048, "2M", False, (NodeMemory(0, 1024), NodeMemory(1, 1024)))
    assert hostmemory.apply(planned, str(tmp_path)) == ["huge pages of 2M on NUMA node 0: 0 → 512"]
    assert [file.read_text() for file in nodes] == ["512\n", "900\n"]
    assert hostmemory.apply(planned, str(tmp_path)) == []


def test_huge_pages_that_the_kernel_did_not_find_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = sysfs(tmp_path, "sys/kernel/mm", 3)

    def write_less(path: str, value: int) -> None:
        file.write_text(f"{value - 1}\n")

    monkeypatch.setattr(hostmemory, "_write", write_less)
    with pytest.raises(HostError, match="only 511 of 512 huge pages of 2M could be reserved"):
        hostmemory.apply(MemoryPlan(4096, 1024, 3072, "2M", False, (NodeMemory(None, 1024),)), str(tmp_path))


def test_ksm_is_switched_on_once(tmp_path: Path) -> None:
    run = tmp_path / "sys/kernel/mm/ksm/run"
    run.parent.mkdir(parents=True)
    run.write_text("0\n")
    planned = MemoryPlan(4096, 1024, 3072, "none", True, (NodeMemory(None, 1024),))
    assert hostmemory.apply(planned, str(tmp_path)) == ["KSM is on"]
    assert hostmemory.apply(planned, str(tmp_path)) == []
    with pytest.raises(HostError, match="this kernel has no"):
        hostmemory.apply(planned, str(tmp_path / "elsewhere"))
