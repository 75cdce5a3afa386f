"""hal-vmm's plan, /run/hal/plan.json, a contract: each reader takes from it what it needs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, Generic, Optional, TypeVar

from hal_core.errors import FileFormatError, HostError

Wanted = TypeVar("Wanted")


def path(run_dir: str) -> str:
    return os.path.join(run_dir, "plan.json")


def read(run_dir: str, parse: Callable[[Any], Wanted]) -> Optional[Wanted]:
    """What ``parse`` makes of the plan; None where nothing is planned yet since this host booted.

    :param parse: may raise ValueError, KeyError or TypeError: that is no plan.
    :raise FileFormatError: the file is damaged. :raise HostError: it cannot be read.
    """
    file_path = path(run_dir)
    try:
        with open(file_path, encoding="utf-8") as file:
            return parse(json.load(file))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(f"{file_path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FileFormatError(f"{file_path}: not a plan of hal-vmm's: {error}", "hal vmm apply") from None


class Reader(Generic[Wanted]):
    """The plan for somebody who looks often: it is parsed when it is another one than the last time."""

    def __init__(self, run_dir: str, parse: Callable[[Any], Wanted]) -> None:
        self._run_dir = run_dir
        self._parse = parse
        self._seen: Optional[tuple[int, int]] = None
        self._known: Optional[Wanted] = None

    def read(self) -> Optional[Wanted]:
        """As :func:`read`."""
        seen = self._look()
        if seen is None or seen != self._seen:
            self._known = read(self._run_dir, self._parse)
            self._seen = seen
        return self._known

    def _look(self) -> Optional[tuple[int, int]]:
        """What another file differs in, for hal-vmm replaces it atomically."""
        try:
            status = os.stat(path(self._run_dir))
        except OSError:
            return None  # why, is said by whoever opens it
        return status.st_ino, status.st_mtime_ns


def text(value: object) -> str:
    """:raise ValueError: it is none, or empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not a text")
    return value
