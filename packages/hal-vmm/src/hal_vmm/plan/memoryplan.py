"""How much memory the product gets: everything but what the host needs.

The host needs, in MiB::

    768 + 1 % of the total + 4 for every vCPU,   at least 1024, at most 16384

* 768: the host's kernel, systemd, HAL's residents, QEMU's own code and devices, a page cache that still caches.
* 1 %: page tables. With 4 KiB pages the product's memory costs 8 bytes a page twice, in the EPT or NPT and in QEMU's
  own page tables: 0.4 %. The kernel's reserves (``min_free_kbytes``, per-node watermarks) and slab grow with it too.
* 4 for every vCPU: the vCPU's kernel state, its QEMU thread, a vhost and an I/O queue each.
* At most: transparent or explicit huge pages make the tables small on a server with terabytes.

``vmm.memory.host_mib`` or ``vmm.memory.guest_mib`` replace the formula. The product's memory is rounded down to whole
2 MiB (or huge) pages and spread over the NUMA nodes in proportion to what they have.

The memory is anonymous (``memory-backend-ram``), since only that gets transparent huge pages by default; memory of a
memfd does not (Documentation/admin-guide/mm/transhuge.rst, "shmem_enabled"). Explicit huge pages are a memfd.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from hal_core.errors import ConfigError, HostError
from hal_core.machine import Machine
from hal_vmm.config import MemoryConfig
from hal_vmm.plan.numaplan import GuestNode

FLOOR_MIB, CEILING_MIB = 1024, 16384
LEAST_GUEST_MIB = 256
LEAST_HOST_MIB = 512  # when hal.toml says how much: below it, not even this host's kernel and QEMU start reliably

_PAGE_MIB = {"none": 2, "2M": 2, "1G": 1024}


@dataclass(frozen=True)
class NodeMemory:
    host_node: Optional[int]  # bound to this host node; None: anywhere
    mib: int


@dataclass(frozen=True)
class MemoryPlan:
    total_mib: Optional[int]  # None: the recording does not say
    guest_mib: Optional[int]
    host_mib: Optional[int]
    hugepages: str  # "none", "2M" or "1G"
    ksm: bool
    nodes: tuple[NodeMemory, ...]  # one for every guest node; one in all without NUMA; () if guest_mib is unknown
    notes: tuple[str, ...] = ()

    @property
    def page_mib(self) -> int:
        return _PAGE_MIB[self.hugepages]


def host_share(total_mib: int, vcpus: int) -> int:
    """MiB that the host needs by the formula above."""
    return min(max(768 + total_mib // 100 + 4 * vcpus, FLOOR_MIB), CEILING_MIB)


def plan(machine: Machine, config: MemoryConfig, vcpus: int, nodes: Sequence[GuestNode]) -> MemoryPlan:
    """The product's memory, and how it lies on the host's nodes.

    :raise ConfigError: hal.toml contradicts itself.
    :raise HostError: too little memory; the message has the numbers.
    """
    _check(config)
    total, notes = _total(machine)
    if total is None and not config.guest_mib:
        note = "how much memory the server has is not known: neither is how much the product gets"
        return MemoryPlan(None, None, None, config.hugepages, config.ksm, (), (note,))
    guest, host = _divide(total, config, vcpus)
    page = _PAGE_MIB[config.hugepages]
    pages = guest // page
    if guest < LEAST_GUEST_MIB or pages < max(1, len(nodes)):
        raise HostError(
            f"too little memory: the server has {total if total is not None else '?'} MiB and the host needs {host}, "
            f"which leaves {max(guest, 0)} for the product; at least "
            f"{max(LEAST_GUEST_MIB, page * max(1, len(nodes)))} are needed",
            "add memory, or set vmm.memory.host_mib in hal.toml",
        )
    if nodes:
        shares = _spread(pages, [node.memory_kib for node in nodes])
        spread = tuple(NodeMemory(node.host, share * page) for node, share in zip(nodes, shares))
    else:
        spread = (NodeMemory(None, pages * page),)
    return MemoryPlan(total, pages * page, host, config.hugepages, config.ksm, spread, notes)


def _check(config: MemoryConfig) -> None:
    if config.guest_mib and config.host_mib:
        raise ConfigError(
            f"vmm.memory: guest_mib = {config.guest_mib} and host_mib = {config.host_mib}: only one of them is allowed",
            "take one of them out: the other follows from it",
        )
    if config.ksm and config.hugepages != "none":
        raise ConfigError(
            f'vmm.memory: ksm = true and hugepages = "{config.hugepages}": huge pages cannot be merged',
            "take one of them out",
        )


def _total(machine: Machine) -> tuple[Optional[int], tuple[str, ...]]:
    if machine.memory.total_kib is not None:
        return machine.memory.total_kib // 1024, ()
    known = [node.memory_kib for node in machine.nodes if node.memory_kib is not None]
    if not known:
        return None, ()
    return sum(known) // 1024, ("the total memory is the sum of the NUMA nodes': the recording has no /proc/meminfo",)


def _divide(total: Optional[int], config: MemoryConfig, vcpus: int) -> tuple[int, Optional[int]]:
    """The product's and the host's MiB, before any rounding."""
    if total is None:
        return config.guest_mib, None
    if config.guest_mib:
        host = total - config.guest_mib
        if host < LEAST_HOST_MIB:
            raise HostError(
                f"too little memory: vmm.memory.guest_mib = {config.guest_mib} of {total} MiB leaves {max(host, 0)} "
                f"for the host; at least {LEAST_HOST_MIB} are needed",
                f"set vmm.memory.guest_mib to {max(total - LEAST_HOST_MIB, 0)} at most",
            )
        return config.guest_mib, host
    host = config.host_mib or host_share(total, vcpus)
    return total - host, host


def _spread(pages: int, weights: Sequence[int]) -> list[int]:
    """Whole pages in proportion to the weights: each gets at least one, and all are used.

    :param pages: at least as many as there are weights.
    """
    spare, total = pages - len(weights), sum(weights)
    shares = [1 + spare * weight // total for weight in weights]
    for index in range(pages - sum(shares)):
        shares[index] += 1
    return shares
