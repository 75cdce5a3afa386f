"""What the screen says while there is no product on it: pure.

For whoever stands before the server, at any hour: what is going on, whether to wait, and whom the text below is for.
"""

from __future__ import annotations

import textwrap
from typing import Optional

from hal_console.product import Product

#: Seconds that the product's last picture stays: a product that starts again is back before, and nothing flickers.
PATIENCE = 3.0

_WAIT = "Please wait. The screen is the product's again as soon as it starts."
_LOOK = "For the administrator, on this server's own command line: hal vmm status"

# The guest manager's state → what to say, and what to do. Every other state is a start.
_STATES = {
    "starting": ("The product is being started.", _WAIT),
    "restarting": ("The product is being started again.", _WAIT),
    "ended": ("The product has ended.", _WAIT),
    "stopping": ("The product is being stopped.", "Please wait."),
    "stopped": (
        "The product has been stopped.",
        "It stays stopped until an administrator starts it: hal vmm start",
    ),
    "dumping": ("The product has crashed. What was in its memory is being saved.", _WAIT),
    "not answering": ("The product does not answer.", _WAIT),
    "host reboot": ("The product has asked for a restart: the server starts again now.", "Please wait."),
    "host power-off": ("The product has asked for it: the server switches itself off now.", "Please wait."),
}
#: What is shown at once: nothing will come back by itself within a moment.
_FINAL = frozenset({"rescue", "stopped", "host reboot", "host power-off"})

# Why the last run ended, as hal-vmm(1) has it, in other words.
REASONS = {
    "heartbeats-missed": "It had missed its heartbeats, as it does when it hangs.",
    "watchdog": "It had stopped serving its watchdog, as it does when it hangs.",
    "guest-panic": "Its operating system had crashed.",
    "qemu-hung": "Its virtual machine did not answer any more.",
    "qemu-died": "Its virtual machine had crashed.",
    "not-started": "The last attempt failed.",
}


def due(product: Product, absent_since: Optional[float], now: float) -> bool:
    """Whether the notice is to be seen in place of the product's last picture.

    :param absent_since: monotonic seconds; None while there is a picture to look at.
    """
    if absent_since is None:
        return False
    return product.state in _FINAL or now - absent_since >= PATIENCE


def lines(product: Product) -> list[str]:
    """What to say, a paragraph each; "" between what is for everybody and what is for administrators."""
    if product.state == "rescue":
        said = product.rescue.splitlines() or [product.why or "It has crashed too often."]
        return [
            "The product does not run, and is not started again by itself.",
            "Please call the support of its vendor, and read this to them.",
            "",
            *said,
        ]
    what, then = _STATES.get(product.state, _STATES["starting"])
    reason = REASONS.get(product.last_exit, "") if product.state in ("restarting", "starting", "ended") else ""
    detail = [f"({product.why})"] if product.why and product.state != "stopped" else []
    return [what, *([reason] if reason else []), *detail, then, "", _LOOK]


def page(paragraphs: list[str], columns: int, rows: int) -> str:
    """These lines in the middle of a terminal of that size: one text, lines ended by CR and LF."""
    width = max(20, min(columns - 4, 76))
    text = [line for paragraph in paragraphs for line in (textwrap.wrap(paragraph, width) or [""])][: max(1, rows - 1)]
    margin = " " * ((columns - max(map(len, text))) // 2)
    above = max(0, (rows - len(text)) // 2)
    return "\r\n" * above + "\r\n".join((margin + line).rstrip() for line in text)
