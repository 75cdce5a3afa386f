"""SMBIOS strings (``/sys/class/dmi/id``). Serial numbers and the UUID are for root only."""

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
    """Each string as the firmware has it, without the blanks that some firmware fills its tables up with.

    White space inside is kept: the product's licence checks compare these strings.
    """
    return Dmi(**{field.name: tree.line(f"{DIRECTORY}/{field.name}") for field in dataclasses.fields(Dmi)})
