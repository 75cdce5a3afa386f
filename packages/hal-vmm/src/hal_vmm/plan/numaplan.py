"""The server's NUMA nodes as the product sees them: each guest node is one host node, in order, numbered from 0.

A node is carried over when it has memory worth the name. CPUs of a node without memory belong, for the product, to
the nearest node that has some: that is where their memory comes from on bare metal, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hal_core.machine import CpuThread, Machine, NumaNode
from hal_vmm.plan.cpuplan import Topology

# Less than this is a hole that the firmware left, not a node: a guest with so small a node 0 would not even boot.
_LEAST_KIB = 64 << 10

# What ACPI's SLIT allows: 10 is "local", 255 "not reachable" (ACPI 6.5, 5.2.17).
_LOCAL, _FARTHEST = 10, 254


@dataclass(frozen=True)
class GuestNode:
    id: int
    host: int  # the host's number of it
    memory_kib: int  # what the host has there
    cpus: tuple[int, ...]  # QEMU's CPU indexes, places that stay empty included
    distances: tuple[int, ...]  # to each guest node; () if the host's make no sense


def plan(machine: Machine, cores: Sequence[CpuThread], topology: Topology) -> tuple[GuestNode, ...]:
    """The guest's nodes; () where there is only one, or nothing is known about their memory."""
    with_memory = [node for node in machine.nodes if (node.memory_kib or 0) >= _LEAST_KIB]
    if len(with_memory) < 2:
        return ()
    guest_id = {node.id: index for index, node in enumerate(with_memory)}
    nearest = {node.id: _nearest(node, machine.nodes, guest_id) for node in machine.nodes}
    members: list[list[int]] = [[] for _ in with_memory]
    for index in range(topology.possible):
        # A place that stays empty goes with the last CPU: QEMU wants every place to be in a node.
        node = cores[min(index, len(cores) - 1)].node
        members[nearest.get(node, 0)].append(index)
    distances = _distances(machine.nodes, with_memory)
    return tuple(
        GuestNode(index, node.id, node.memory_kib or 0, tuple(members[index]), distances[index])
        for index, node in enumerate(with_memory)
    )


def _nearest(node: NumaNode, nodes: Sequence[NumaNode], guest_id: dict[int, int]) -> int:
    if node.id in guest_id:
        return guest_id[node.id]
    if len(node.distances) != len(nodes):
        return 0
    return min(
        (distance, guest_id[other.id]) for distance, other in zip(node.distances, nodes) if other.id in guest_id
    )[1]


def _distances(nodes: Sequence[NumaNode], with_memory: Sequence[NumaNode]) -> list[tuple[int, ...]]:
    position = {node.id: index for index, node in enumerate(nodes)}
    columns = [position[node.id] for node in with_memory]
    rows = []
    for row, node in enumerate(with_memory):
        if len(node.distances) != len(nodes):
            return [()] * len(with_memory)
        distances = tuple(node.distances[column] for column in columns)
        others = distances[:row] + distances[row + 1 :]
        if distances[row] != _LOCAL or not all(_LOCAL < distance <= _FARTHEST for distance in others):
            return [()] * len(with_memory)
        rows.append(distances)
    return rows
