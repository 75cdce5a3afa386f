"""Which block devices there are at this moment, whatever they are, and whether udev is through with them."""

from __future__ import annotations

from dataclasses import dataclass

from hal_core.facts import blockdev, udevdb
from hal_core.facts.tree import Tree


@dataclass(frozen=True)
class Presence:
    """A block device; or a NIC, in :mod:`hal_core.facts.settled`."""

    name: str  # as in /dev: "sda", "cciss/c0d0"; of a NIC "eno1"
    number: str  # "8:0"; of a NIC its index, "2"; "": it went while it was being read
    settled: bool  # udev's rules are through with it: what it is called and where it hangs is known
    sequence: str = ""  # of disks: another one for each that has ever been there; "" before Linux 5.15
    size: str = ""  # of disks: in sectors, a medium changes it


def look(tree: Tree) -> tuple[Presence, ...]:
    """By name."""
    return tuple(_of(tree, name) for name in sorted(tree.names(blockdev.ROOT)))


def _of(tree: Tree, name: str) -> Presence:
    directory = f"{blockdev.ROOT}/{name}"
    number = tree.line(f"{directory}/dev")
    settled = tree.exists(f"{udevdb.DIRECTORY}/b{number}")
    return Presence(
        name.replace("!", "/"), number, settled, tree.line(f"{directory}/diskseq"), tree.line(f"{directory}/size")
    )
