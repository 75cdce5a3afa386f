"""Which DVD drives hal-vmm has planned for the product: ``hotplug`` in /run/hal/plan.json, a contract."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from hal_core.errors import FileFormatError, HostError
from hal_udev.plan import product


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

    :raise FileFormatError: the file is damaged. :raise HostError: it cannot be read.
    """
    path = product.path(run_dir)
    try:
        with open(path, encoding="utf-8") as file:
            planned = json.load(file)
        return tuple(_drive(entry) for entry in planned.get("hotplug", {}).get("drives", ()))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FileFormatError(f"{path}: not a plan of hal-vmm's: {error}", "hal vmm apply") from None


def _drive(entry: Mapping[str, Any]) -> Drive:
    id_, host, medium = entry["id"], entry["host"], entry["medium"]
    texts = (id_, host) if medium is None else (id_, host, medium["node-name"], medium["file"]["driver"])
    if not all(isinstance(text, str) and text for text in texts):
        raise ValueError(f"{entry!r} is no DVD drive")
    return Drive(id_, host, medium)
