"""Logging for residents: lines that journald files under the right priority, and that a terminal shows plainly.

Under systemd (``JOURNAL_STREAM``, systemd.exec(5)) each line starts with its ``<N>`` priority, sd-daemon(3); journald
adds time, unit and pid itself. Elsewhere the line starts with the level in words.
"""

from __future__ import annotations

import logging
import os
import sys

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _JournalFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        priority = _PRIORITIES.get(record.levelno, 6)
        # A message of several lines would lose its priority after the first.
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines() or [""])


def setup(verbose: bool = False) -> None:
    """Send every ``logging`` message of this process to standard error, debug messages only when ``verbose``."""
    handler = logging.StreamHandler(sys.stderr)
    journal = bool(os.environ.get("JOURNAL_STREAM"))
    handler.setFormatter(
        _JournalFormatter("%(message)s") if journal else logging.Formatter("%(levelname)s: %(message)s")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
