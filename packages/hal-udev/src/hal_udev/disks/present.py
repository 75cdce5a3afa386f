"""Which disks this server has at this moment, from hal-core's facts; read anew only when one has come or gone."""

from __future__ import annotations

import os
from dataclasses import dataclass

from hal_core.errors import HostError
from hal_core.facts import blockdev, disks, presence
from hal_core.facts.presence import Presence
from hal_core.facts.tree import DirectoryStore, Tree
from hal_core.machine_disk import Disk
from hal_udev.disks import opening


@dataclass(frozen=True)
class Present:
    disk: Disk
    number: str  # "8:16": the kernel gives it to no other disk for as long as somebody has this one open
    settled: bool = True  # the rules of udev are through with it, and its identity is known
    sequence: str = ""  # another one for each disk that has ever been there; "" before Linux 5.15


class DiskHardware:
    """:param root: where sys, proc, dev and run are; a test has others than this server's."""

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._seen: tuple[Presence, ...] = ()
        self._known: tuple[Present, ...] = ()

    def look(self) -> tuple[Present, ...]:
        """Every disk of the server, HAL's own included; blocks."""
        tree = Tree(DirectoryStore(self._root))
        seen = presence.look(tree)
        if seen != self._seen:
            known = {one.name: (one.number, one.settled, one.sequence) for one in seen}
            # One without a number has been pulled out while it was being read.
            found = [Present(disk, *known.get(disk.name, ("", False, ""))) for disk in disks.read(tree)]
            self._known = tuple(one for one in found if one.number)
            self._seen = seen
        return self._known

    def is_there(self, one: Present) -> bool:
        """It has not been pulled out since it was looked at."""
        tree, directory = Tree(DirectoryStore(self._root)), _directory(one.disk)
        return (tree.line(f"{directory}/dev"), tree.line(f"{directory}/diskseq")) == (one.number, one.sequence)

    def is_busy(self, one: Present) -> bool:
        """Reads or writes have been handed to it that have not ended (Documentation/ABI/stable/sysfs-block)."""
        counts = Tree(DirectoryStore(self._root)).line(f"{_directory(one.disk)}/inflight").split()
        return any(count != "0" for count in counts)

    def open(self, one: Present, read_only: bool) -> int:
        """A descriptor for QEMU; blocks, and raises, as :func:`hal_udev.disks.opening.open_disk`."""
        fd = opening.open_disk(os.path.join(self._root, one.disk.path.lstrip("/")), one.number, read_only)
        # From here on the kernel gives its number to no other.
        if not self.is_there(one):
            os.close(fd)
            raise HostError(f"{one.disk.path}: is another disk by now")
        return fd


def _directory(disk: Disk) -> str:
    return f"{blockdev.ROOT}/{disk.name.replace('/', '!')}"
