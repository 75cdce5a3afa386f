"""A guest plan as JSON: what ``hal-vmm plan --json`` prints, and what ``hal-vmm apply`` writes to
``/run/hal/plan.json``.

That file is a contract: keys are added, and never renamed or given another meaning. Those who read it:

* hal-netcfg, before the product starts: ``nics``, of each one ``host`` (the host's name for the NIC), ``mac`` (the
  product wears it), ``slot`` (the N of its LAN) and ``tap``; ``host_link``, null where there is none; ``held_back``;
  ``handover``, whether QEMU can be given a real NIC: ``way`` ("" if not) and ``reason``.
* hal-udev: ``usb_buses``, of each one ``bus`` (QEMU's name for it) and ``ports`` (how many; they are numbered from 1);
  ``serial``, of each one ``host``; ``held_back``; and ``hotplug``, which is only in the file, since it takes a QEMU to
  tell (:mod:`hal_vmm.launch.hotplug`): of each disk ``id``, ``slot``, ``host``, ``identity``, ``read_only``, and what
  QMP's ``blockdev-add`` (with an empty ``filename``) and ``device_add`` take, the latter null where QEMU cannot; of
  each DVD drive ``id``, ``host``, and ``medium``: what ``blockdev-add`` takes for a disc, null where QEMU has the drive
  itself.
* ``hal vmm status``: ``held_back``.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hal_vmm.plan.guestplan import CpuPlan, GuestPlan


def to_json(plan: GuestPlan) -> dict[str, Any]:
    return {
        "era": plan.era,
        "machine": plan.machine,
        "accel": {"name": plan.accel, "reason": plan.accel_reason},
        "cpu": _cpu(plan.cpu),
        "memory": _without_notes(plan.memory),
        "disks": [dataclasses.asdict(disk) for disk in plan.disks],
        "optical": [dataclasses.asdict(drive) for drive in plan.optical],
        "nics": [dataclasses.asdict(nic) for nic in plan.nics],
        "host_link": dataclasses.asdict(plan.host_link) if plan.host_link else None,
        "handover": dataclasses.asdict(plan.handover),
        "serial": [dataclasses.asdict(port) for port in plan.serial],
        "channels": [dataclasses.asdict(channel) for channel in plan.channels],
        "usb": list(plan.profile.usb),
        "usb_buses": [{"bus": controller.bus, "ports": controller.ports} for controller in plan.usb],
        "watchdog": plan.watchdog,
        "rng": plan.rng,
        "pvpanic": plan.pvpanic,
        "smbios": plan.smbios.to_json(),
        "boot": dataclasses.asdict(plan.boot),
        "held_back": [dataclasses.asdict(held) for held in plan.held_back],
        "notes": list(plan.notes),
    }


def _cpu(cpu: CpuPlan) -> dict[str, Any]:
    topology = cpu.topology
    return {
        "vcpus": len(cpu.pinning),
        "pinning": [{"vcpu": pin.vcpu, "cpu": pin.cpu} for pin in cpu.pinning],
        "emulator": list(cpu.emulator),
        "model": cpu.model,
        "model_reason": cpu.model_reason,
        "topology": {
            "sockets": topology.sockets,
            "dies": topology.dies,
            "cores": topology.cores,
            "threads": 1,
            "maxcpus": topology.possible,
        },
        "nodes": [
            {"node": node.id, "host_node": node.host, "vcpus": list(node.cpus), "distances": list(node.distances)}
            for node in cpu.nodes
        ],
    }


def _without_notes(value: Any) -> dict[str, Any]:
    fields: dict[str, Any] = dataclasses.asdict(value)
    del fields["notes"]
    return fields
