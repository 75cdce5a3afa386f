"""A plan for people."""

from __future__ import annotations

from hal_core import table
from hal_udev.plan.usbplan import Planned, UsbPlan


def render(plan: UsbPlan) -> str:
    """The whole answer of ``hal-udev plan``."""
    rows = [(one.device.port, one.name, one.device.serial, _what(one), one.rule) for one in plan.devices]
    parts = [table.render(("PORT", "DEVICE", "SERIAL", "WHAT HAPPENS", "BY THE RULE"), rows) if rows else "no devices"]
    problems = [f"{one.device.port}: {one.problem}" for one in plan.devices if one.problem]
    for title, lines in (("cannot go to the product", problems), ("notes", list(plan.notes))):
        if lines:
            parts.append(f"{title}:\n" + "\n".join(f"  {line}" for line in lines))
    return "\n\n".join(parts) + "\n"


def _what(planned: Planned) -> str:
    if planned.keep:
        return "stays with the host"
    return f"goes to {planned.place}" if planned.place and not planned.problem else "cannot go to the product"
