"""Why the product's run ended → what HAL does. Decided by reason, never by exit status, which is 0 for all of them.

The reasons are QEMU's (qapi/run-state.json, ShutdownCause) and a few of HAL's own.
"""

from __future__ import annotations

from enum import Enum

# HAL's own reasons, beside QEMU's.
DIED = "qemu-died"  # the process is gone and left no reason: killed, aborted, out of memory
NOT_STARTED = "not-started"  # the launcher or QEMU gave up before the product ran
HUNG = "qemu-hung"  # QEMU no longer answered and was killed
SILENT = "heartbeats-missed"
PANIC = "guest-panic"
WATCHDOG = "watchdog"
STOPPED = "stopped"  # by `hal vmm stop`


class Outcome(Enum):
    """What follows."""

    HOST_REBOOT = "host reboots"
    HOST_POWEROFF = "host powers off"
    DUMP_AND_RESTART = "memory dump, then restart"
    RESTART = "restart"  # somebody asked for it: not a crash
    CRASH_RESTART = "restart, counted as a crash"
    STAY_STOPPED = "stays stopped"


_OUTCOMES = {
    "guest-reset": Outcome.HOST_REBOOT,
    "guest-shutdown": Outcome.HOST_POWEROFF,
    "guest-panic": Outcome.DUMP_AND_RESTART,
    "host-qmp-system-reset": Outcome.RESTART,  # hal vmm reset
    "host-qmp-quit": Outcome.CRASH_RESTART,  # somebody at the monitor; on purpose is STOPPED
    "host-signal": Outcome.CRASH_RESTART,
    "host-ui": Outcome.CRASH_RESTART,
    "host-error": Outcome.CRASH_RESTART,
    WATCHDOG: Outcome.CRASH_RESTART,
    DIED: Outcome.CRASH_RESTART,
    NOT_STARTED: Outcome.CRASH_RESTART,
    HUNG: Outcome.CRASH_RESTART,
    SILENT: Outcome.CRASH_RESTART,
    STOPPED: Outcome.STAY_STOPPED,
}


def outcome(reason: str, stop_wanted: bool = False) -> Outcome:
    """What HAL does about an ended run.

    A reason that this version does not know is treated as a crash: the product runs again, and crashes are counted, so
    it cannot become a loop. Neither reboot nor power-off of a server is ever done on a guess. Causes that QEMU
    keeps to itself ("none", "snapshot-load", and "subsystem-reset", a partial reset) are such unknown ones.

    :param stop_wanted: `hal vmm stop` was called: the product ends, the host goes on.
    """
    if stop_wanted:
        return Outcome.STAY_STOPPED
    return _OUTCOMES.get(reason, Outcome.CRASH_RESTART)


def is_clean(reason: str) -> bool:
    """Whether the product had the chance to unmount its file systems."""
    return outcome(reason) in (Outcome.HOST_REBOOT, Outcome.HOST_POWEROFF, Outcome.STAY_STOPPED)
