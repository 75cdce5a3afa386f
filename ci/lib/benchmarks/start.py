"""Starting the product: until its guest runs (QMP "running"), and until its init speaks; and the launcher alone."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Optional

from benchmarks.halproduct import program
from benchmarks.lab import Lab
from benchmarks.libvirt import NOT_INSTALLED, Libvirt, domain
from benchmarks.measure import BenchError, Row, Samples, Variant, interleave, median_of

PATIENCE = 120.0  # seconds
INIT = "PRODUCT up"  # the first words of the product's init
_RUNS = 5  # per round, of what takes milliseconds

_HAL = {"hal": "HAL", "command": "hal vmm start", "boot": "HAL, cold manager"}
_LIBVIRT = {domain(False): "virsh start, its devices", domain(True): "virsh start, HAL's devices"}


def rows(lab: Lab, rounds: int) -> list[Row]:
    """:raise BenchError: something does not start."""
    return [*_start_rows(lab, rounds), *_launcher_rows(lab, rounds)]


# --- start → running, → init --------------------------------------------------------------------------------------


def _start_rows(lab: Lab, rounds: int) -> list[Row]:
    variants: dict[str, Variant] = {
        "plain": lambda: _timed(lab, lab.plain.start, lab.plain.end, cont=True),
        "hal": lambda: _timed(lab, lab.hal.allow_start, lab.hal.stop),
        "command": lambda: _timed(lab, lab.hal.ask_to_start, lab.hal.stop),
        "boot": lambda: _timed(lab, functools.partial(_boot, lab), lab.cold.end),
    }
    if lab.libvirt:
        for name in _LIBVIRT:
            variants[name] = functools.partial(_libvirt, lab, lab.libvirt, name)
    lab.hal.start_manager(stopped=True)
    samples = interleave("start", variants, rounds)
    running, init = _rows_of("running", samples, variants, 1.3), _rows_of("init", samples, variants, 1.1)
    for name, text in _LIBVIRT.items():
        title = f"start → running: hal vmm start / {text}"
        running.append(samples.ratio(title, "command running", f"{name} running", 0.25, note=NOT_INSTALLED))
        title = f"start → init: hal vmm start / {text}"
        init.append(samples.ratio(title, "command init", f"{name} init", note=NOT_INSTALLED))
    return running + init


def _rows_of(figure: str, samples: Samples, variants: dict[str, Variant], limit: float) -> list[Row]:
    """Everybody's own figure, and HAL's against plain QEMU."""
    names = {"plain": "plain QEMU", **_HAL, **_LIBVIRT}
    made = [samples.median(f"start → {figure}: {names[name]}", f"{name} {figure}", "ms", 1e3) for name in variants]
    for name, text in _HAL.items():
        title = f"start → {figure}: {text} / plain QEMU"
        # A command begins with starting Python, which has a goal of its own.
        goal = None if name == "command" else limit
        made.append(samples.ratio(title, f"{name} {figure}", f"plain {figure}", goal))
    return made


def _timed(
    lab: Lab, start: Callable[[], Optional[subprocess.Popen[bytes]]], end: Callable[[], None], cont: bool = False
) -> dict[str, float]:
    """One start and its end.

    :param start: returns at once; a program that it has started is waited for when the stopwatch has been read.
    """
    mark = lab.console.mark()
    begun = time.monotonic()
    command = start()
    try:
        running = lab.monitor.await_running(PATIENCE, cont) - begun
        init = lab.console.wait_for(INIT, mark, PATIENCE) - begun
        if command and command.wait(PATIENCE):
            raise BenchError(f"{command.args!r} ended with status {command.returncode}")
    finally:
        end()
    return {"running": running, "init": init}


def _boot(lab: Lab) -> None:
    """A host that boots: hal-qemu.service, and when that is ready hal-vmm.service."""
    lab.cold.launch()
    lab.cold.start_manager(stopped=False)


def _libvirt(lab: Lab, peer: Libvirt, name: str) -> dict[str, float]:
    return _timed(lab, lambda: peer.spawn_virsh("start", name), peer.stop)


# --- the launcher alone -------------------------------------------------------------------------------------------


def _launcher_rows(lab: Lab, rounds: int) -> list[Row]:
    """HAL's launcher with the real plan, which becomes a program that ends at once, against an empty Python."""
    plan = lab.plain_product.plan
    plan["qemu"] = plan["argv"][0] = shutil.which("true") or "/bin/true"
    path = Path(lab.plain_product.run_dir / "fake-qemu.json")
    path.write_text(json.dumps(plan))
    python = os.path.realpath(sys.executable)
    environment = lab.plain_product.environment
    variants: dict[str, Variant] = {
        "launcher": lambda: {"": median_of(_RUNS, [program("hal-qemu-launch"), str(path)], environment)},
        "python": lambda: {"": median_of(_RUNS, [python, "-S", "-c", "pass"], environment)},
        "fake": lambda: {"": median_of(_RUNS, [plan["qemu"]], environment)},
    }
    samples = interleave("launcher", variants, rounds)
    return [
        samples.median("launcher, with a fake QEMU that ends at once", "launcher ", "ms", 1e3),
        samples.median("python3 -S -c pass", "python ", "ms", 1e3),
        samples.median("the fake QEMU alone", "fake ", "ms", 1e3),
        samples.ratio("launcher / python3 -S -c pass", "launcher ", "python ", 2.0),
    ]
