"""One vCPU for every online physical core, in an order in which QEMU's regular topology is the server's own.

QEMU numbers its CPUs socket by socket, die by die, core by core, every socket alike (``-smp``). So the server's cores
are sorted by package, die and id, and at most one package may have fewer cores than the others: it comes last, and the
cores that it lacks are places for CPUs that are never plugged in (``maxcpus``). A server that fits neither is shown as
one socket.

Hyper-threads stay with the host. The product was built to count cores, two vCPUs on one core would slow each other down
unseen, and QEMU's own threads need somewhere to run.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hal_core.errors import ConfigError, HostError
from hal_core.machine import Cpu, CpuThread
from hal_vmm.plan.held import HeldBack, ranges
from hal_vmm.plan.pin import Pin

# An xAPIC id has 8 bits and 255 is the broadcast (Intel SDM vol. 3, 11.6.2.1): without interrupt remapping, CPUs with
# higher ids get no interrupts from devices.
LAST_XAPIC_ID = 254


@dataclass(frozen=True)
class Topology:
    """What ``-smp`` says; QEMU has no threads, since every vCPU is a whole core."""

    sockets: int
    dies: int  # per socket
    cores: int  # per die

    @property
    def possible(self) -> int:
        """Places for CPUs; the last ones may stay empty."""
        return self.sockets * self.dies * self.cores

    def place(self, index: int) -> tuple[int, int, int]:
        """Socket, die and core of QEMU's CPU number ``index``."""
        rest, core = divmod(index, self.cores)
        socket, die = divmod(rest, self.dies)
        return socket, die, core

    def apic_id(self, index: int) -> int:
        """As QEMU has it: each level in as many bits as it needs (include/hw/i386/topology.h)."""
        socket, die, core = self.place(index)
        core_bits, die_bits = (self.cores - 1).bit_length(), (self.dies - 1).bit_length()
        return socket << (die_bits + core_bits) | die << core_bits | core


@dataclass(frozen=True)
class Placement:
    """Which core each vCPU is: ``cores[i]`` is the first online thread of the core of vCPU ``i``."""

    topology: Topology
    cores: tuple[CpuThread, ...]
    emulator: tuple[int, ...]  # where QEMU's other threads run
    held: tuple[HeldBack, ...]
    notes: tuple[str, ...]

    @property
    def pinning(self) -> tuple[Pin, ...]:
        return tuple(Pin(vcpu, core.id) for vcpu, core in enumerate(self.cores))

    @property
    def needs_x2apic(self) -> bool:
        return self.topology.apic_id(self.topology.possible - 1) > LAST_XAPIC_ID


def place(cpu: Cpu, keep: Collection[int], *, most: int, x2apic: bool, dies: bool) -> Placement:
    """Every core that stays neither with the host nor beyond QEMU's limits.

    :param keep: logical CPUs whose whole cores the host keeps.
    :param most: CPUs that the machine type can have.
    :param x2apic: APIC ids above 254 can be made to work.
    :param dies: show the product dies (kernels since 5.2 know them, older ones ignore them).
    :raise ConfigError: ``keep`` names a CPU that is not there, or leaves no core.
    :raise HostError: no CPU is known.
    """
    _check_keep(cpu, keep)
    kept = set(keep)
    cores = [core for core in cpu.cores if kept.isdisjoint(core.core)]
    if not cores:
        if cpu.cores:
            raise ConfigError(
                f"vmm.cpu.keep = {sorted(kept)}: the host keeps every core of this server; the product needs one",
                "take CPUs out of vmm.cpu.keep",
            )
        raise HostError("no online CPU is known of this machine", "is it a complete recording?")
    topology, ordered, notes = _arrange(cores, dies)
    fitting = _fitting(topology, len(ordered), most, x2apic)
    beyond: Sequence[CpuThread] = ()
    if fitting < len(ordered):
        beyond = ordered[fitting:]
        topology, ordered, notes = _arrange(ordered[:fitting], dies, most if x2apic else min(most, LAST_XAPIC_ID + 1))
    return Placement(
        topology,
        tuple(ordered),
        _emulator(cpu, ordered, kept),
        _held(cpu, ordered, beyond, kept, most),
        notes,
    )


def _check_keep(cpu: Cpu, keep: Collection[int]) -> None:
    there = {thread.id for thread in cpu.threads}
    unknown = sorted(set(keep) - there)
    if unknown and there:
        raise ConfigError(
            f"vmm.cpu.keep: cpu {ranges(unknown)}: no such CPU; this server has cpu {ranges(there)}",
            "give the numbers as `hal facts` shows them",
        )


def _arrange(
    cores: Sequence[CpuThread], dies: bool, most: int = 1 << 31
) -> tuple[Topology, list[CpuThread], tuple[str, ...]]:
    packages: dict[int, list[CpuThread]] = {}
    for core in cores:
        packages.setdefault(core.package, []).append(core)
    sizes = {package: len(members) for package, members in packages.items()}
    full = max(sizes.values())
    incomplete = [package for package, size in sizes.items() if size < full]
    if len(incomplete) > 1 or full * len(packages) > most:
        text = ", ".join(f"{sizes[package]}" for package in sorted(packages))
        note = f"the packages have {text} cores: the product sees one socket with {len(cores)} cores"
        return Topology(1, 1, len(cores)), sorted(cores, key=_package_die_id), (note,)
    # The incomplete one last: its empty places are then the last of all.
    ordered = sorted(cores, key=lambda core: (sizes[core.package] < full, *_package_die_id(core)))
    per_package = _dies(packages) if dies and not incomplete else 1
    return Topology(len(packages), per_package, full // per_package), ordered, ()


def _package_die_id(core: CpuThread) -> tuple[int, int, int]:
    return core.package, core.die, core.id


def _dies(packages: dict[int, list[CpuThread]]) -> int:
    """Dies per package where all packages and all dies are alike; otherwise 1."""
    counts: dict[tuple[int, int], int] = {}
    for members in packages.values():
        for core in members:
            counts[core.package, core.die] = counts.get((core.package, core.die), 0) + 1
    per_package, rest = divmod(len(counts), len(packages))
    alike = len(set(counts.values())) == 1 and rest == 0
    return per_package if alike else 1


def _fitting(topology: Topology, count: int, most: int, x2apic: bool) -> int:
    """How many of the first CPUs stay within QEMU's limits: APIC ids grow with the index."""
    fits = count if topology.possible <= most else min(count, most)
    if not x2apic and topology.apic_id(topology.possible - 1) > LAST_XAPIC_ID:
        low, high = 0, fits
        while low < high:
            middle = (low + high) // 2
            if topology.apic_id(middle) <= LAST_XAPIC_ID:
                low = middle + 1
            else:
                high = middle
        fits = low
    return fits


def _emulator(cpu: Cpu, cores: Sequence[CpuThread], kept: set[int]) -> tuple[int, ...]:
    """The vCPUs' sibling threads: near in the caches, and otherwise idle. Else the host's cores, else any CPU."""
    siblings = sorted(other for core in cores for other in core.core if other != core.id)
    if siblings:
        return tuple(siblings)
    host = [thread.id for thread in cpu.online if not kept.isdisjoint(thread.core)]
    return tuple(host or (thread.id for thread in cpu.online))


def _held(
    cpu: Cpu, cores: Sequence[CpuThread], beyond: Sequence[CpuThread], kept: set[int], most: int
) -> tuple[HeldBack, ...]:
    given = {core.id for core in cores}
    too_many = {thread for core in beyond for thread in core.core}
    reasons: dict[str, list[int]] = {}
    for thread in cpu.threads:
        if thread.id in given:
            continue
        if not thread.online:
            reason = "offline"
        elif not kept.isdisjoint(thread.core):
            reason = "kept for the host (vmm.cpu.keep)"
        elif thread.id in too_many:
            reason = f"beyond QEMU's limit (the machine type has {most} CPUs, and APIC ids end at {LAST_XAPIC_ID})"
        else:
            reason = "hyper-threads"
        reasons.setdefault(reason, []).append(thread.id)
    return tuple(HeldBack(f"cpu {ranges(ids)}", reason) for reason, ids in reasons.items())
