"""What the product does not get, and why. No row of a plan is ever left out silently."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class HeldBack:
    """Something that this server has and the product will not see, or a place that is kept for something missing."""

    what: str  # "/dev/sdb", "cpu 8-15", "eno3"
    reason: str  # "HAL's own device", "hyper-threads"

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


def ranges(numbers: Iterable[int]) -> str:
    """``0-3,8,10-11`` for 0, 1, 2, 3, 8, 10, 11: the kernel's own way to write a list of CPUs."""
    parts: list[str] = []
    first = last = None
    for number in sorted(set(numbers)):
        if first is None or last is None:
            first = number
        elif number != last + 1:
            parts.append(_range(first, last))
            first = number
        last = number
    if first is not None and last is not None:
        parts.append(_range(first, last))
    return ",".join(parts)


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
