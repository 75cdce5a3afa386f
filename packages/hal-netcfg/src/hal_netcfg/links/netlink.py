"""pyroute2's IPRoute, and as little else as it can be imported with: the product waits for that at every boot.

* The package imports every part of itself, a database among them. So it is found, but not run: what is below it does
  not need it to have been.
* What it imports for its own tests, and for processes in other namespaces, is stood in for.

An interpreter that imports this takes 51 ms with EL 10's 0.7.12, from start to end, and 31 of them are for what
hal-netcfg imports in any case. Without the stand-ins it takes 86, and the usual way 126. Tried with 0.5.14, 0.7.2,
0.7.12 and 0.9.7; a version that wants more gets all of it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections import namedtuple
from collections.abc import Iterator, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

_Uname = namedtuple("_Uname", "system node release version machine")  # as os.uname() has it

# What pyroute2 imports, and then uses nothing of but these names.
_STAND_INS: Mapping[str, Mapping[str, object]] = {
    # mock brings asyncio, and that OpenSSL.
    "unittest": {"mock": SimpleNamespace(Mock=object)},
    "multiprocessing": {"Pipe": None, "Process": None, "Queue": None},
    # The real one has uname(1) and file(1) say what machine this is.
    "platform": {
        "uname": lambda: _Uname(*os.uname()),
        "machine": lambda: os.uname().machine,
        "architecture": lambda executable="": ("64bit", "ELF"),
    },
}


def _hollow(package: str) -> None:
    """Let the package's modules be imported without the package itself.

    :raise ModuleNotFoundError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    sys.modules[package] = importlib.util.module_from_spec(spec)


@contextlib.contextmanager
def _stood_in_for() -> Iterator[None]:
    """Whoever imports one of them afterwards gets the real one."""
    absent = [name for name in _STAND_INS if name not in sys.modules]
    for name in absent:
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(_STAND_INS[name])
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def _load() -> tuple[Any, Any]:
    linux = importlib.import_module("pyroute2.iproute.linux")
    return linux.IPRoute, importlib.import_module("pyroute2.netlink.exceptions").NetlinkError


def _load_lightly() -> tuple[Any, Any]:
    if "pyroute2" in sys.modules:
        return _load()  # somebody has needed all of it
    _hollow("pyroute2")
    try:
        with _stood_in_for():
            return _load()
    except (ImportError, AttributeError, TypeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "pyroute2"]:
            del sys.modules[name]
        return _load()


IPRoute, NetlinkError = _load_lightly()
