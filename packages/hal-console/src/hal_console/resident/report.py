"""What the resident tells ``hal console status``."""

from __future__ import annotations

import json
import logging
import os
from typing import Optional

from hal_console.resident.display import Display
from hal_console.resident.viewer import Viewer
from hal_console.statusfile import STATUS
from hal_core import atomic

logger = logging.getLogger(__name__)


class Report:
    def __init__(self, run_dir: str, terminal: str) -> None:
        self._path = STATUS.path(run_dir)
        self._terminal = terminal
        self._written = ""

    def write(self, display: Display, viewer: Optional[Viewer], showing: str) -> None:
        """Replace the status file where something in it has changed."""
        picture = viewer.picture if viewer else None
        content = (
            json.dumps(
                {
                    "pid": os.getpid(),
                    "terminal": self._terminal,
                    "display": display.name,
                    "screen": display.size,
                    "note": display.note,
                    "showing": showing,
                    "connected": viewer is not None,
                    "picture": [picture.width, picture.height] if picture and picture.width else None,
                },
                indent=1,
            )
            + "\n"
        )
        if content == self._written:
            return
        try:
            atomic.write(self._path, content)
            self._written = content
        except OSError as error:
            logger.error("the state is not saved, hal console status will be wrong: %s", error)
