"""What has failed is tried again, but not at once: each time after twice as long."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional

FIRST_SECONDS, LONGEST_SECONDS = 0.5, 30.0


@dataclass(frozen=True)
class Wait:
    until: float  # monotonic seconds
    pause: float  # how long this wait is, in seconds
    failures: int  # so far, in a row


class Patience:
    """By name of what is tried. Every attempt's own changes wake the loop: without a pause it would never rest.

    :param longest: seconds between two attempts, at most. :param first: seconds between the first two.
    """

    def __init__(self, longest: float = LONGEST_SECONDS, first: float = FIRST_SECONDS) -> None:
        self._longest = longest
        self._first = first
        self._waits: dict[str, Wait] = {}

    def tried(self, name: str, failed: bool, now: float) -> None:
        if not failed:
            self._waits.pop(name, None)
            return
        last = self._waits.get(name)
        pause = min(self._longest, 2 * last.pause) if last else self._first
        self._waits[name] = Wait(now + pause, pause, last.failures + 1 if last else 1)

    def of(self, name: str) -> Optional[Wait]:
        """What is known of its failures; None: it has not failed the last time."""
        return self._waits.get(name)

    def waiting(self, now: float) -> frozenset[str]:
        """What is not to be tried yet."""
        return frozenset(name for name, wait in self._waits.items() if wait.until > now)

    def next_time(self, now: float) -> float:
        """When the next of them is due; infinity: none. What was due by now has been tried, or is there no more."""
        return min((wait.until for wait in self._waits.values() if wait.until > now), default=math.inf)
