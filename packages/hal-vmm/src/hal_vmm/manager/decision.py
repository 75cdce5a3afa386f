"""What the guest manager does next: one pure function from what it sees to one step.

Level-triggered: the same sight always gives the same step, so a manager that was restarted, or missed an event, simply
looks and goes on. Steps are safe to repeat.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Optional

from hal_vmm.manager import exitreason
from hal_vmm.manager.eventjournal import History
from hal_vmm.manager.verdict import Verdict

# Run states in which QEMU has given up on the guest (qapi/run-state.json, RunState) → HAL's reason.
_ENDED_STATUS = {
    "guest-panicked": exitreason.PANIC,
    "watchdog": exitreason.WATCHDOG,
    "internal-error": "host-error",
    "shutdown": "unknown",  # the journal, which is asked first, should have told
}


class Step(Enum):
    WAIT = "wait"
    START = "start QEMU"
    CONNECT = "connect to QEMU"
    RELEASE = "pin the vCPUs and let the guest run"
    KILL_HUNG = "kill QEMU: hung"
    KILL_SILENT = "kill QEMU: the product is dead"
    DUMP = "dump the product's memory"
    CONCLUDE = "act on the end of the run"


@dataclass(frozen=True)
class Sight:
    """What the manager sees at one moment; times are monotonic seconds."""

    now: float
    alive: bool  # QEMU's process is there
    connected: bool
    status: str  # QEMU's run state; "" if not known
    history: History  # what QEMU's event journal says
    run_known: bool  # there is, or was, a run that is not concluded
    answered_once: bool  # QEMU has answered in this run
    condemned: str  # the reason for which the manager killed QEMU in this run; "" if it did not
    dump_wanted: bool  # a panic is to be dumped, and has not been
    dumping: bool
    stopped: bool  # by `hal vmm stop`: nothing is started
    rescue: bool  # too many crashes: nothing is started
    host_is_ending: bool  # reboot or power-off of the host has been asked for: nothing is started
    start_at: float  # not before
    verdict: Verdict


def end_reason(sight: Sight) -> Optional[str]:
    """Why the run has ended; None while it has not.

    What the product asked for comes first: a product that said "reboot" and then was killed had asked for a reboot.
    """
    if not sight.run_known:
        return None
    if sight.history.panicked:
        return exitreason.PANIC
    if sight.history.end:
        return sight.history.end
    if sight.condemned:
        return sight.condemned
    if not sight.alive:
        return exitreason.DIED if sight.answered_once else exitreason.NOT_STARTED
    return _ENDED_STATUS.get(sight.status)


def next_step(sight: Sight) -> Step:
    """The one thing to do now."""
    reason = end_reason(sight)
    if reason is not None:
        return _step_at_end(sight, reason)
    if not sight.alive:
        held = sight.stopped or sight.rescue or sight.host_is_ending or sight.now < sight.start_at
        return Step.WAIT if held else Step.START
    if not sight.run_known:
        return Step.WAIT  # concluded, and QEMU has not gone yet
    if sight.verdict is Verdict.HUNG:
        return Step.KILL_HUNG
    if not sight.connected:
        return Step.CONNECT
    if sight.status == "prelaunch":
        return Step.RELEASE
    if sight.verdict is Verdict.DEAD and not sight.stopped:  # `hal vmm stop` has deadlines of its own
        return Step.KILL_SILENT
    return Step.WAIT


def _step_at_end(sight: Sight, reason: str) -> Step:
    if reason != exitreason.PANIC or not sight.alive or not sight.dump_wanted:
        return Step.CONCLUDE
    if sight.dumping:
        return Step.WAIT
    if sight.verdict is Verdict.HUNG:
        return Step.CONCLUDE  # no dump from a QEMU that does not answer
    return Step.DUMP if sight.connected else Step.CONNECT
