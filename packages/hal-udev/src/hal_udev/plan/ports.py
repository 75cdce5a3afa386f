"""Which port of the product's a port of the server's is: always the same one. Pure.

The product remembers where something was plugged in: its drivers' settings, its names for serial adapters (by-path).
So every port of the server's that has ever been used is *pinned* to one of the product's, across restarts and reboots:

1. A port that is pinned keeps its place.
2. Another one gets the first place that nobody has.
3. If there is none, it gets the place of the one that was pinned first, of those into which nothing is plugged now.
4. If there is none either, the product has no port left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bus:
    """One USB controller of the product's, by QEMU's name."""

    name: str  # "xhci.0"
    ports: int  # numbered from 1


@dataclass(frozen=True)
class Place:
    """One port of the product's."""

    bus: str
    port: int

    def __str__(self) -> str:
        return f"{self.bus} port {self.port}"


@dataclass(frozen=True)
class Pin:
    path: str  # the server's port, as :attr:`hal_core.machine.UsbDevice.path` has it
    place: Place


@dataclass(frozen=True)
class Assignment:
    places: Mapping[str, Place]  # by path
    pins: tuple[Pin, ...]  # to be kept: the oldest first
    without: tuple[str, ...]  # paths for which there is no place


def assign(paths: Iterable[str], pins: Sequence[Pin], buses: Sequence[Bus]) -> Assignment:
    """A place for each path; see the module for the rules.

    :param paths: the ports into which something is plugged that the product is to have.
    :param pins: from the last time; those on buses that the product does not have (any more) are kept and not used.
    """
    wanted = tuple(dict.fromkeys(paths))
    all_places = [Place(bus.name, port) for bus in buses for port in range(1, bus.ports + 1)]
    there, asked = set(all_places), set(wanted)
    kept = {pin.path: pin for pin in pins}
    taken = {pin.place for pin in pins}
    places = {path: kept[path].place for path in wanted if path in kept and kept[path].place in there}
    free = iter([place for place in all_places if place not in taken])
    unused = iter([pin for pin in pins if pin.path not in asked and pin.place in there])
    without = []
    for path in wanted:
        if path in places:
            continue
        place = next(free, None)
        if place is None:
            oldest = next(unused, None)
            if oldest is None:
                without.append(path)
                continue
            del kept[oldest.path]
            place = oldest.place
        kept.pop(path, None)
        kept[path] = Pin(path, place)
        places[path] = place
    return Assignment(places, tuple(kept.values()), tuple(without))
