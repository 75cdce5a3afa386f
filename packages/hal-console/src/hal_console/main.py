"""``hal-console VERB …``."""

from __future__ import annotations

import sys

from hal_core import cli
from hal_core.verbs import Program

PROGRAM = Program(
    "hal-console",
    "hal_console.commands",
    {
        "plan": ("plan_command", "how this server's screen shows the product, and why not better"),
        "run": ("run_command", "be the product's screen and keyboard (the resident)"),
        "status": ("status_command", "what the screen shows now"),
        "attach": ("attach_command", "the product's screen and keyboard in this terminal, from afar"),
        "restore": ("restore_command", "give a terminal back to text and characters"),
    },
    "The product's screen and keyboard are the server's own.",
    "hal-console(1), hal.toml(5)",
    ("hal console status", "hal console --attach", "hal console attach --serial"),
)


def run() -> int:
    """What the ``hal-console`` program calls. ``--attach`` is the verb, for those who know it so."""
    if sys.argv[1:2] == ["--attach"]:
        sys.argv[1] = "attach"
    return cli.run("hal-console", PROGRAM.main)
