"""An interface: as it is, and as it ought to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional


@dataclass(frozen=True)
class Link:
    """One interface of the host, as the kernel has it (rtnetlink(7))."""

    name: str
    index: int
    kind: str = ""  # "bridge", "bond", "tun", "macvtap", …; "" for a NIC; "vfio": see hal_netcfg.links.direct
    mac: str = ""
    permanent: str = ""  # the address that it was made with; "" if unknown
    mtu: int = 1500  # bytes
    max_mtu: int = 0  # the largest that its driver takes; 0: unknown
    master: str = ""  # the bridge or bond that it is a port of
    lower: str = ""  # what a macvtap or a VLAN sits on
    up: bool = False  # administratively
    carrier: bool = False
    noarp: bool = False
    allmulti: bool = False  # takes frames to every group address
    queued: bool = True  # a tap's frames wait in the kernel's queue before they come to its own; True for all others
    learning: bool = True  # its bridge remembers whose frames come from it; True, too, where it is in none
    ipv6: bool = False  # speaks it: an interface that does has an address of its own, and tells the LAN
    addresses: tuple[str, ...] = ()  # IPv4 and IPv6, "169.254.72.1/30"
    settings: Mapping[str, object] = field(default_factory=dict)  # of a bridge, bond, macvtap: as in Wanted


@dataclass(frozen=True)
class Wanted:
    """What an interface ought to be; None: whatever it is.

    A NIC (``kind`` "") is never made or removed.
    """

    name: str
    kind: str = ""
    mac: Optional[str] = None
    mtu: Optional[int] = None
    master: Optional[str] = None  # "": in none
    lower: str = ""
    up: Optional[bool] = None
    noarp: Optional[bool] = None
    allmulti: Optional[bool] = None
    queued: Optional[bool] = None
    learning: Optional[bool] = None
    ipv6: Optional[bool] = None
    addresses: Optional[tuple[str, ...]] = None
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """Interfaces that change together or not at all: those of a LAN, those of the private link."""

    name: str  # "LAN 0"
    wanted: tuple[Wanted, ...]  # in the order in which they are made
    unwanted: tuple[str, ...] = ()  # removed
