"""Everything that a plan is made from, gathered: the only place where planning does any I/O."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from hal_core import config as hal_config
from hal_core import facts
from hal_core.errors import HostError
from hal_core.facts import settled
from hal_core.machine import Machine
from hal_vmm.config import VmmConfig
from hal_vmm.plan import cpumodel, pinned
from hal_vmm.plan import guest as planning
from hal_vmm.plan.guestplan import GuestPlan
from hal_vmm.plan.pinned import Pinned
from hal_vmm.qemu import flavour_builtin, kvmcheck, probe
from hal_vmm.qemu.flavour import Flavour, Kvm


@dataclass(frozen=True)
class Inputs:
    machine: Machine
    config: VmmConfig
    flavour: Flavour
    pinned: Optional[Pinned]
    kvm: Optional[Kvm]
    notes: tuple[str, ...] = ()

    def plan(self) -> GuestPlan:
        """See :func:`hal_vmm.plan.guest.plan`, with this gathering's own notes added."""
        made = planning.plan(self.machine, self.config, self.flavour, self.pinned, self.kvm)
        return dataclasses.replace(made, notes=self.notes + made.notes)


def for_planning(root: str, assume: str) -> Inputs:
    """For looking only: works on a recorded server, and without any QEMU.

    :param root: ``/``, or a recorded machine.
    :param assume: name of a QEMU flavour; empty: the one installed here.
    :raise HalError: hal.toml, the recording or the pinned hardware cannot be used.
    """
    live = _is_live(root)
    config = hal_config.load(VmmConfig, "vmm")
    flavour, notes = _flavour(config, assume, live)
    machine = facts.read("/" if live else root)
    if not live and machine.disks and all(disk.hal_device for disk in machine.disks):
        machine, told = _before_hal(machine)
        notes += told
    if live:
        notes += _whose_disks(machine)
    known = pinned.read() if live else None
    kvm = _kvm(machine, config, flavour, known) if live and not assume else None
    return Inputs(machine, config, flavour, known, kvm, notes)


def for_applying(repin: bool) -> Inputs:
    """For this server as it is, with its QEMU.

    :param repin: forget the pinned hardware.
    :raise HalError: as :func:`for_planning`; or there is no QEMU.
    """
    config = hal_config.load(VmmConfig, "vmm")
    flavour = _installed(config)
    machine, coming = settled.read()
    known = None if repin else pinned.read()
    machine, notes = _without_nameless(machine, coming, known)
    notes = _whose_disks(machine) + notes
    return Inputs(machine, config, flavour, known, _kvm(machine, config, flavour, known), notes)


def _without_nameless(
    machine: Machine, coming: Sequence[str], known: Optional[Pinned]
) -> tuple[Machine, tuple[str, ...]]:
    """A NIC that udev has not named yet gets no place in the product for ever: hal.toml may keep it by its name.

    hal-netcfg asks for another plan when it has its name.

    :param coming: disks and NICs that udev is not through with.
    """
    pins = {entry.identity for entry in known.of("nic")} if known else set()
    left_out = [nic.name for nic in machine.nics if nic.name in coming and nic.mac not in pins]
    notes = tuple(
        f"{name}: udev is not through with it: "
        + ("it is left out of this plan" if name in left_out else "it may be taken for another")
        for name in coming
    )
    nics = tuple(nic for nic in machine.nics if nic.name not in left_out)
    return dataclasses.replace(machine, nics=nics), notes


def _before_hal(machine: Machine) -> tuple[Machine, tuple[str, ...]]:
    """A server that was recorded by the system on its only disks has no HAL yet: they will be the product's.

    Once HAL is there it runs from a device of its own, and at least one other disk is left.
    """
    disks = tuple(dataclasses.replace(disk, hal_device=False, holders=(), partitions=()) for disk in machine.disks)
    names = ", ".join(disk.name for disk in disks)
    note = f"{names}: in use when this server was recorded; HAL will run from a device of its own"
    return dataclasses.replace(machine, disks=disks), (note,)


def _whose_disks(machine: Machine) -> tuple[str, ...]:
    """A host that runs from memory or the network has no disk of its own; any other has, and something is wrong here.

    Nothing is lost even then: the launcher claims every disk for itself, and a mounted one cannot be claimed.
    """
    if not machine.disks or any(disk.hal_device for disk in machine.disks):
        return ()
    return ("none of the disks is HAL's own: does this host run from memory, or in a container?",)


def _is_live(root: str) -> bool:
    try:
        return os.path.samefile(root, "/")
    except OSError:
        return False  # facts.read says what is wrong with it


def _flavour(config: VmmConfig, assume: str, live: bool) -> tuple[Flavour, tuple[str, ...]]:
    if assume:
        return flavour_builtin.assume(assume), ()
    try:
        flavour = _installed(config)
    except HostError as error:
        default = flavour_builtin.assume(flavour_builtin.DEFAULT)
        return default, (f"{error.message}; planned for {default.name}: choose another with --assume",)
    if live:
        return flavour, ()
    # What this desk's processor can be says nothing about the recorded server's.
    models = tuple(dataclasses.replace(model, runnable=None) for model in flavour.cpu_models)
    return dataclasses.replace(flavour, cpu_models=models), ()


def _installed(config: VmmConfig) -> Flavour:
    """:raise HostError: none is, or it does not answer."""
    flavour = probe.probe(probe.find(config.qemu))
    return flavour.limited_to(flavour_builtin.assume(config.qemu_like)) if config.qemu_like else flavour


def _kvm(machine: Machine, config: VmmConfig, flavour: Flavour, known: Optional[Pinned]) -> Optional[Kvm]:
    """Try KVM, with the CPU model that the plan would take; None where nobody wants KVM."""
    if config.accel == "tcg":
        return None
    model = planning.plan(machine, dataclasses.replace(config, accel="kvm"), flavour, known).cpu.model
    wanted = cpumodel.candidates(model, machine.cpu.vendor, flavour) if config.cpu.model == "auto" else (model,)
    deadline = kvmcheck.PATIENT_DEADLINE_S if config.accel == "kvm" else kvmcheck.DEADLINE_S
    return kvmcheck.remembered(flavour, wanted, deadline)
