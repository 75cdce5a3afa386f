"""What happens to a disc and a tray, where QEMU has no part in the real drive: plain values, one decision. Pure.

Both drives, the server's and the product's, have a disc and a tray, and both have somebody who moves them. Whoever has
moved his side since both were last alike is followed by the other side; the real drive wins where it cannot be known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

# The server's drive, as the kernel tells (CDROM_DRIVE_STATUS).
DISC, EMPTY, OPEN, BUSY, GONE = "disc", "empty", "open", "busy", "gone"

NOTHING = "nothing to do"
INSERT = "the product gets the disc"
TAKE = "the product loses the disc, which is no longer there"
EJECT = "the product has opened the tray: the disc comes out"
OPEN_HOST = "the product has opened its empty tray: the real one opens"
CLOSE_HOST = "the product has closed its tray: the real one closes"
OPEN_VIRTUAL = "the tray was opened: the product's opens"
CLOSE_VIRTUAL = "the tray was closed, and is empty: the product's closes"


@dataclass(frozen=True)
class Virtual:
    """The product's drive, as QEMU tells (query-block)."""

    medium: bool
    tray_open: bool


@dataclass(frozen=True)
class Seen:
    """Both of them at one time."""

    host: str
    virtual: Virtual


def after(what: str, now: Seen) -> Optional[Seen]:
    """What to compare the next look with: nothing, where it is us who open the product's tray, perhaps in vain."""
    return None if what in (INSERT, TAKE) else now


def decide(before: Optional[Seen], now: Seen, same_disc: bool = True) -> str:
    """What to do; after it, look again.

    :param before: when they were last looked at; None: never.
    :param same_disc: the disc in the drive is the one that the product has.
    """
    host, virtual = now.host, now.virtual
    if host == BUSY:
        return NOTHING  # it is reading what was put in
    if virtual.medium:
        if virtual.tray_open:
            return EJECT
        return NOTHING if host == DISC and same_disc else TAKE
    was_host = before.host if before else ""
    if host == DISC:
        # Where it was there before, and the product's tray is open, the product does not want it.
        return OPEN_HOST if virtual.tray_open and was_host == DISC else INSERT
    if host == OPEN and not virtual.tray_open:
        return CLOSE_HOST if before and was_host == OPEN and before.virtual.tray_open else OPEN_VIRTUAL
    if host == EMPTY and virtual.tray_open:
        opened = before is not None and was_host == EMPTY and not before.virtual.tray_open
        return OPEN_HOST if opened else CLOSE_VIRTUAL
    return NOTHING
