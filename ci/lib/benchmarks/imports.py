"""``ci/bench imports``: what it costs to import what HAL is made of. No goals: these are the reasons for some.

Whoever wonders why the launcher does without ``json`` finds the answer here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measure import BenchError, Row, Variant, interleave, median_of

_RUNS = 5  # per round
_PROGRAMS = {
    "nothing": "pass",
    "json": "import json",
    "argparse": "import argparse",
    "dataclasses": "import dataclasses",
    "asyncio": "import asyncio",
    "qemu.qmp": "import qemu.qmp",
    "qemu.qmp without TLS": "from hal_core import no_tls; no_tls.load()",
    "hal_vmm.launch.launcher": "import hal_vmm.launch.launcher",
    "hal_vmm.commands.status": "import hal_vmm.main, hal_vmm.commands.status",
    "hal_vmm.manager.resident": "from hal_core import no_tls; no_tls.load(); import hal_vmm.manager.resident",
    "hal_vmm.manager.resident with TLS": "import hal_vmm.manager.resident",
}
_REPORT = "print(sum(int(line.split()[1]) for line in open('/proc/self/smaps_rollup') if line.startswith('Private_')))"


def measure(cache: Path, rounds: int) -> list[Row]:
    """:param cache: not used; every benchmark gets it."""
    variants = {name: _variant(program) for name, program in _PROGRAMS.items()}
    bare = [os.path.realpath(sys.executable), "-S", "-c", "pass"]
    variants["python3 -S"] = lambda: {"time": median_of(_RUNS, bare, os.environ)}
    samples = interleave("imports", variants, rounds)
    rows = [samples.median("time: nothing, python3 -S", "python3 -S time", "ms", 1e3)]
    rows += [samples.median(f"time: {name}", f"{name} time", "ms", 1e3) for name in _PROGRAMS]
    rows += [samples.median(f"private memory: {name}", f"{name} memory", "MiB", 1 / 1024) for name in _PROGRAMS]
    return rows


def _variant(program: str) -> Variant:
    timed = [sys.executable, "-I", "-c", program]
    return lambda: {"time": median_of(_RUNS, timed, os.environ), "memory": _private_kib(program, os.environ)}


def _private_kib(program: str, environment: Mapping[str, str]) -> float:
    """What only this process has in memory when it has imported (proc(5), smaps_rollup)."""
    command = [sys.executable, "-I", "-c", f"{program}\n{_REPORT}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{program}: {done.stderr.strip()}")
    return float(done.stdout)
