"""Why the product's last run ended, on disk, where it outlives this boot: ``<state>/vmm/last-exit.json``.

Beside it lies ``running`` for as long as the product runs. Found at a start, it means that the run before had no clean
end: a crash, or a power failure. The product will check its file systems.
"""

from __future__ import annotations

import json
import logging
import os
import time

from hal_core import atomic

logger = logging.getLogger(__name__)


class LastExit:
    def __init__(self, directory: str) -> None:
        """:param directory: hal-vmm's own, below the state directory."""
        self._path = os.path.join(directory, "last-exit.json")
        self._flag = os.path.join(directory, "running")

    def note(self, reason: str, outcome: str, uptime: float, detail: str) -> dict[str, object]:
        """Write down the end of a run; on the disk when this returns.

        A full or broken disk is logged and no more: it must not keep the product from running again.
        """
        noted: dict[str, object] = {
            "reason": reason,
            "outcome": outcome,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),  # for people; nothing is computed from it
            "uptime_seconds": round(uptime, 1),
            "detail": detail,
        }
        try:
            atomic.write(self._path, json.dumps(noted, indent=1) + "\n")
        except OSError as error:
            logger.error("why the run ended is not on disk: %s: %s", self._path, error.strerror)
        return noted

    def read(self) -> dict[str, object]:
        """The last one noted; {} where there is none, or it is damaged."""
        try:
            with open(self._path, encoding="utf-8") as file:
                noted = json.load(file)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            logger.warning("%s is not readable: %s", self._path, error)
            return {}
        return noted if isinstance(noted, dict) else {}

    def begin_run(self) -> bool:
        """A run begins; whether the one before had no clean end."""
        unclean = os.path.exists(self._flag)
        try:
            atomic.write(self._flag, "the product runs, or did when the power failed\n")
        except OSError as error:
            logger.error("%s: %s", self._flag, error.strerror)
        return unclean

    def end_run_cleanly(self) -> None:
        atomic.remove(self._flag)
