"""``hal-vmm preflight``: before an upgrade, whether the new QEMU can still provide the product's pinned hardware."""

from __future__ import annotations

import dataclasses
import json
import os
import sys

from hal_core import arguments
from hal_core import config as hal_config
from hal_core.errors import HostError, UsageError
from hal_vmm.config import VmmConfig
from hal_vmm.plan import pinned
from hal_vmm.qemu import flavour_builtin, probe
from hal_vmm.qemu.flavour import Flavour

USAGE = """\
usage: hal-vmm preflight [--json] [--qemu BINARY | --assume NAME]

Tell whether a QEMU can still provide the virtual hardware that the product has had so far. Run it before an upgrade.
Exit status: 0 it can, 1 it cannot.

options:
  --qemu BINARY  ask this QEMU (one unpacked from the new package); without it, the one that is installed
  --assume NAME  take what is known of debian12, el9, el10, fedora
  --json         as JSON
"""


def main(argv: list[str]) -> int:
    """Print every problem.

    :raise HostError: no hardware is pinned yet, or the QEMU cannot be asked.
    """
    given = arguments.parse("hal-vmm preflight", argv, {"--json"}, {"--qemu", "--assume"})
    if "help" in given:
        sys.stdout.write(USAGE)
        return 0
    if "qemu" in given and "assume" in given:
        raise UsageError("preflight: --qemu and --assume: only one of them is allowed")
    known = pinned.read()
    if known is None:
        raise HostError(f"no hardware is pinned yet: there is no {pinned.path()}", "hal-vmm apply pins it")
    flavour = _flavour(given.get("qemu", ""), given.get("assume", ""))
    problems = pinned.preflight(known, flavour)
    possible = not any(problem.fatal for problem in problems)
    if "json" in given:
        found = [dataclasses.asdict(problem) for problem in problems]
        print(json.dumps({"qemu": flavour.name, "possible": possible, "problems": found}, indent=2))
    else:
        for problem in problems:
            print(f"{'problem' if problem.fatal else 'warning'}: {problem}")
        verdict = "can provide" if possible else "cannot provide"
        print(f"{flavour.name} {verdict} the product's hardware: {known.machine}, CPU model {known.cpu_model}")
    return 0 if possible else 1


def _flavour(binary: str, assumed: str) -> Flavour:
    if assumed:
        return flavour_builtin.assume(assumed)
    if binary:
        if not os.access(binary, os.X_OK):
            raise UsageError(f"preflight: --qemu {binary}: no such program")
        return probe.probe(os.path.abspath(binary))
    return probe.probe(probe.find(hal_config.load(VmmConfig, "vmm").qemu))
