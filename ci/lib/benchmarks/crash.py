"""QEMU is killed, or stops answering: how soon it is noticed, and how soon the product runs again."""

from __future__ import annotations

import functools
import os
import signal
import time

from benchmarks.lab import Lab
from benchmarks.libvirt import NOT_INSTALLED, Libvirt, domain
from benchmarks.measure import BenchError, Row, Variant, interleave
from benchmarks.watch import Lines
from hal_vmm.manager.verdict import QMP_DEADLINE

PATIENCE = 60.0  # seconds
# What HAL's manager logs: the reason is on disk by then.
NOTICED = "the product's run has ended"
FLAGGED = "not answering"


def rows(lab: Lab, rounds: int) -> list[Row]:
    """HAL's product runs at the beginning and at the end."""
    variants: dict[str, Variant] = {"hal": functools.partial(_kill_hal, lab)}
    if lab.libvirt:
        starting = lab.libvirt.spawn_virsh("start", domain(True))
        lab.monitor.await_running(PATIENCE)
        starting.wait(PATIENCE)
        variants["libvirt"] = functools.partial(_kill_libvirt, lab, lab.libvirt, lab.libvirt.watch_events())
    samples = interleave("kill -9 of QEMU", variants, rounds)
    if lab.libvirt:
        lab.libvirt.stop()
    made = []
    for figure, goal in (("noticed", 0.1), ("running", 0.25)):
        made.append(samples.median(f"kill -9 → {figure}: HAL", f"hal {figure}", "ms", 1e3))
        if lab.libvirt:
            made.append(samples.median(f"kill -9 → {figure}: libvirt and a watcher", f"libvirt {figure}", "ms", 1e3))
        title = f"kill -9 → {figure}: HAL / libvirt and a watcher"
        made.append(samples.ratio(title, f"hal {figure}", f"libvirt {figure}", goal, note=NOT_INSTALLED))
    stopped = interleave("SIGSTOP of QEMU", {"hal": functools.partial(_stop_hal, lab)}, rounds)
    made.append(stopped.median("SIGSTOP → flagged: HAL", "hal flagged", "s"))
    made.append(stopped.median("SIGSTOP → flagged: HAL / its deadline", "hal flagged", "×", 1 / QMP_DEADLINE, goal=1.1))
    return made


def _log(lab: Lab) -> Lines:
    if lab.hal.log is None:
        raise BenchError("the guest manager has no log")
    return lab.hal.log


def _kill_hal(lab: Lab) -> dict[str, float]:
    lab.hal.wait_state("running")
    log, pid = _log(lab), lab.hal.qemu_pid
    mark, begun = log.mark(), time.monotonic()
    os.kill(pid, signal.SIGKILL)
    running = lab.monitor.await_running(PATIENCE) - begun
    return {"noticed": log.wait_for(NOTICED, mark, PATIENCE) - begun, "running": running}


def _kill_libvirt(lab: Lab, peer: Libvirt, events: Lines) -> dict[str, float]:
    """The watcher is this process: it starts the domain again as soon as the event is there."""
    pid = peer.qemu_pid(domain(True))
    mark, begun = events.mark(), time.monotonic()
    os.kill(pid, signal.SIGKILL)
    noticed = events.wait_for("Stopped", mark, PATIENCE) - begun
    starting = peer.spawn_virsh("start", domain(True))
    running = lab.monitor.await_running(PATIENCE) - begun
    starting.wait(PATIENCE)
    return {"noticed": noticed, "running": running}


def _stop_hal(lab: Lab) -> dict[str, float]:
    """QEMU stands still, then goes on: it is not killed before vmm.crash.hung_after, a minute."""
    lab.hal.wait_state("running")
    log, pid = _log(lab), lab.hal.qemu_pid
    mark, begun = log.mark(), time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    try:
        return {"flagged": log.wait_for(FLAGGED, mark, PATIENCE) - begun}
    finally:
        os.kill(pid, signal.SIGCONT)
