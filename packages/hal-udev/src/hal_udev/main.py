"""``hal-udev VERB …``."""

from __future__ import annotations

from hal_core import cli
from hal_core.verbs import Program

PROGRAM = Program(
    "hal-udev",
    "hal_udev.commands",
    {
        "facts": ("facts_command", "what is plugged into this server"),
        "plan": ("plan_command", "what happens to each device, and by which rule"),
        "apply": ("apply_command", "have hal.toml's rules obeyed from now on"),
        "run": ("run_command", "plug into the product what is plugged into the server (the resident)"),
        "status": ("status_command", "what the product has, what is being retried, what stays with the host, and why"),
    },
    "USB devices: whatever is plugged into the server is plugged into the product.",
    "hal-udev(1), hal.toml(5)",
    ("hal udev status", "hal udev plan --root recorded-server.tar.gz", "hal udev apply --dry-run"),
)


def run() -> int:
    """What the ``hal-udev`` program calls."""
    return cli.run("hal-udev", PROGRAM.main)
