"""What the resident tells: each thing once in the journal, and all of it in a file for ``hal udev status``."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hal_core import atomic
from hal_udev.plan.usbplan import Planned

logger = logging.getLogger(__name__)

_BAD = ("retrying", "no place")


@dataclass(frozen=True)
class Told:
    """How it is with one device."""

    planned: Planned
    state: str  # one of STATES of `hal udev status`
    reason: str

    def to_json(self) -> dict[str, Any]:
        device, place = self.planned.device, self.planned.place
        return {
            "port": device.port,
            "path": device.path,
            "name": self.planned.name,
            "vendor_id": device.vendor_id,
            "product_id": device.product_id,
            "serial": device.serial,
            "state": self.state,
            "reason": self.reason,
            "rule": self.planned.rule,
            "place": str(place) if place else "",
        }


class Report:
    """:param path: of the status file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._states: dict[str, tuple[str, str, str]] = {}  # port → device, state, reason: what was told last
        self._notes: frozenset[str] = frozenset()
        self._problems: dict[str, str] = {}  # by what they are about: those that last
        self._written: dict[str, Any] = {}

    def problem(self, what: str, message: str) -> None:
        if self._problems.get(what) != message:
            logger.error("%s: %s", what, message)
        self._problems[what] = message

    def resolved(self, what: str) -> None:
        if self._problems.pop(what, None) is not None:
            logger.info("%s: is as it ought to be again", what)

    def write(self, told: Sequence[Told], notes: Sequence[str], product: bool) -> None:
        """Log what is new, and replace the status file where something in it has changed."""
        self._log(told, notes)
        content = {
            "pid": os.getpid(),
            "product": product,
            "devices": [one.to_json() for one in told],
            "notes": list(notes),
            "problems": [f"{what}: {message}" for what, message in sorted(self._problems.items())],
        }
        if content == self._written:
            return
        try:
            # In one line: Python indents with an encoder of its own, which is ten times slower, and a device waits.
            atomic.write(self._path, json.dumps(content) + "\n")
            self._written = content
        except OSError as error:
            logger.error("the state is not saved, hal udev status will be wrong: %s", error)

    def _log(self, told: Sequence[Told], notes: Sequence[str]) -> None:
        states = {}
        for one in told:
            port, place = one.planned.device.port, one.planned.place
            states[port] = (f"{one.planned.name} {one.planned.fdset}", one.state, one.reason)
            if self._states.get(port) == states[port] or one.state in ("attaching", "waiting", "no product"):
                continue
            where = f" at {place}" if one.state == "attached" else ""
            text = f"{port}: {one.planned.name}: {one.state}{where}{': ' if one.reason else ''}{one.reason}"
            logger.log(logging.WARNING if one.state in _BAD else logging.INFO, "%s", text)
        for port in self._states.keys() - states.keys():
            logger.info("%s: is gone", port)
        self._states = states
        for note in sorted({*notes} - self._notes):
            logger.info("%s", note)
        self._notes = frozenset(notes)
