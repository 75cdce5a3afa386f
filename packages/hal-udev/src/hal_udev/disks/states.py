"""How it is with a slot of the product's, for ``hal udev status``: a word, and why. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from hal_udev.disks import difference
from hal_udev.disks.bays import Bay, Bays
from hal_udev.disks.difference import Found
from hal_udev.disks.present import Present

_NEXT_START = "the product gets it at its next start"


def state(
    bay: Optional[Bay], found: Optional[Found], bays: Bays, present: Sequence[Present], out_of_date: str
) -> tuple[str, str]:
    """Of a slot in which nothing is going on, and nothing has failed.

    :param bay: what is planned for it. :param found: what QEMU has in it.
    :param out_of_date: why hal-vmm has been asked for a new plan; "": it has not.
    """
    if bay and found and difference.is_right(bay, found, present):
        return "attached", ""
    if found and not difference.is_behind(found, present):
        if bays.hot_swap:
            return "changing", "it was pulled out"
        text = "it was pulled out, and the product, whose disks cannot be exchanged while it runs, has I/O errors"
        return "pulled", f"{text}; {'another disk is there: ' + _NEXT_START if bay else 'nothing is in its place'}"
    if found:
        return "next start", f"another plan: {_NEXT_START}"
    if bay and not bays.hot_swap:
        return "next start", f"it came while the product was running: {_NEXT_START}"
    return "waiting", out_of_date


def unseen(announced: int) -> tuple[str, str]:
    """Of a disk that QEMU has. :param announced: how often the product has been told of it."""
    help_ = "have it look for disks (Linux: echo '- - -' > /sys/class/scsi_host/hostN/scan), or restart it"
    return "unseen", f"the product has been told of it {announced} times, and has not looked at it: {help_}"
