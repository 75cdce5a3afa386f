"""The resident's status file, /run/hal/console/status.json: where it is, and whether who wrote it still runs."""

from __future__ import annotations

import json
import os
from typing import Any

from hal_core.errors import FileFormatError, HostError


def path(run_dir: str) -> str:
    return os.path.join(run_dir, "console", "status.json")


def read(file_path: str) -> dict[str, Any]:
    """:raise HostError: there is none, or it cannot be read. :raise FileFormatError: it is damaged."""
    try:
        with open(file_path, encoding="utf-8") as file:
            known = json.load(file)
    except FileNotFoundError:
        message = f"{file_path}: not there: hal-console has not run since this host booted"
        raise HostError(message, "systemctl start hal-console") from None
    except OSError as error:
        raise HostError(f"{file_path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise _damaged(file_path, str(error)) from None
    if not isinstance(known, dict) or type(known.get("pid")) is not int:
        raise _damaged(file_path, "no pid in it")
    return known


def _damaged(file_path: str, reason: str) -> FileFormatError:
    return FileFormatError(f"{file_path} is damaged: {reason}", "systemctl restart hal-console")


def resident(known: dict[str, Any]) -> int:
    """The resident's process id; 0: it has ended, whoever has its number now."""
    pid: int = known["pid"]
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return 0
    return pid if b"run" in words and any(b"console" in word for word in words) else 0
