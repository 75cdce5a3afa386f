"""Which disks hal-vmm has planned for the product, each in its slot: ``hotplug`` in /run/hal/plan.json, a contract."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from hal_core.errors import FileFormatError, HostError
from hal_udev.plan import product


@dataclass(frozen=True)
class Bay:
    """A slot of the product's, and the disk that is planned for it."""

    id: str  # QEMU's, "disk3": 3 is the slot
    host: str  # "/dev/sdb"
    identity: str  # of the disk
    read_only: bool
    blockdev: Mapping[str, Any]  # what QMP's blockdev-add takes, but for the file's name
    device: Optional[Mapping[str, Any]]  # what device_add takes; None: only while the product is off

    @property
    def node(self) -> str:
        return str(self.blockdev["node-name"])


@dataclass(frozen=True)
class Bays:
    bays: tuple[Bay, ...] = ()
    held: frozenset[str] = frozenset()  # "/dev/sdc": planned not to be the product's
    hot_swap: bool = False  # disks can be exchanged while the product runs


def read(run_dir: str) -> Optional[Bays]:
    """None where nothing is planned yet since this host booted, or by a hal-vmm that is older than this.

    :raise FileFormatError: the file is damaged. :raise HostError: it cannot be read.
    """
    path = product.path(run_dir)
    try:
        with open(path, encoding="utf-8") as file:
            return parse(json.load(file))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{path}: not a plan of hal-vmm's: {error}", "hal vmm apply") from None


def parse(planned: Any) -> Optional[Bays]:
    """:raise ValueError, KeyError, TypeError: that is no plan."""
    known = planned.get("hotplug")
    if known is None:
        return None
    found = tuple(_bay(entry) for entry in known["disks"])
    if len({bay.id for bay in found}) != len(found):
        raise ValueError("the same slot twice")
    return Bays(found, frozenset(_text(held, "what") for held in planned["held_back"]), known["hot_swap"] is True)


def _bay(entry: Mapping[str, Any]) -> Bay:
    blockdev, device = entry["blockdev"], entry["device"]
    _text(blockdev, "node-name")
    _text(blockdev["file"], "driver")
    if device is not None:
        _text(device, "driver")
    return Bay(
        _text(entry, "id"), _text(entry, "host"), _text(entry, "identity"), entry["read_only"] is True, blockdev, device
    )


def _text(value: Mapping[str, Any], key: str) -> str:
    text = value[key]
    if not isinstance(text, str) or not text:
        raise ValueError(f"{key} {text!r} is not a text")
    return text
