"""What one QEMU can do, as a plain value: probed from an installed one (:mod:`hal_vmm.qemu.probe`) or assumed
(:mod:`hal_vmm.qemu.flavour_builtin`). Every difference between distributions' QEMUs is asked here, never guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Optional

from hal_core.errors import HostError

# Upstream's pc-q35-7.2, pc-i440fx-7.2; Enterprise Linux' pc-q35-rhel9.4.0, pc-i440fx-rhel7.6.0. Aliases ("q35", "pc")
# do not match: they move with every QEMU, and the product's hardware must not. Others (Ubuntu's pc-q35-jammy) neither.
_VERSIONED = re.compile(r"pc-(q35|i440fx)-(?:rhel)?(\d+)\.(\d+)(?:\.(\d+))?")


@dataclass(frozen=True)
class MachineType:
    name: str  # "pc-q35-7.2"
    max_cpus: int
    deprecated: bool = False

    @property
    def family(self) -> str:
        """Either "q35" or "pc"; empty for any other machine and for aliases."""
        match = _VERSIONED.fullmatch(self.name)
        return "" if match is None else "q35" if match[1] == "q35" else "pc"

    @property
    def version(self) -> tuple[int, ...]:
        match = _VERSIONED.fullmatch(self.name)
        return () if match is None else tuple(int(part or 0) for part in match.groups()[1:])


@dataclass(frozen=True)
class CpuModel:
    name: str  # "Westmere"
    deprecated: bool = False
    runnable: Optional[bool] = None  # this host's processor has all of its features; None: not known


@dataclass(frozen=True)
class Flavour:
    name: str  # "Debian 12", "QEMU 7.2.22"
    binary: str  # absolute
    version: tuple[int, int, int]
    machines: tuple[MachineType, ...]
    devices: frozenset[str]
    cpu_models: tuple[CpuModel, ...]
    accelerators: frozenset[str]  # "kvm", "tcg"
    block_drivers: frozenset[str]
    aio: frozenset[str]  # of host_device: "threads", "native", "io_uring"
    objects: frozenset[str]  # "memory-backend-memfd", "rng-builtin", …
    sandbox: bool  # built with seccomp

    @property
    def version_text(self) -> str:
        return ".".join(str(part) for part in self.version)

    @property
    def kvm_by_fd(self) -> bool:
        """``-accel kvm,device=/dev/fdset/N``: QEMU 8.2 (commit aef158b). Before, /dev/kvm is opened by path."""
        return self.version >= (8, 2, 0)

    @cached_property
    def _models(self) -> dict[str, CpuModel]:
        return {model.name: model for model in self.cpu_models}

    @cached_property
    def _machines(self) -> dict[str, MachineType]:
        return {machine.name: machine for machine in self.machines}

    def limited_to(self, other: Flavour) -> Flavour:
        """This one, with nothing that the other lacks; its machine types and CPU models are its own."""
        return replace(
            self,
            name=f"{self.name} like {other.name}",
            devices=self.devices & other.devices,
            block_drivers=self.block_drivers & other.block_drivers,
            aio=self.aio & other.aio,
            objects=self.objects & other.objects,
        )

    def has(self, device: str) -> bool:
        return device in self.devices

    def cpu_model(self, name: str) -> Optional[CpuModel]:
        return self._models.get(name)

    def machine(self, name: str) -> Optional[MachineType]:
        return self._machines.get(name)

    def newest_machine(self, family: str) -> MachineType:
        """The newest machine type of a family; one that is not deprecated wins over any that is.

        :raise HostError: there is none; says what there is.
        """
        found = [machine for machine in self.machines if machine.family == family]
        if not found:
            others = sorted({machine.family for machine in self.machines if machine.family})
            raise HostError(
                f"{self.name}: no machine type of family {family}; it has {', '.join(others) or 'none that HAL knows'}",
                "choose another era for the product, or install a QEMU that still has it",
            )
        return max(found, key=lambda machine: (not machine.deprecated, machine.version))


@dataclass(frozen=True)
class Kvm:
    """What is known of KVM on the server, beyond what the facts say: :mod:`hal_vmm.qemu.kvmcheck` finds it out."""

    works: bool
    reason: str = ""  # why it does not
    model: str = ""  # the CPU model that a guest really ran with; "" if that was not tried
