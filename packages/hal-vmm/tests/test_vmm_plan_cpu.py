"""vCPUs: which cores, in which order, with which topology, and which CPU model."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_core.errors import ConfigError, HostError
from hal_core.machine import Cpu, CpuThread
from hal_core.testing import synthetic
from hal_vmm.era import ERAS
from hal_vmm.plan import cpumodel, cpuplan, numaplan
from hal_vmm.plan.cpuplan import Placement
from hal_vmm.plan.held import ranges
from hal_vmm.qemu import flavour_builtin

DEBIAN, EL9 = flavour_builtin.FLAVOURS["debian12"], flavour_builtin.FLAVOURS["el9"]


def cpu(*packages: int, threads: int = 1, offline: tuple[int, ...] = (), dies: int = 1) -> Cpu:
    """Packages with so many cores each, the siblings numbered last."""
    total = sum(packages)
    found = []
    for thread in range(threads):
        core = 0
        for package, count in enumerate(packages):
            for index in range(count):
                id_ = core + thread * total
                siblings = tuple(core + t * total for t in range(threads) if core + t * total not in offline)
                online = id_ not in offline
                die = index * dies // count
                found.append(CpuThread(id_, online, package, die, siblings if online else (), "", 0))
                core += 1
    return Cpu("Synthetic", "GenuineIntel", "vmx", tuple(found))


def place(processor: Cpu, keep: tuple[int, ...] = (), most: int = 288, x2apic: bool = False) -> Placement:
    return cpuplan.place(processor, keep, most=most, x2apic=x2apic, dies=True)


def held(placement: Placement) -> list[str]:
    return [str(item) for item in placement.held]


def test_hyper_threads_stay_with_the_host_and_run_qemu() -> None:
    placement = place(cpu(4, 4, threads=2))
    assert [pin.cpu for pin in placement.pinning] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert held(placement) == ["cpu 8-15: hyper-threads"]
    assert placement.emulator == tuple(range(8, 16))
    assert (placement.topology.sockets, placement.topology.dies, placement.topology.cores) == (2, 1, 4)


def test_an_offline_core_makes_its_package_the_last_one() -> None:
    placement = place(cpu(2, 2, 2, offline=(2,)))
    assert [pin.cpu for pin in placement.pinning] == [0, 1, 4, 5, 3]
    assert (placement.topology.sockets, placement.topology.cores, placement.topology.possible) == (3, 2, 6)
    assert held(placement) == ["cpu 2: offline"]


def test_when_the_first_thread_of_a_core_is_offline_its_sibling_carries_the_vcpu() -> None:
    placement = place(cpu(2, threads=2, offline=(0,)))
    assert [pin.cpu for pin in placement.pinning] == [1, 2]
    assert placement.emulator == (3,)
    assert held(placement) == ["cpu 0: offline", "cpu 3: hyper-threads"]


def test_uneven_packages_become_one_socket_and_say_so() -> None:
    placement = place(cpu(4, 3, 2))
    assert (placement.topology.sockets, placement.topology.cores) == (1, 9)
    assert placement.notes == ("the packages have 4, 3, 2 cores: the product sees one socket with 9 cores",)


def test_equal_dies_are_shown_and_unequal_ones_are_not() -> None:
    assert place(cpu(8, 8, dies=2)).topology == cpuplan.Topology(2, 2, 4)
    assert place(cpu(5, 5, dies=2)).topology == cpuplan.Topology(2, 1, 5)


def test_kept_cores_stay_with_the_host_whole() -> None:
    placement = place(cpu(4, threads=2), keep=(5,))
    assert [pin.cpu for pin in placement.pinning] == [0, 2, 3]
    assert held(placement) == ["cpu 1,5: kept for the host (vmm.cpu.keep)", "cpu 4,6-7: hyper-threads"]


def test_without_hyper_threads_qemu_runs_on_the_kept_cores() -> None:
    assert place(cpu(4), keep=(0,)).emulator == (0,)
    assert place(cpu(4)).emulator == (0, 1, 2, 3)


def test_keeping_a_cpu_that_is_not_there_or_all_of_them_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"vmm\.cpu\.keep: cpu 9: no such CPU; this server has cpu 0-3"):
        place(cpu(4), keep=(9,))
    with pytest.raises(ConfigError, match="the product needs one"):
        place(cpu(2), keep=(0, 1))


def test_no_cpu_at_all_is_a_damaged_recording() -> None:
    with pytest.raises(HostError, match="no online CPU"):
        place(Cpu("", "", "", ()))


def test_what_is_beyond_the_apic_ids_is_held_back_unless_they_can_be_remapped() -> None:
    # 2 × 192: each socket takes 256 APIC ids, so the second one's are all too high.
    placement = place(cpu(192, 192), most=4096)
    assert len(placement.pinning) == 192
    assert "beyond QEMU's limit" in held(placement)[0]
    assert not placement.needs_x2apic
    remapped = place(cpu(192, 192), most=4096, x2apic=True)
    assert len(remapped.pinning) == 384
    assert remapped.needs_x2apic


def test_what_is_beyond_the_machine_types_limit_is_held_back() -> None:
    placement = place(cpu(128, 128), most=240, x2apic=True)
    assert len(placement.pinning) == 240
    assert placement.topology.possible <= 240


@given(
    packages=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    threads=st.integers(1, 2),
    offline=st.sets(st.integers(0, 143), max_size=6),
    keep=st.sets(st.integers(0, 11), max_size=2),
)
def test_every_thread_is_a_vcpu_or_held_back_with_a_reason(
    packages: list[int], threads: int, offline: set[int], keep: set[int]
) -> None:
    processor = cpu(*packages, threads=threads, offline=tuple(offline))
    known = {thread.id for thread in processor.threads}
    try:
        placement = place(processor, keep=tuple(keep & known))
    except (ConfigError, HostError):
        free = [core for core in processor.cores if not set(core.core) & keep]
        assert not free
        return
    given_to = [pin.cpu for pin in placement.pinning]
    told = ",".join(item.what.partition(" ")[2] for item in placement.held)
    everything = ranges([*given_to, *_numbers(told)])
    assert everything == ranges(known)
    assert len(set(given_to)) == len(given_to)
    assert [pin.vcpu for pin in placement.pinning] == list(range(len(given_to)))
    assert len(given_to) <= placement.topology.possible
    if not placement.notes:  # otherwise sockets are not the packages
        for socket in range(placement.topology.sockets):
            members = [
                core.package
                for index, core in enumerate(placement.cores)
                if placement.topology.place(index)[0] == socket
            ]
            assert len(set(members)) <= 1


def _numbers(text: str) -> list[int]:
    numbers: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


@given(st.sets(st.integers(0, 300)))
def test_ranges_lose_nothing(numbers: set[int]) -> None:
    assert set(_numbers(ranges(numbers))) == numbers


def test_the_model_is_the_servers_own_processor_where_that_can_work() -> None:
    processor = cpu(2)
    assert cpumodel.choose(processor, "auto", ERAS["modern"], "kvm", DEBIAN).model == "host"
    assert cpumodel.choose(processor, "auto", ERAS["modern"], "kvm", DEBIAN).reason == ""


def test_old_products_get_a_named_model_and_the_reason() -> None:
    choice = cpumodel.choose(cpu(2), "auto", ERAS["pre-virtio"], "kvm", DEBIAN)
    assert choice.model == "Nehalem"
    assert "pre-virtio" in choice.reason
    amd = dataclasses.replace(cpu(2), vendor="AuthenticAMD")
    assert cpumodel.choose(amd, "auto", ERAS["ide"], "kvm", DEBIAN).model == "Opteron_G3"
    # EL9 announces the end of Opteron_G3: the next one lasts longer.
    assert cpumodel.choose(amd, "auto", ERAS["ide"], "kvm", EL9).model == "EPYC"


def test_a_model_that_this_processor_cannot_be_is_passed_over() -> None:
    models = tuple(
        dataclasses.replace(model, runnable=model.name not in ("Nehalem", "Westmere")) for model in DEBIAN.cpu_models
    )
    flavour = dataclasses.replace(DEBIAN, cpu_models=models)
    assert cpumodel.choose(cpu(2), "auto", ERAS["ide"], "kvm", flavour).model == "SandyBridge"


def test_emulation_has_no_host_model() -> None:
    assert cpumodel.choose(cpu(2), "host", ERAS["modern"], "tcg", DEBIAN).model == "max"
    assert cpumodel.choose(cpu(2), "Haswell,-rtm", ERAS["modern"], "tcg", DEBIAN).model == "Haswell,-rtm"


def test_a_model_that_qemu_does_not_know_is_said() -> None:
    with pytest.raises(HostError, match="has no CPU model Pentium9"):
        cpumodel.choose(cpu(2), "Pentium9", ERAS["modern"], "kvm", DEBIAN)


def test_host_is_tried_first_and_then_as_little_less_as_possible() -> None:
    assert cpumodel.candidates("host", "AuthenticAMD", DEBIAN) == ("host", "host,-arch-capabilities", "Opteron_G3")
    assert cpumodel.candidates("Haswell", "GenuineIntel", DEBIAN) == ("Haswell",)


def test_numa_nodes_are_carried_over_and_renumbered() -> None:
    machine = synthetic.machine(packages=2, cores=4, threads=2, nodes=2, memory_mib=8192)
    first, second = machine.nodes
    sparse = dataclasses.replace(
        machine,
        nodes=(first, dataclasses.replace(second, id=5)),
        cpu=dataclasses.replace(
            machine.cpu,
            threads=tuple(dataclasses.replace(t, node=5 if t.node else 0) for t in machine.cpu.threads),
        ),
    )
    placement = place(sparse.cpu)
    nodes = numaplan.plan(sparse, placement.cores, placement.topology)
    assert [(node.id, node.host, node.cpus) for node in nodes] == [(0, 0, (0, 1, 2, 3)), (1, 5, (4, 5, 6, 7))]
    assert nodes[0].distances == (10, 21)


def test_cpus_of_a_node_without_memory_go_to_the_nearest_that_has_some() -> None:
    machine = synthetic.machine(packages=3, cores=1, threads=1, nodes=3, memory_mib=6144)
    a, b, c = machine.nodes
    nodes = (
        dataclasses.replace(a, distances=(10, 30, 30)),
        dataclasses.replace(b, memory_kib=0, distances=(30, 10, 15)),
        dataclasses.replace(c, distances=(30, 15, 10)),
    )
    changed = dataclasses.replace(machine, nodes=nodes)
    placement = place(changed.cpu)
    planned = numaplan.plan(changed, placement.cores, placement.topology)
    assert [(node.host, node.cpus) for node in planned] == [(0, (0,)), (2, (1, 2))]
    assert planned[0].distances == (10, 30)


def test_distances_that_acpi_does_not_allow_are_left_out() -> None:
    machine = synthetic.machine(packages=2, cores=1, threads=1, nodes=2, memory_mib=4096)
    nodes = tuple(dataclasses.replace(node, distances=(10, 10)) for node in machine.nodes)
    placement = place(machine.cpu)
    planned = numaplan.plan(dataclasses.replace(machine, nodes=nodes), placement.cores, placement.topology)
    assert [node.distances for node in planned] == [(), ()]


def test_one_node_is_no_numa() -> None:
    machine = synthetic.machine(nodes=1)
    placement = place(machine.cpu)
    assert numaplan.plan(machine, placement.cores, placement.topology) == ()
