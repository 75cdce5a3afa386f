"""``hal-console plan``: which back-end this server has for the product's screen. Changes nothing."""

from __future__ import annotations

import dataclasses
import json
import sys

from hal_console.config import ConsoleConfig
from hal_console.plan import Plan, plan
from hal_core import arguments, config

USAGE = """\
usage: hal-console plan [--json]

Show how this server's screen shows the product: on the kernel's framebuffer, text and graphics; or, where there is
none, its text alone, and why. Nothing is changed.

options:
  --json  as JSON

examples:
  hal console plan
  hal console plan --json | jq .display
"""


def main(argv: list[str]) -> int:
    """:raise ConfigError: hal.toml is wrong."""
    given = arguments.parse("hal-console plan", argv, {"--json"}, ())
    if "help" in given:
        sys.stdout.write(USAGE)
        return 0
    settings = config.load(ConsoleConfig, "console")
    planned = plan(settings)
    if "json" in given:
        print(json.dumps({**dataclasses.asdict(planned), "escape": settings.escape, "beep": settings.beep}, indent=2))
    else:
        sys.stdout.write(render(planned, settings))
    return 0


def render(planned: Plan, settings: ConsoleConfig) -> str:
    lines = [f"display   {planned.display}: {planned.screen or 'the text of the product alone'}"]
    if planned.note:
        lines.append(f"because   {planned.note}")
    lines.append("keyboard  every one that this server's kernel has; keys by their place, the layout is the product's")
    to = "Ctrl+Alt+Shift+F2 to F12 lead to this server's terminals" if settings.escape else "none (console.escape)"
    lines.append(f"escape    {to}")
    lines.append(f"beep      {'as the product does' if settings.beep else 'none (console.beep)'}")
    return "\n".join(lines) + "\n"
