"""Rounds, medians and rows: how every benchmark measures.

Two machines, or one machine at two moments, are not equally fast. So all variants run in every round, each round begins
with another one, and a ratio is formed within its round. What is reported is the median of these.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Callable, Optional

IN_MEMORY = "/dev/shm"  # noqa: S108 (shm_overview(7)): what is in /run on a server is in a tmpfs here, too


class BenchError(Exception):
    """Something could not be measured; the message says what."""


@dataclass(frozen=True)
class Row:
    """One line of the result."""

    name: str
    value: Optional[float]  # the median; None: not measured, and ``note`` says why
    unit: str  # "ms", "MiB", "s"; "×" for a ratio
    goal: Optional[float] = None  # at most this
    note: str = ""

    @property
    def met(self) -> Optional[bool]:
        """None where there is no goal, or nothing to compare with it."""
        return None if self.goal is None or self.value is None else self.value <= self.goal

    def to_json(self) -> dict[str, object]:
        value = None if self.value is None else round(self.value, 4)
        return {"name": self.name, "value": value, "unit": self.unit, "goal": self.goal, "met": self.met}


class Samples:
    """What the rounds gave: variant → one figure per round, in order."""

    def __init__(self, figures: Mapping[str, Sequence[float]]) -> None:
        self._figures = figures

    def median(self, name: str, figure: str, unit: str, scale: float = 1.0, goal: Optional[float] = None) -> Row:
        """:param scale: from what was measured to ``unit``."""
        return Row(name, statistics.median(self._figures[figure]) * scale, unit, goal)

    def ratio(self, name: str, ours: str, theirs: str, goal: Optional[float] = None, note: str = "") -> Row:
        """:param note: why there is no ``theirs``, where there is none."""
        if theirs not in self._figures:
            return Row(name, None, "×", goal, note)
        pairs = zip(self._figures[ours], self._figures[theirs])
        return Row(name, statistics.median(one / other for one, other in pairs), "×", goal)


Variant = Callable[[], Mapping[str, float]]  # runs once; gives figures by name


def interleave(title: str, variants: Mapping[str, Variant], rounds: int) -> Samples:
    """Run every variant once a round; each round begins with another one.

    :return: figures named ``VARIANT FIGURE``.
    """
    figures: dict[str, list[float]] = {}
    names = list(variants)
    for number in range(rounds):
        progress(f"{title}: round {number + 1} of {rounds}")
        first = number % len(names)
        for name in names[first:] + names[:first]:
            for figure, value in variants[name]().items():
                figures.setdefault(f"{name} {figure}", []).append(value)
    return Samples(figures)


def progress(text: str) -> None:
    print(f"    … {text}", file=sys.stderr, flush=True)


def run_seconds(argv: list[str], environment: Mapping[str, str], accepted: Sequence[int] = (0,)) -> float:
    """From a program's start to its end, in seconds; its output goes nowhere.

    :raise BenchError: it ended with a status that is not accepted.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        begun = time.perf_counter()
        pid = os.posix_spawn(
            argv[0], argv, environment, file_actions=[(os.POSIX_SPAWN_DUP2, null, number) for number in range(3)]
        )
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        seconds = time.perf_counter() - begun
    finally:
        os.close(null)
    if status not in accepted:
        raise BenchError(f"{' '.join(argv)} ended with status {status}")
    return seconds


def median_of(runs: int, argv: list[str], environment: Mapping[str, str], accepted: Sequence[int] = (0,)) -> float:
    """The median of a few runs, for what takes a few milliseconds only: one round's figure."""
    return statistics.median(run_seconds(argv, environment, accepted) for _ in range(runs))
