"""Which DVD drives hal-vmm has planned for the product: ``hotplug`` in its plan."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from hal_udev.plan import planfile
from hal_udev.plan.planfile import text

_ID = re.compile("dvd[0-9]{1,4}")


@dataclass(frozen=True)
class Drive:
    """A drive of the product's, and the server's that it stands for."""

    id: str  # QEMU's, "dvd0"
    host: str  # "/dev/sr0"
    medium: Optional[Mapping[str, Any]]  # what blockdev-add takes for a disc; None: QEMU has the drive itself

    @property
    def node(self) -> str:
        return str(self.medium["node-name"]) if self.medium else ""


def read(run_dir: str) -> tuple[Drive, ...]:
    """() where nothing is planned yet since this host booted.

    :raise FileFormatError, HostError: as :func:`hal_udev.plan.planfile.read`.
    """
    return planfile.read(run_dir, parse) or ()


def parse(planned: Any) -> tuple[Drive, ...]:
    """:raise ValueError, KeyError, TypeError: that is no plan."""
    return tuple(_drive(entry) for entry in planned.get("hotplug", {}).get("drives", ()))


def _drive(entry: Mapping[str, Any]) -> Drive:
    id_, medium = text(entry["id"]), entry["medium"]
    if not _ID.fullmatch(id_):
        raise ValueError(f"{id_!r} is not a DVD drive")
    if medium is not None:
        text(medium["node-name"])
        text(medium["file"]["driver"])
    return Drive(id_, text(entry["host"]), medium)
