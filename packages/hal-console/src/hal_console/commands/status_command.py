"""``hal-console status``: from the resident's status file."""

from __future__ import annotations

import json
import sys
from typing import Any

from hal_console.statusfile import STATUS
from hal_core import arguments, paths
from hal_core.errors import FileFormatError

USAGE = """\
usage: hal-console status [--json]

Show what this server's screen shows now, and on what.

Exit status: 0 the product is on the screen, or would be if it ran, 3 the resident does not run.

examples:
  hal console status
  hal console status --json | jq -r .showing
"""
NOT_RUNNING = 3


def main(argv: list[str]) -> int:
    """:raise HostError: the resident has never run since this host booted."""
    given = arguments.parse("hal-console status", argv, {"--json"}, ())
    if "help" in given:
        sys.stdout.write(USAGE)
        return 0
    path = STATUS.path(paths.run_dir())
    known = STATUS.read(path)
    status = {**known, "running": STATUS.resident(known) != 0}
    if "json" in given:
        print(json.dumps(status, indent=2))
    else:
        sys.stdout.write(render(path, status))
    return 0 if status["running"] else NOT_RUNNING


def render(path: str, status: dict[str, Any]) -> str:
    """:raise FileFormatError: something is not in it."""
    try:
        picture = "x".join(map(str, status["picture"])) if status["picture"] else "none"
        rows = [
            ("resident", f"running, pid {status['pid']}" if status["running"] else "not running"),
            ("terminal", status["terminal"]),
            ("display", f"{status['display']}: {status['screen']}"),
            ("because", status["note"]),
            ("showing", status["showing"] if status["running"] else "nothing of ours"),
            ("product", "connected" if status["connected"] and status["running"] else "not connected"),
            ("picture", picture),
        ]
    except (KeyError, TypeError) as error:
        raise FileFormatError(f"{path} is damaged: no {error} in it", "systemctl restart hal-console") from None
    return "".join(f"{name:<9} {text}\n" for name, text in rows if text)
