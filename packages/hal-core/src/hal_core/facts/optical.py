"""CD and DVD drives, with or without a disc in them."""

from __future__ import annotations

import re

from hal_core.facts import blockdev
from hal_core.facts.tree import Tree
from hal_core.machine_disk import Optical


def read(tree: Tree) -> tuple[Optical, ...]:
    """In the host's order. ``sr0`` by its name alone; ``hda`` if the old IDE driver says that it is a CD-ROM."""
    names = [name for name in tree.names(blockdev.ROOT) if _is_optical(tree, name)]
    devices = sorted((blockdev.find(tree, name) for name in names), key=blockdev.order)
    return tuple(
        Optical(
            name=device.name,
            model=blockdev.model(tree, device),
            vendor=blockdev.vendor(tree, device),
            serial=blockdev.serial(tree, device),
            by_path=device.udev.get("ID_PATH", ""),
            transport=blockdev.transport(tree, device),
        )
        for device in devices
    )


def _is_optical(tree: Tree, name: str) -> bool:
    if re.fullmatch("hd[a-z]+", name):
        return tree.line(f"{blockdev.ROOT}/{name}/device/media") == "cdrom"
    return bool(re.fullmatch("sr[0-9]+", name))
