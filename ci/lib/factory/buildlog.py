"""Finds the lines of a build's log that say why it failed: pure."""

from __future__ import annotations

import re

# rpm, dnf, pytest, Python, compilers and checkmodule say it in these words.
_TELLING = re.compile(
    r"""^error:|^Error:|^\s*Problem|^\s+- |error:|ERROR|^E\s+|FAILED|^\w*(Error|Exception|Failure)\b
    |Bad\ exit\ status|not\ found|No\ matching|nothing\ provides|No\ such\ file|Unable\ to|^\s+/\S+$
    |neverallow|conflicts\ with""",
    re.VERBOSE,
)
_LIMIT = 20  # lines: what fits on a screen together with the rest


def relevant(log: str) -> list[str]:
    """The last lines of a log that tell what went wrong; its very last lines, when none says so.

    rpm's own "+ command" lines are left out, and what is said again and again is shown where it is said last.
    """
    lines = [line.rstrip() for line in log.splitlines() if line.strip() and not line.startswith("+ ")]
    last_place = {line: number for number, line in enumerate(lines)}
    telling = [line for number, line in enumerate(lines) if _TELLING.search(line) and last_place[line] == number]
    return (telling or lines)[-_LIMIT:]
