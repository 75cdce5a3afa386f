"""Which disks hal-vmm has planned for the product, each in its slot: ``hotplug`` in its plan."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from hal_udev.plan import planfile
from hal_udev.plan.planfile import text

_ID = re.compile("disk[0-9]{1,4}")


@dataclass(frozen=True)
class Bay:
    """A slot of the product's, and the disk that is planned for it."""

    id: str  # QEMU's, "disk3": 3 is the slot
    host: str  # "/dev/sdb"
    identity: str  # of the disk
    read_only: bool
    blockdev: Mapping[str, Any]  # what QMP's blockdev-add takes, but for the file's name
    device: Optional[Mapping[str, Any]]  # what device_add takes; None: only while the product is off


@dataclass(frozen=True)
class Bays:
    bays: tuple[Bay, ...] = ()
    held: frozenset[str] = frozenset()  # "/dev/sdc": planned not to be the product's
    hot_swap: bool = False  # disks can be exchanged while the product runs


def read(run_dir: str) -> Optional[Bays]:
    """None where nothing is planned yet since this host booted, or by a hal-vmm that is older than this.

    :raise FileFormatError, HostError: as :func:`hal_udev.plan.planfile.read`.
    """
    return planfile.read(run_dir, parse)


def parse(planned: Any) -> Optional[Bays]:
    """:raise ValueError, KeyError, TypeError: that is no plan."""
    known = planned.get("hotplug")
    if known is None:
        return None
    found = tuple(_bay(entry) for entry in known["disks"])
    if len({bay.id for bay in found}) != len(found):
        raise ValueError("the same slot twice")
    return Bays(found, frozenset(text(held["what"]) for held in planned["held_back"]), known["hot_swap"] is True)


def _bay(entry: Mapping[str, Any]) -> Bay:
    blockdev, device = entry["blockdev"], entry["device"]
    text(blockdev["node-name"])
    text(blockdev["file"]["driver"])
    if device is not None:
        text(device["driver"])
    id_ = text(entry["id"])
    if not _ID.fullmatch(id_):
        raise ValueError(f"{id_!r} is not a slot")
    return Bay(id_, text(entry["host"]), text(entry["identity"]), entry["read_only"] is True, blockdev, device)
