"""Is the product alive? Signals → verdict. Pure: no clock is read here, and every time is monotonic seconds.

A restart is only ever decided while the virtual machine runs and nothing excuses its silence. Every excuse works the
same way: heartbeats are counted from its end, so that a product leaving maintenance gets all of its missed beats anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import Optional

from hal_vmm.config import HeartbeatConfig

QMP_DEADLINE = 3.0  # seconds without an answer after which QEMU is shown as not answering (and is not yet condemned)


@dataclass(frozen=True)
class Signals:
    """What is known at one moment."""

    now: float
    status: str  # QEMU's run state, "running", "paused", …; "" if unknown
    answered: float  # when QEMU last answered
    running_since: float  # when this run of the product began or was last resumed
    started: float  # when this run began
    last_beat: Optional[float]  # None: not one in this run
    unclean: bool  # the run before this one did not end cleanly: expect a file system check
    maintenance_until: Optional[float]  # None: no maintenance mode; infinity: until it is switched off
    dumping: bool  # HAL is writing a memory dump
    panicked: bool
    crash_kernel_until: Optional[float] = None  # until then the product's own crash kernel may save its dump


class Verdict(Enum):
    ALIVE = "alive"
    WAITING = "no heartbeat yet"  # and none is demanded yet
    EXCUSED = "excused"  # silence means nothing now
    MISSING = "heartbeats missing"
    DEAD = "heartbeats missed"  # restart the product
    UNRESPONSIVE = "QEMU does not answer"
    HUNG = "QEMU is hung"  # kill it


@dataclass(frozen=True)
class Health:
    verdict: Verdict
    missed: int = 0  # heartbeats, since they count
    why: str = ""  # for people: the excuse, if any
    look_again: Optional[float] = None  # seconds until the verdict may change with no signal changing; None: never


def judge(signals: Signals, config: HeartbeatConfig, hung_after: float) -> Health:
    """The verdict. QEMU comes before the product: while QEMU does not answer, heartbeats cannot arrive."""
    silence = signals.now - signals.answered
    excuse_ends = -math.inf if signals.maintenance_until is None else signals.maintenance_until
    # Silence counts from the last answer or from the end of an excuse, also of one that has not ended yet.
    condemned_in = math.inf if signals.dumping else hung_after - (signals.now - max(signals.answered, excuse_ends))
    if condemned_in <= 0:
        return Health(Verdict.HUNG, why=f"no answer for {silence:.0f} s")
    if silence >= QMP_DEADLINE:
        return Health(Verdict.UNRESPONSIVE, why=f"no answer for {silence:.0f} s", look_again=_finite(condemned_in))
    health = _judge_product(signals, config)
    overdue = min(QMP_DEADLINE - silence, condemned_in)
    return replace(health, look_again=overdue if health.look_again is None else min(overdue, health.look_again))


def _finite(seconds: float) -> Optional[float]:
    return None if math.isinf(seconds) else seconds


def _judge_product(signals: Signals, config: HeartbeatConfig) -> Health:
    if signals.status != "running":
        return Health(Verdict.EXCUSED, why=f"not running: {signals.status or 'unknown'}")
    if signals.panicked:
        return Health(Verdict.EXCUSED, why="panicked")
    if signals.dumping:
        return Health(Verdict.EXCUSED, why="memory dump")
    if config.transport == "none":
        return Health(Verdict.EXCUSED, why="heartbeats are switched off")
    for until, why in (
        (signals.maintenance_until, "maintenance mode"),
        (signals.crash_kernel_until, "the product saves a dump of its own"),
    ):
        if until is not None and signals.now < until:
            return Health(Verdict.EXCUSED, why=why, look_again=_finite(until - signals.now))
    return _judge_beats(signals, config)


def _judge_beats(signals: Signals, config: HeartbeatConfig) -> Health:
    if signals.last_beat is None and config.transport == "auto":
        # Nobody promised heartbeats: only a product that has sent one in this run can miss one.
        return Health(Verdict.WAITING, why="the product has not sent a heartbeat in this run")
    grace_end = _grace_end(signals, config)
    counted_from = max(
        signals.running_since,
        signals.started if signals.last_beat is None else signals.last_beat,
        signals.started if signals.maintenance_until is None else signals.maintenance_until,
        signals.started if signals.crash_kernel_until is None else signals.crash_kernel_until,
    )
    quiet = max(0.0, signals.now - counted_from)
    if signals.now < grace_end:
        if quiet < config.interval:
            return Health(Verdict.ALIVE, look_again=config.interval - quiet)
        return Health(Verdict.EXCUSED, why="boot grace", look_again=grace_end - signals.now)
    # A heartbeat is missed when it is half an interval late: the product's clock and ours are not in step.
    since = max(0.0, min(quiet, signals.now - grace_end) - config.interval / 2)
    missed = int(since // config.interval)
    next_look = config.interval - since % config.interval
    if missed >= config.missed:
        return Health(Verdict.DEAD, missed, f"{missed} heartbeats missed")
    if missed:
        return Health(Verdict.MISSING, missed, f"{missed} of {config.missed} heartbeats missed", next_look)
    return Health(Verdict.ALIVE, look_again=next_look)


def _grace_end(signals: Signals, config: HeartbeatConfig) -> float:
    """Until then the product boots. A file system check is over at the first heartbeat: the agent starts after it."""
    checks = signals.unclean and signals.last_beat is None
    return signals.started + config.boot_grace + (config.fsck_grace if checks else 0)
