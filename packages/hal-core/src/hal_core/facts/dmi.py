"""SMBIOS strings (``/sys/class/dmi/id``). Serial numbers and the UUID are for root only: others see them as unreadable."""

from __future__ import annotations

import dataclasses

from hal_core.facts.tree import Tree
from hal_core.machine import Dmi

DIRECTORY = "/sys/class/dmi/id"

# What tells this server from its twins.
IDENTITIES = (
    "product_serial",
    "product_uuid",
    "board_serial",
    "board_asset_tag",
    "chassis_serial",
    "chassis_asset_tag",
)


def read(tree: Tree) -> Dmi:
    """Each string exactly as the firmware has it: the product's licence checks compare them byte for byte."""
    found = {field.name: tree.exact(f"{DIRECTORY}/{field.name}") for field in dataclasses.fields(Dmi)}
    return Dmi(**{name: text if text.strip() else "" for name, text in found.items()})
