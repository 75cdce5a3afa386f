"""Taking steps: a group at a time, whole or not at all; one that fails does not stop the others."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from hal_core.errors import HostError
from hal_netcfg.links import difference
from hal_netcfg.links.action import Action, Step
from hal_netcfg.links.difference import Postponed
from hal_netcfg.links.link import Group, Link

logger = logging.getLogger(__name__)


class Performer(Protocol):
    """What can perform actions: :class:`hal_netcfg.links.kernel.Kernel`, or a test's."""

    def perform(self, action: Action) -> None:
        """:raise HostError: it cannot be done."""


@dataclass(frozen=True)
class Outcome:
    group: str
    done: tuple[Action, ...] = ()
    problem: str = ""  # why it is not as it ought to be; then everything was taken back
    postponed: bool = False


def apply(groups: Iterable[Group], links: Mapping[str, Link], kernel: Performer) -> tuple[Outcome, ...]:
    """Bring every group to what is wanted.

    :param links: as they are at this moment.
    """
    outcomes = []
    for group in groups:
        try:
            steps, after = difference.steps(group, links)
        except Postponed as reason:
            outcomes.append(Outcome(group.name, problem=str(reason), postponed=True))
            continue
        outcome = _take(group.name, steps, kernel)
        outcomes.append(outcome)
        if not outcome.problem:
            links = after  # a NIC may go from one LAN to another
    return tuple(outcomes)


def _take(group: str, steps: Iterable[Step], kernel: Performer) -> Outcome:
    taken: list[Step] = []
    for step in steps:
        taken.append(step)
        try:
            kernel.perform(step.action)
        except HostError as error:
            _take_back(group, taken, kernel)
            return Outcome(group, problem=str(error))
    return Outcome(group, tuple(step.action for step in taken))


def _take_back(group: str, taken: list[Step], kernel: Performer) -> None:
    """Undo what was done, the step that failed included: the kernel may have done half of it."""
    for step in reversed(taken):
        for action in step.undo:
            try:
                kernel.perform(action)
            except HostError as error:
                # Whatever stopped the way there may stop the way back: the loop looks again, and sees what is left.
                logger.debug("%s: taking back: %s", group, error)
