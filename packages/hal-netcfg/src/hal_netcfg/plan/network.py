"""What a network plan is: plain values."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from hal_netcfg import names


@dataclass(frozen=True)
class ProductNic:
    """A NIC of the product, as hal-vmm has planned it."""

    number: int  # its slot, and the number of its tap
    mac: str  # the permanent address of the physical NIC that it stands for


@dataclass(frozen=True)
class Port:
    """A physical NIC that is handed to the product."""

    name: str  # the host's name for it, "eno1"
    mac: str  # its permanent address, which the product wears
    host_mac: str  # what the NIC wears instead
    bus_path: str = ""  # its PCI address, "0000:01:00.0"; told, as the driver, where it is to be handed over
    driver: str = ""


@dataclass(frozen=True)
class Bond:
    """Several NICs as one (Linux, Documentation/networking/bonding.rst)."""

    mode: str  # "802.3ad"
    lacp_rate: str  # "slow", "fast"
    miimon: int  # ms
    arp_interval: int  # ms
    arp_targets: tuple[str, ...]


@dataclass(frozen=True)
class Lan:
    """What one NIC of the product leads to."""

    number: int
    mac: str  # the product's
    mode: str  # "bridge", "macvtap", "sriov", "vfio"
    ports: tuple[Port, ...]  # none: the product's NIC has no link
    bond: Optional[Bond] = None
    mtu: int = 0  # bytes; 0: as the NIC has it

    @property
    def bridge(self) -> str:
        return f"{names.LAN_BRIDGE}{self.number}"

    @property
    def tap(self) -> str:
        return f"{names.LAN_TAP}{self.number}"

    @property
    def direct(self) -> str:
        """What stands for the NIC, or the virtual function, that the product has as a PCI device."""
        return f"{names.DIRECT}{self.number}"

    @property
    def port(self) -> str:
        """The interface whose carrier the product sees: the NIC or the bond; "" where there is none."""
        if self.bond:
            return f"{names.BOND}{self.number}"
        return self.ports[0].name if self.ports else ""


@dataclass(frozen=True)
class HostLink:
    """The private link between host and product."""

    network: str = "169.254.72.0/30"

    @property
    def host(self) -> str:
        return str(ipaddress.IPv4Network(self.network)[1])

    @property
    def product(self) -> str:
        return str(ipaddress.IPv4Network(self.network)[2])


@dataclass(frozen=True)
class Kept:
    """A NIC that stays the host's."""

    name: str
    reason: str


@dataclass(frozen=True)
class Problem:
    """Why a LAN cannot be as it is configured; it is left as it is."""

    number: Optional[int]  # the LAN; None: it is not about one LAN
    message: str


@dataclass(frozen=True)
class Network:
    lans: tuple[Lan, ...]
    link: HostLink
    kept: tuple[Kept, ...] = ()
    unplanned: tuple[str, ...] = ()  # NICs that hal-vmm has not seen yet: neither the product's nor the host's
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    down_with_product: bool = False
    #: LANs with a problem: nothing of theirs is changed.
    untouched: frozenset[int] = field(default=frozenset())
    #: False: which NIC is which of the product's is not known; then no LAN is made, and none taken away.
    planned: bool = True

    def to_json(self) -> Mapping[str, Any]:
        return {
            "lans": [
                {
                    "number": lan.number,
                    "mac": lan.mac,
                    "mode": lan.mode,
                    "nics": [vars(port) for port in lan.ports],
                    "bridge": lan.bridge if lan.mode == "bridge" else "",
                    "tap": lan.tap,
                    "bond": None if lan.bond is None else {**vars(lan.bond), "arp_targets": list(lan.bond.arp_targets)},
                    "mtu": lan.mtu,
                }
                for lan in self.lans
            ],
            "link": {"network": self.link.network, "host": self.link.host, "product": self.link.product},
            "kept": [vars(kept) for kept in self.kept],
            "unplanned": list(self.unplanned),
            "problems": [vars(problem) for problem in self.problems],
            "notes": list(self.notes),
        }
