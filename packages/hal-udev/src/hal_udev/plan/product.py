"""What hal-vmm has planned for the product, as far as USB is concerned: /run/hal/plan.json, a contract."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from hal_core.errors import FileFormatError, HostError
from hal_udev.plan.ports import Bus


@dataclass(frozen=True)
class Product:
    buses: tuple[Bus, ...]
    com_ports: frozenset[str] = frozenset()  # the host's, "/dev/ttyUSB0"


#: What a product of the era modern has: for a plan of a server that runs no HAL.
USUAL = Product((Bus("xhci.0", 15), Bus("xhci2.0", 15), Bus("xhci3.0", 15)))
NOTHING = Product(())


def path(run_dir: str) -> str:
    return os.path.join(run_dir, "plan.json")


def read(run_dir: str) -> Product:
    """:data:`NOTHING` where nothing is planned yet since this host booted.

    :raise FileFormatError: the file is damaged. :raise HostError: it cannot be read.
    """
    file_path = path(run_dir)
    try:
        with open(file_path, encoding="utf-8") as file:
            planned = json.load(file)
        buses = tuple(Bus(_text(bus["bus"]), _count(bus["ports"])) for bus in planned["usb_buses"])
        return Product(buses, frozenset(_text(port["host"]) for port in planned["serial"]))
    except FileNotFoundError:
        return NOTHING
    except OSError as error:
        raise HostError(f"{file_path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{file_path}: not a plan of hal-vmm's: {error}", "hal vmm apply") from None


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not a text")
    return value


def _count(value: object) -> int:
    if type(value) is not int or not 1 <= value <= 255:
        raise ValueError(f"{value!r} is not a number of ports")
    return value
