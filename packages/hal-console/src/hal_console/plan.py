"""Which back-end shows the product's screen on this server: chosen by probing, and why not another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from hal_console.config import ConsoleConfig
from hal_console.screen import framebuffer
from hal_console.screen.framebuffer import Geometry
from hal_core.errors import HostError

FRAMEBUFFER, TEXT = "framebuffer", "text"


@dataclass(frozen=True)
class Plan:
    """:ivar display: "framebuffer": text and graphics. "text": what of the picture is text, written on the terminal."""

    display: str
    screen: Optional[Geometry]  # None for "text"
    note: str  # why it is not better; "" if it could not be


def plan(config: ConsoleConfig) -> Plan:
    """For this server, now."""
    try:
        return Plan(FRAMEBUFFER, framebuffer.read(config.framebuffer), "")
    except HostError as error:
        return Plan(TEXT, None, str(error))
