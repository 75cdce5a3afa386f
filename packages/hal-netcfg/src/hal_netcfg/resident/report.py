"""What the resident tells: each thing once in the journal, and all of it in a file for ``hal netcfg status``."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Optional

from hal_core import atomic
from hal_netcfg.engine import Sight
from hal_netcfg.links.apply import Outcome
from hal_netcfg.links.wanted import HOST_LINK_GROUP

logger = logging.getLogger(__name__)

# What a problem may be about, besides the groups.
NETWORK, FIREWALL, CONFIG, PLAN = "the network", "the firewall", "hal.toml", "the plan"


class Report:
    """:param path: of the status file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._problems: dict[str, str] = {}  # by what they are about: those that last
        self._notes: frozenset[str] = frozenset()
        self._written = ""

    def seen(self, sight: Sight, groups: Collection[str]) -> None:
        """What the plan itself has to say.

        :param groups: those that there are. Nothing is wrong any more with one that there was.
        """
        for what in self._problems.keys() - {NETWORK, FIREWALL, CONFIG, PLAN, HOST_LINK_GROUP, *groups}:
            del self._problems[what]
        notes = {*sight.network.notes, *(problem.message for problem in sight.network.problems)}
        for note in sorted(notes - self._notes):
            logger.warning("%s", note)
        self._notes = frozenset(notes)

    def outcomes(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            for action in outcome.done:
                logger.info("%s: %s", outcome.group, action)
            if outcome.problem:
                self.problem(outcome.group, outcome.problem)
            else:
                self.resolved(outcome.group)

    def problem(self, what: str, message: str) -> None:
        if self._problems.get(what) != message:
            # Of hal.toml the message itself says what holds.
            stays = "" if what == CONFIG else "what was before stays, and "
            logger.error("%s: %s; %sit is tried again", what, message, stays)
        self._problems[what] = message

    def resolved(self, what: str) -> None:
        if self._problems.pop(what, None) is not None:
            logger.info("%s: is as it ought to be again", what)

    def write(self, sight: Sight, shown: Mapping[int, Optional[bool]]) -> None:
        """Replace the status file where something in it has changed."""
        content = json.dumps(self._content(sight, shown), indent=1) + "\n"
        if content == self._written:
            return
        try:
            atomic.write(self._path, content)
            self._written = content
        except OSError as error:
            logger.error("the state is not saved, hal netcfg status will be wrong: %s", error)

    def _content(self, sight: Sight, shown: Mapping[int, Optional[bool]]) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "network": sight.network.to_json(),
            "product_links": {str(number): up for number, up in sorted(shown.items())},
            "problems": [{"what": what, "message": message} for what, message in sorted(self._problems.items())],
        }
