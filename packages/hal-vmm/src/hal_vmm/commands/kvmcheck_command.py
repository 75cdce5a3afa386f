"""``hal-vmm kvm-check``: :mod:`hal_vmm.qemu.kvmcheck` for whoever qualifies a server."""

from __future__ import annotations

import dataclasses
import json
import sys

from hal_core import arguments, facts
from hal_core import config as hal_config
from hal_vmm.config import VmmConfig
from hal_vmm.plan import cpumodel
from hal_vmm.qemu import kvmcheck, probe

USAGE = """\
usage: hal-vmm kvm-check [--json] [--cpu MODEL]

Boot a guest of ten bytes under KVM, and tell whether that worked. Exit status: 0 it did, 1 it did not.

options:
  --cpu MODEL  with this CPU model only; without it, with those that HAL would try
  --json       as JSON
"""


def main(argv: list[str]) -> int:
    """Print the verdict.

    :raise HalError: there is no QEMU to try it with.
    """
    given = arguments.parse("hal-vmm kvm-check", argv, {"--json"}, {"--cpu"})
    if "help" in given:
        sys.stdout.write(USAGE)
        return 0
    flavour = probe.probe(probe.find(hal_config.load(VmmConfig, "vmm").qemu))
    vendor = facts.read("/").cpu.vendor
    models = (given["cpu"],) if "cpu" in given else cpumodel.candidates("host", vendor, flavour)
    kvm = kvmcheck.check(flavour, models)
    if "json" in given:
        print(json.dumps(dataclasses.asdict(kvm), indent=2))
    elif kvm.works:
        print(f"KVM works, with CPU model {kvm.model}" + (f" ({kvm.reason})" if kvm.reason else ""))
    else:
        print(f"KVM does not work: {kvm.reason}")
    return 0 if kvm.works else 1
