"""The product's NICs, as hal-vmm has planned them: /run/hal/plan.json, a contract between the packages."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any, Optional

from hal_core.errors import FileFormatError, HostError
from hal_netcfg import names
from hal_netcfg.plan.network import ProductNic

_TAP = re.compile(f"{names.LAN_TAP}([0-9]{{1,4}})")
_MAC = re.compile("(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")


@dataclass(frozen=True)
class Planned:
    """What hal-vmm has planned of this server's NICs."""

    nics: Optional[tuple[ProductNic, ...]] = None  # the product's, by number; None: nothing is planned since this boot
    others: Optional[frozenset[str]] = None  # what it knows besides, NICs by name or address; None: it does not say


def path(run_dir: str) -> str:
    return os.path.join(run_dir, "plan.json")


def read(run_dir: str) -> Planned:
    """:raise FileFormatError: the file is damaged. :raise HostError: it cannot be read."""
    file_path = path(run_dir)
    try:
        with open(file_path, encoding="utf-8") as file:
            content = json.load(file)
        return Planned(_nics(content["nics"]), _others(content))
    except FileNotFoundError:
        return Planned()
    except OSError as error:
        raise HostError(f"{file_path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{file_path}: not a plan of hal-vmm's: {error}", "hal vmm apply") from None


def refusal(run_dir: str) -> str:
    """Why QEMU cannot be handed a real NIC; "": it can. :func:`read` comes first, and tells of a damaged plan."""
    try:
        with open(path(run_dir), encoding="utf-8") as file:
            handover = json.load(file)["handover"]
        return "" if handover["way"] else str(handover["reason"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "hal-vmm's plan does not say whether QEMU can be handed a device: hal vmm apply"


def _nics(nics: Any) -> tuple[ProductNic, ...]:
    """Those without a tap (``vmm.devices.nic_backend = "unplugged"``) lead nowhere and are left out."""
    found = [ProductNic(_number(nic["tap"]), _mac(nic["mac"])) for nic in nics if nic["tap"]]
    if len({nic.number for nic in found}) < len(found):
        raise ValueError("two NICs with one tap")
    return tuple(sorted(found, key=lambda nic: nic.number))


def _others(content: Any) -> Optional[frozenset[str]]:
    """Whatever hal-vmm has held back, disks and all, is in one list."""
    if "held_back" not in content:
        return None
    held = {str(one["what"]) for one in content["held_back"]}
    return frozenset(held | {_mac(nic["mac"]) for nic in content["nics"] if not nic["tap"]})


def _number(tap: str) -> int:
    match = _TAP.fullmatch(tap)
    if not match:
        raise ValueError(f"{tap!r} is no tap of a LAN")
    return int(match[1])


def _mac(text: str) -> str:
    if not _MAC.fullmatch(text):
        raise ValueError(f"{text!r} is no MAC address")
    return text
