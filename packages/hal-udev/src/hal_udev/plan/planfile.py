"""hal-vmm's plan, /run/hal/plan.json, a contract: each reader takes from it what it needs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, Optional, TypeVar

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


def text(value: object) -> str:
    """:raise ValueError: it is none, or empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not a text")
    return value
