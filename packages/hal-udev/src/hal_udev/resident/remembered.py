"""Which of what looks like a keyboard is a token: written down before it goes to the product, for the next resident."""

from __future__ import annotations

from hal_core import tokens
from hal_core.tokens import Token
from hal_udev.resident.report import Report

_TOKENS = "the tokens"


class Remembered:
    def __init__(self, report: Report, run_dir: str) -> None:
        self._report = report
        self._run_dir = run_dir
        self._written = tokens.read(run_dir)

    def keep(self, wanted: frozenset[Token]) -> None:
        """These are plugged in."""
        if wanted == self._written:
            return
        try:
            tokens.write(self._run_dir, wanted)
        except OSError as error:
            path = tokens.path(self._run_dir)
            message = f"{path} is not written: {error.strerror}; a restart of hal-udev takes them away for a moment"
            self._report.problem(_TOKENS, message)
            return
        self._written = wanted
        self._report.resolved(_TOKENS)
