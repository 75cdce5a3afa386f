"""Asking hal-vmm for a new plan, because what is in this server is not what was planned.

By a file that hal-qemu-replan.path watches, so that no resident runs a program; each has a file of its own.
"""

from __future__ import annotations

import logging
import os

from hal_core import atomic
from hal_core.patience import Patience

logger = logging.getLogger(__name__)

_PLAN = "a new plan"
_PLANNING_TAKES = 5  # times that it is asked for: 15 seconds
_LONGEST_SECONDS = 300.0  # between two times: each starts a Python, and maybe a QEMU


def path(run_dir: str, whose: str) -> str:
    """:param whose: the resident that asks, "netcfg"."""
    return os.path.join(run_dir, whose, "replan")


class Planning:
    """Asks again, each time after twice as long, until the plan is about what is there; for another reason at once.

    :param whose: the resident that asks, "netcfg".
    """

    def __init__(self, run_dir: str, whose: str) -> None:
        self._path = path(run_dir, whose)
        self._patience = Patience(_LONGEST_SECONDS)
        self._unasked = ""  # why it could not be asked for, the last time
        self.reason = ""  #: why the plan is out of date; "": it is not

    def follow(self, reason: str, may_ask: bool, now: float) -> None:
        """:param reason: why the plan is out of date now; "": it is not. :param now: monotonic seconds."""
        if reason != self.reason:
            self.reason, self._unasked = reason, ""
            self._patience.tried(_PLAN, False, now)
        if reason and may_ask and _PLAN not in self._patience.waiting(now):
            if self._patience.of(_PLAN) is None:
                logger.info("%s: asking hal-vmm for a new plan", reason)
            self._patience.tried(_PLAN, True, now)
            self._ask()

    def next_time(self, now: float) -> float:
        """Monotonic seconds at which to ask again; infinity: no need."""
        return self._patience.next_time(now)

    def problem(self) -> str:
        """It cannot be asked for, or so often has been that planning must have failed; "": neither."""
        if self._unasked:
            return self._unasked
        wait = self._patience.of(_PLAN)
        if wait and wait.failures > _PLANNING_TAKES:
            return f"{self.reason}, and hal-vmm has not planned anew: journalctl -b -u hal-qemu-plan"
        return ""

    def _ask(self) -> None:
        self._unasked = ""
        try:
            atomic.write(self._path, f"{self.reason}\n")
        except OSError as error:
            self._unasked = f"{self._path}: {error.strerror}"
