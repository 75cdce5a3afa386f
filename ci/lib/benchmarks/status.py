"""How long a cold ``status`` takes: people and scripts ask often."""

from __future__ import annotations

import os
import sys

from benchmarks.halproduct import program
from benchmarks.lab import Lab
from benchmarks.libvirt import NOT_INSTALLED, domain
from benchmarks.measure import Row, Variant, interleave, median_of

GOAL = 0.6  # of virsh domstate
_RUNS = 5  # per round
_NAMES = {"verb": "hal-vmm status", "hal": "hal vmm status", "python": "python3 -S -c pass", "virsh": "virsh domstate"}


def rows(lab: Lab, rounds: int) -> list[Row]:
    """HAL's product runs; libvirt's is defined, which is all that virsh domstate asks for."""
    python, environment = os.path.realpath(sys.executable), lab.hal.environment
    commands = {
        "verb": [program("hal-vmm"), "status"],
        "hal": [program("hal"), "vmm", "status"],
        "python": [python, "-S", "-c", "pass"],
    }

    def variant(command: list[str], where: dict[str, str]) -> Variant:
        return lambda: {"": median_of(_RUNS, command, where)}

    variants = {name: variant(command, environment) for name, command in commands.items()}
    if lab.libvirt:
        command = [lab.libvirt.virsh_path, "domstate", domain(True)]
        variants["virsh"] = variant(command, lab.libvirt.environment)
    samples = interleave("status", variants, rounds)
    made = [samples.median(f"cold status: {_NAMES[name]}", f"{name} ", "ms", 1e3) for name in variants]
    for name in ("verb", "hal"):
        title = f"cold status: {_NAMES[name]} / {_NAMES['virsh']}"
        made.append(samples.ratio(title, f"{name} ", "virsh ", GOAL, note=NOT_INSTALLED))
        made.append(samples.ratio(f"cold status: {_NAMES[name]} / {_NAMES['python']}", f"{name} ", "python "))
    return made
