"""pyroute2's IPRoute, and nothing else of pyroute2.

The package imports every part of itself, a database among them: with Debian 12's it takes 390 ms, against 150 ms for
what is used here, and the product waits for that at every boot. So the package is found, but not run. What is below it
does not need it to have been; tried with 0.5.14, 0.7.2 and 0.9.7.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any


def _hollow(package: str) -> None:
    """Let the package's modules be imported without the package itself.

    :raise ModuleNotFoundError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    sys.modules[package] = importlib.util.module_from_spec(spec)


if "pyroute2" not in sys.modules:
    _hollow("pyroute2")

from pyroute2.iproute.linux import IPRoute as _IPRoute  # noqa: E402
from pyroute2.netlink.exceptions import NetlinkError  # noqa: E402

IPRoute: Any = _IPRoute

__all__ = ["IPRoute", "NetlinkError"]
