"""Which port of the server's is which of the product's: /var/lib/hal/udev/ports.json, so that it stays so."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from hal_core import atomic, paths
from hal_core.errors import FileFormatError, HostError
from hal_udev.plan.ports import Pin, Place

VERSION = 1
_REPAIR = "remove it: ports are then assigned anew"


def path() -> str:
    return os.path.join(paths.state_dir(), "udev", "ports.json")


def read() -> tuple[Pin, ...]:
    """The oldest first; () before the first time.

    :raise FileFormatError: the file is damaged. :raise HostError: it cannot be read.
    """
    file_path = path()
    try:
        with open(file_path, encoding="utf-8") as file:
            return parse(json.load(file))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise HostError(f"{file_path}: {error.strerror}", "run as root") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{file_path} is damaged: {error}", _REPAIR) from None


def parse(known: Any) -> tuple[Pin, ...]:
    """:raise ValueError, KeyError, TypeError: that is no such file."""
    if known["version"] != VERSION:
        raise ValueError(f"version {known['version']!r} is not known here, only {VERSION}")
    found = tuple(_pin(entry) for entry in known["ports"])
    if len({pin.path for pin in found}) != len(found) or len({pin.place for pin in found}) != len(found):
        raise ValueError("the same port twice")
    return found


def render(pins: Sequence[Pin]) -> str:
    entries = [{"path": pin.path, "bus": pin.place.bus, "port": pin.place.port} for pin in pins]
    return json.dumps({"version": VERSION, "ports": entries}, indent=1) + "\n"


def write(pins: Sequence[Pin]) -> None:
    """:raise OSError: it cannot be written."""
    os.makedirs(os.path.dirname(path()), mode=0o755, exist_ok=True)
    atomic.write(path(), render(pins))


def _pin(entry: Any) -> Pin:
    texts, port = (entry["path"], entry["bus"]), entry["port"]
    if not all(isinstance(text, str) and text for text in texts) or type(port) is not int or port < 1:
        raise ValueError(f"{entry!r} is no port")
    return Pin(texts[0], Place(texts[1], port))
