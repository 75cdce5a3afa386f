"""What hal-vmm has planned for the product, as far as USB is concerned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hal_udev.plan import planfile
from hal_udev.plan.planfile import text
from hal_udev.plan.ports import Bus


@dataclass(frozen=True)
class Product:
    buses: tuple[Bus, ...]
    com_ports: frozenset[str] = frozenset()  # the host's, "/dev/ttyUSB0"


#: What a product of the era modern has: for a plan of a server that runs no HAL.
USUAL = Product((Bus("xhci.0", 15), Bus("xhci2.0", 15), Bus("xhci3.0", 15)))
NOTHING = Product(())


def read(run_dir: str) -> Product:
    """:data:`NOTHING` where nothing is planned yet since this host booted.

    :raise FileFormatError, HostError: as :func:`hal_udev.plan.planfile.read`.
    """
    return planfile.read(run_dir, parse) or NOTHING


def parse(planned: Any) -> Product:
    """:raise ValueError, KeyError, TypeError: that is no plan."""
    buses = tuple(Bus(text(bus["bus"]), _count(bus["ports"])) for bus in planned["usb_buses"])
    return Product(buses, frozenset(text(port["host"]) for port in planned["serial"]))


def _count(value: object) -> int:
    if type(value) is not int or not 1 <= value <= 255:
        raise ValueError(f"{value!r} is not a number of ports")
    return value
