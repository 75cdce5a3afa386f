"""Importing pyudev without the programs that ctypes would run to find libudev (ldconfig, gcc, ld).

Its library has had one name for ever, and a confined daemon runs no programs.
"""

from __future__ import annotations

import ctypes.util
from types import ModuleType


def load() -> ModuleType:
    """Pyudev.

    :raise ImportError: it, or libudev, is not installed.
    """
    find = ctypes.util.find_library
    ctypes.util.find_library = lambda name: {"udev": "libudev.so.1", "c": "libc.so.6"}.get(name) or find(name)
    try:
        import pyudev
    finally:
        ctypes.util.find_library = find
    module: ModuleType = pyudev
    return module
