"""Asking hal-vmm for a new plan: by a file that hal-udev-replan.path watches, so that this daemon runs no program."""

from __future__ import annotations

import os

from hal_core import atomic
from hal_core.errors import HostError


def path(run_dir: str) -> str:
    return os.path.join(run_dir, "udev", "replan")


def ask(run_dir: str, reason: str) -> None:
    """:raise HostError: it cannot be written."""
    try:
        atomic.write(path(run_dir), f"{reason}\n")
    except OSError as error:
        raise HostError(f"{path(run_dir)}: {error.strerror}") from None
