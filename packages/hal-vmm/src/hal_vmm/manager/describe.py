"""The guest's state in words, for people: pure."""

from __future__ import annotations

import math
import re
from typing import Optional

from hal_vmm.manager.decision import Sight
from hal_vmm.manager.verdict import Health, Verdict

_STATUS_WORDS = {
    "prelaunch": "starting",
    "paused": "paused",
    "debug": "paused",
    "inmigrate": "paused",
    "io-error": "disk error",
    "suspended": "suspended",
    "save-vm": "paused",
    "shutdown": "ended",
}
_TICKING = re.compile(r"\d+ s\b")


def describe(sight: Sight, health: Health, host_is_ending: str, rescue: Optional[str]) -> tuple[str, str]:
    """State ("running", "rescue", …) and why, one line or ""."""
    if host_is_ending:
        return f"host {host_is_ending}", "asked for by the product"
    if rescue is not None:
        return "rescue", rescue.splitlines()[0] if rescue else "too many crashes"
    if not sight.alive:
        return _describe_absent(sight)
    if sight.dumping:
        return "dumping", "the product has panicked; its memory is being written to a file"
    if sight.stopped or not sight.run_known:
        return "stopping", "hal vmm stop" if sight.stopped else ""
    if health.verdict in (Verdict.UNRESPONSIVE, Verdict.HUNG):
        return "not answering", f"QEMU: {health.why}"
    if sight.status != "running":
        return _STATUS_WORDS.get(sight.status, sight.status or "starting"), ""
    return "running", health.why


def is_news(before: tuple[str, str], now: tuple[str, str]) -> bool:
    """Whether the journal gets a line for it. A clock that only goes on is none: status shows it, every second."""
    return [_TICKING.sub("", text) for text in before] != [_TICKING.sub("", text) for text in now]


def _describe_absent(sight: Sight) -> tuple[str, str]:
    if sight.stopped:
        return "stopped", "hal vmm stop; start it again with: hal vmm start"
    if sight.start_at > sight.now:
        return "restarting", f"crashed; next start in {math.ceil(sight.start_at - sight.now)} s"
    return "starting", ""


def rescue_text(crashes: int, window_minutes: int, why: str) -> str:
    """What the screen, the log and ``hal vmm status`` say when HAL gives up. The first line stands alone."""
    return (
        f"The product has crashed {crashes} times within {window_minutes} minutes; it is not started again.\n"
        f"Last crash: {why}\n"
        "What now: hal vmm status; journalctl -b -u hal-vmm -u hal-qemu; memory dumps are in /var/lib/hal/vmm/dumps.\n"
        "Try again with: hal vmm start"
    )
