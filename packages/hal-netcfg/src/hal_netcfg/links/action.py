"""What can be done to an interface; each says itself in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional, Union


@dataclass(frozen=True)
class Create:
    name: str
    kind: str
    lower: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.kind == "vfio":
            which = "" if self.settings["mode"] == "vfio" else "a virtual function of "
            return f"hand {which}{self.settings['nic']} ({self.settings['pci']}) to the product: {self.name}"
        return f"make {self.name} ({self.kind}{f' on {self.lower}' if self.lower else ''})"


@dataclass(frozen=True)
class Delete:
    name: str

    def __str__(self) -> str:
        return f"remove {self.name}"


@dataclass(frozen=True)
class Change:
    """Attributes of an interface, in as few requests as the kernel knows for them; None: as it is."""

    name: str
    mac: Optional[str] = None
    mtu: Optional[int] = None
    master: Optional[str] = None
    up: Optional[bool] = None
    noarp: Optional[bool] = None
    allmulti: Optional[bool] = None
    queued: Optional[bool] = None
    learning: Optional[bool] = None  # after it has got its master
    kind: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        words = [
            f"address {self.mac}" if self.mac else "",
            f"MTU {self.mtu}" if self.mtu else "",
            "" if self.master is None else f"into {self.master}" if self.master else "out of its bridge or bond",
            "" if self.up is None else "up" if self.up else "down",
            "" if self.noarp is None else "no ARP" if self.noarp else "ARP",
            "" if self.allmulti is None else "all multicast" if self.allmulti else "multicast as asked for",
            "" if self.queued is None else "a queue" if self.queued else "no queue",
            "" if self.learning is None else "learning" if self.learning else "no learning",
            *(f"{key} {value}" for key, value in self.settings.items()),
        ]
        return f"{self.name}: {', '.join(word for word in words if word)}"


@dataclass(frozen=True)
class Ipv6:
    name: str
    on: bool

    def __str__(self) -> str:
        return f"{self.name}: IPv6 {'on' if self.on else 'off'}"


@dataclass(frozen=True)
class Address:
    name: str
    address: str  # "169.254.72.1/30"
    present: bool

    def __str__(self) -> str:
        return f"{self.name}: {'has' if self.present else 'has no'} address {self.address}"


Action = Union[Create, Delete, Change, Ipv6, Address]


@dataclass(frozen=True)
class Step:
    """One action, and what takes it back."""

    action: Action
    undo: tuple[Action, ...]
