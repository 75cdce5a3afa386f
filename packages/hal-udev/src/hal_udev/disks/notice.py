"""Whether the product has taken notice of the disks that were plugged in while it ran. Pure.

QEMU announces a disk a moment before it answers for it (hw/core/qdev.c, device_set_realized: the bus is told, and then
the disk is there). A product that asks in between learns that there is none, and does not ask again. So a disk that
nobody has read from is announced once more: plugged out and in, which a product that has not seen it cannot mind.
"""

from __future__ import annotations

import math
from collections.abc import Container, Set

from hal_core.patience import Patience

# A product reads a disk's partition table as soon as it sees it: at once on a server, within a second or two when that
# is emulated.
_FIRST_SECONDS = 2.0
_LOOK_SECONDS = 1.0  # until it is seen that the product has looked: nobody tells
# That so many are missed, one after the other, is no chance: it has no driver for this, or stands still.
_ANNOUNCEMENTS = 8


class Notice:
    """Disks by their ids: only those that were plugged in while the product ran."""

    def __init__(self) -> None:
        self._seen: Set[str] = frozenset()
        self._unseen: Set[str] = frozenset()
        self._patience = Patience(first=_FIRST_SECONDS)

    def knows(self, plugged: Set[str]) -> bool:
        """The product has seen them all: nobody needs to ask QEMU."""
        return plugged <= self._seen

    def follow(self, plugged: Set[str], read: Container[str], now: float) -> list[str]:
        """:param read: those that the product has read from.

        :return: those to announce once more, now; :meth:`announce` when that begins.
        """
        self._seen = {id_ for id_ in plugged if id_ in read or id_ in self._seen}
        gone, self._unseen = self._unseen, plugged - self._seen
        for id_ in gone - self._unseen:
            self._patience.tried(id_, False, now)
        due = sorted(self._unseen - self._patience.waiting(now))
        for id_ in due:
            if not self.announced(id_):
                self.announce(id_, now)  # by being plugged in
        return [id_ for id_ in due if id_ not in self._patience.waiting(now) and self._goes_on(id_)]

    def announce(self, id_: str, now: float) -> None:
        """The product is told of it, now."""
        self._patience.tried(id_, True, now)

    def forget(self, id_: str) -> None:
        """Another disk has that id now, or none."""
        self._seen -= {id_}
        self._unseen -= {id_}
        self._patience.tried(id_, False, 0.0)

    def announced(self, id_: str) -> int:
        """How often the product has been told of a disk that it has not read from; 0: it has read from it."""
        wait = self._patience.of(id_)
        return wait.failures if wait else 0

    def next_time(self, now: float) -> float:
        """Monotonic seconds at which to look again; infinity: no need."""
        if not any(self._goes_on(id_) for id_ in self._unseen):
            return math.inf
        return min(self._patience.next_time(now), now + _LOOK_SECONDS)

    def _goes_on(self, id_: str) -> bool:
        return self.announced(id_) < _ANNOUNCEMENTS
