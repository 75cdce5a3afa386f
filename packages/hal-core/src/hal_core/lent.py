"""NICs that are the product's as they are, by PCI pass-through: /run/hal/netcfg/direct.json, a contract.

hal-netcfg writes it; hal-vmm's launcher hands QEMU what it names; and the facts read it, because a NIC that has been
handed over whole is no interface of the host's any more. By the number of the product's NIC::

    {"0": {"nic": "eno1", "mac": "b4:96:91:0a:11:00", "driver": "ixgbe", "mode": "vfio",
           "pci": "0000:03:00.0", "device": "0000:03:00.0"}}

``pci`` is the NIC, ``device`` what the product gets: with ``mode`` "sriov" a virtual function of it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from hal_core.errors import FileFormatError, HostError

_PCI = re.compile("[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}[.][0-7]")


@dataclass(frozen=True)
class Lent:
    """One NIC that has been handed over."""

    nic: str  # the host's name for it, "eno1"
    mac: str  # its permanent address, which the product wears
    driver: str  # its own one on the host, "ixgbe"
    mode: str  # "vfio": the NIC itself; "sriov": a virtual function of it
    pci: str  # "0000:03:00.0"
    device: str  # the PCI device that the product gets


def path(run_dir: str) -> str:
    return os.path.join(run_dir, "netcfg", "direct.json")


def parsed(text: str) -> dict[int, Lent]:
    """:raise ValueError: it is none of hal-netcfg's."""
    try:
        found = {int(number): Lent(**one) for number, one in json.loads(text).items()}
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not what hal-netcfg writes: {error}") from None
    for lent in found.values():
        for address in (lent.pci, lent.device):
            if not _PCI.fullmatch(address):
                raise ValueError(f"{address!r} is no PCI address")
    return found


def read(run_dir: str) -> dict[int, Lent]:
    """By the number of the product's NIC; empty where nothing has been handed over.

    :raise HostError: it cannot be read. :raise FileFormatError: it is damaged.
    """
    try:
        with open(path(run_dir), encoding="utf-8") as file:
            return parsed(file.read())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise HostError(f"{path(run_dir)}: {error.strerror}") from None
    except ValueError as error:
        raise FileFormatError(f"{path(run_dir)}: {error}", "systemctl restart hal-netcfg") from None


def text(lent: Mapping[int, Lent]) -> str:
    return json.dumps({str(number): vars(one) for number, one in sorted(lent.items())}, indent=1) + "\n"
