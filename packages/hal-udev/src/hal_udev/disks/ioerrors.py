"""I/O errors of the product's disks: its disk tells the product of each one; the log is told, and not flooded. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

# A disk that fails has thousands of them within seconds.
QUIET_SECONDS = 60.0
_ID = re.compile("disk[0-9]{1,4}")


@dataclass(frozen=True)
class IoError:
    """One of QEMU's BLOCK_IO_ERROR events (qapi/block-core.json)."""

    drive: str  # "disk3"
    operation: str  # "read" or "write"
    reason: str  # "Input/output error"


def from_event(data: Mapping[str, Any]) -> Optional[IoError]:
    """None: not about a disk of hal-vmm's. A disc with scratches is the business of who reads it."""
    drive = str(data.get("node-name") or data.get("device", "")).partition("-")[0]
    if not _ID.fullmatch(drive):
        return None
    return IoError(drive, str(data.get("operation", "")), str(data.get("reason", "")))


@dataclass
class _Drive:
    count: int = 0
    untold: int = 0
    last: str = ""
    told_at: float = -math.inf  # monotonic seconds


class Ledger:
    """Counts for as long as one disk is in one slot."""

    def __init__(self) -> None:
        self._drives: dict[str, _Drive] = {}

    def note(self, error: IoError) -> bool:
        """Whether it is the first one since the log was told: the others change nothing about when it is told next."""
        drive = self._drives.setdefault(error.drive, _Drive())
        drive.count += 1
        drive.untold += 1
        drive.last = f"{error.operation}: {error.reason}"
        return drive.untold == 1

    def forget(self, drive: str) -> None:
        """Another disk, or none, is in its place."""
        self._drives.pop(drive, None)

    def clear(self) -> None:
        self._drives.clear()

    def due(self, now: float) -> dict[str, str]:
        """What to log now, by drive; :param now: monotonic seconds."""
        lines = {}
        for name, drive in self._drives.items():
            if drive.untold and drive.told_at + QUIET_SECONDS <= now:
                several = f"{drive.untold} I/O errors, the last one: {drive.last}"
                lines[name] = drive.last if drive.untold == 1 else several
                drive.untold, drive.told_at = 0, now
        return lines

    def next_time(self) -> float:
        """Monotonic seconds at which something will be due; infinity: nothing."""
        return min((one.told_at + QUIET_SECONDS for one in self._drives.values() if one.untold), default=math.inf)

    def of(self, drive: str) -> tuple[int, str]:
        """How many there were, and the last one."""
        known = self._drives.get(drive, _Drive())
        return known.count, known.last
