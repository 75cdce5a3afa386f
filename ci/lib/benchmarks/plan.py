"""``ci/bench plan``: planning for a large server, and how that grows with the server's size.

The servers are synthetic (:mod:`hal_core.testing.synthetic`), written out as the files that facts are read from.
"Large" is 512 CPUs, 64 disks and 16 NICs; "half" is half of each. QEMU is not needed: the plan is for a known one.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Callable

from benchmarks.measure import Row, Variant, interleave, median_of
from hal_core import facts
from hal_core.machine import Machine
from hal_core.testing import synthetic
from hal_vmm.config import VmmConfig
from hal_vmm.launch import commandline
from hal_vmm.plan import guest as planning
from hal_vmm.qemu import flavour_builtin

LARGE = "512 CPUs, 64 disks, 16 NICs"
SECONDS = 0.3  # goal for the large server
GROWTH = 2.5  # goal: twice the server takes about twice as long
_QEMU = "fedora"
_RUNS = 3  # per round


def measure(cache: Path, rounds: int) -> list[Row]:
    """:param cache: not used; every benchmark gets it."""
    with tempfile.TemporaryDirectory(prefix="hal-bench-") as directory:
        variants: dict[str, Variant] = {}
        for name, parts in (("large", 1), ("half", 2)):
            made_up = machine(parts)
            root = os.path.join(directory, name)
            synthetic.write_tree(root, made_up)
            variants[name] = variant(made_up, root, {**os.environ, "HAL_CONFIG_DIR": os.path.join(directory, "etc")})
        samples = interleave("planning", variants, rounds)
    rows = []
    for figure, what in (("pure", "plan"), ("facts", "facts"), ("command", "hal-vmm plan, whole command")):
        goal = None if figure == "facts" else SECONDS
        rows.append(samples.median(f"{what}: {LARGE}", f"large {figure}", "s", goal=goal))
        rows.append(samples.ratio(f"{what}: large / half", f"large {figure}", f"half {figure}", GROWTH))
    return rows


def machine(parts: int) -> Machine:
    """The large server, or one of that many parts of it: CPUs are 4 packages × 64 cores × 2 threads."""
    return synthetic.machine(
        packages=4,
        cores=64 // parts,
        threads=2,
        disks=64 // parts,
        nics=16 // parts,
        nodes=4,
        memory_mib=(1 << 20) // parts,
        hal_disk=True,
    )


def variant(made_up: Machine, root: str, environment: Mapping[str, str]) -> Variant:
    """One server's figures: planning alone, reading facts alone, and the command from its start to its end."""
    command = [os.path.join(os.path.dirname(sys.executable), "hal-vmm"), "plan", "--json"]
    command += ["--root", root, "--assume", _QEMU]
    flavour = flavour_builtin.assume(_QEMU)

    def pure() -> object:
        plan = planning.plan(made_up, VmmConfig(), flavour, None)
        return commandline.compile_plan(plan, flavour, commandline.Site("/run/hal", vhost=True))

    def once() -> dict[str, float]:
        return {
            "pure": _seconds(pure),
            "facts": _seconds(lambda: facts.read(root)),
            "command": median_of(_RUNS, command, environment),
        }

    return once


def _seconds(what: Callable[[], object]) -> float:
    """The quickest of a few: anything above it is somebody else's work."""
    figures = []
    for _ in range(_RUNS):
        begun = time.perf_counter()
        what()
        figures.append(time.perf_counter() - begun)
    return min(figures)
