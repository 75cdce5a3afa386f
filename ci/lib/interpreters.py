"""Which CPythons are on this machine: found by name, believed only after they have started and said their version."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

OLDEST, NEWEST = 9, 20  # 3.9 is EL9's; the other end leaves room

_QUESTION = """
import ensurepip, sys, venv
if sys.implementation.name == "cpython" and sys.prefix == sys.base_prefix:
    print("%d.%d %d.%d.%d" % (sys.version_info[:2] + sys.version_info[:3]))
"""
_DEADLINE_S = 30  # for an interpreter to say its version


@dataclass(frozen=True)
class Interpreter:
    """A CPython that starts here, and can make virtual environments."""

    series: str  # "3.9"
    version: str  # "3.9.18"
    path: str


def find() -> dict[str, Interpreter]:
    """The first of every series that works, by series, the oldest first."""
    found: dict[str, Interpreter] = {}
    for path in _named():
        interpreter = ask(path)
        if interpreter:
            found.setdefault(interpreter.series, interpreter)
    for minor in range(OLDEST, NEWEST + 1):
        series = f"3.{minor}"
        for path in _candidates(series) if series not in found else ():
            interpreter = ask(path)
            if interpreter and interpreter.series == series:
                found[series] = interpreter
                break
    return {series: found[series] for series in sorted(found, key=_number) if _number(series) >= (3, OLDEST)}


def ask(path: str) -> Optional[Interpreter]:
    """What the program says that it is; None if it does not start, is no CPython, or is a virtual environment."""
    try:
        done = subprocess.run(
            [path, "-Ic", _QUESTION],
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    words = done.stdout.split()
    if done.returncode != 0 or len(words) != 2:
        return None
    series, version = words
    return Interpreter(series, version, path)


def _named() -> list[str]:
    return os.environ.get("HAL_PYTHONS", "").split()


def _candidates(series: str) -> Iterator[str]:
    """Where a series may be: on PATH, then where version managers keep what their shims stand for.

    A shim starts the version that was chosen for the directory, and refuses to start the others; they are beside it, in
    ``versions/3.9.18`` or in ``installs/python/3.9.18``, depending on the manager.
    """
    directories = list(dict.fromkeys(filter(os.path.isabs, os.environ.get("PATH", "").split(":"))))
    for directory in directories:
        path = os.path.join(directory, f"python{series}")
        if os.access(path, os.X_OK):
            yield path
    for directory in directories:
        if os.path.basename(directory) == "shims":
            for installed in ("versions", "installs/python"):
                yield from map(str, sorted(Path(directory).parent.glob(f"{installed}/{series}.*/bin/python{series}")))


def _number(series: str) -> tuple[int, ...]:
    return tuple(map(int, series.split(".")))
