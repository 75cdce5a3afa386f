"""Which port is which, for as long as the resident runs: read once, and written down before it matters."""

from __future__ import annotations

import contextlib
import logging
import os

from hal_core.errors import FileFormatError, HostError
from hal_udev import pins
from hal_udev.plan.ports import Pin
from hal_udev.resident.report import Report

logger = logging.getLogger(__name__)

_PORTS = "the product's ports"


class Pinned:
    """:ivar pins: the oldest first."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.pins = _read()

    def keep(self, wanted: tuple[Pin, ...]) -> None:
        """Before anything is plugged in: a port must not get another place because we were killed."""
        if wanted == self.pins:
            return
        self.pins = wanted
        try:
            pins.write(wanted)
            self._report.resolved(_PORTS)
        except OSError as error:
            self._report.problem(_PORTS, f"{pins.path()} is not written: {error.strerror}; they may change")


def _read() -> tuple[Pin, ...]:
    try:
        return pins.read()
    except FileFormatError as error:
        # Kept for whoever wants to know; the product sees its devices in other ports than before.
        with contextlib.suppress(OSError):
            os.replace(pins.path(), f"{pins.path()}.damaged")
        logger.error("%s; it is now %s.damaged", error.message, pins.path())
    except HostError as error:
        logger.error("%s: ports are assigned anew", error)
    return ()
