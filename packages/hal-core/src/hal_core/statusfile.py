"""A resident's status file, /run/hal/NAME/status.json: where it is, and whether who wrote it still runs."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from hal_core.errors import FileFormatError, HostError


@dataclass(frozen=True)
class StatusFile:
    """That of ``hal-NAME run``.

    :ivar name: "netcfg"
    """

    name: str

    def path(self, run_dir: str) -> str:
        return os.path.join(run_dir, self.name, "status.json")

    def read(self, file_path: str) -> dict[str, Any]:
        """:raise HostError: there is none, or it cannot be read. :raise FileFormatError: it is damaged."""
        try:
            with open(file_path, encoding="utf-8") as file:
                known = json.load(file)
        except FileNotFoundError:
            message = f"{file_path}: not there: hal-{self.name} has not run since this host booted"
            raise HostError(message, f"systemctl start hal-{self.name}") from None
        except OSError as error:
            raise HostError(f"{file_path}: cannot be read: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise self.damaged(file_path, error) from None
        if not isinstance(known, dict) or type(known.get("pid")) is not int:
            raise self.damaged(file_path, "no pid in it")
        return known

    def damaged(self, file_path: str, reason: object) -> FileFormatError:
        return FileFormatError(f"{file_path} is damaged: {reason}", f"systemctl restart hal-{self.name}")

    def resident(self, known: dict[str, Any]) -> int:
        """The resident's process id; 0: it has ended, whoever has its number now."""
        pid: int = known["pid"]
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            return 0
        return pid if b"run" in words and any(self.name.encode() in word for word in words) else 0
