"""The server's own SMBIOS strings, for the product's platform and licence checks.

QEMU takes types 0 (BIOS), 1 (system), 2 (board) and 3 (chassis) field by field. The kernel shows them under
``/sys/class/dmi/id`` (Documentation/ABI/testing/sysfs-firmware-dmi-tables); serial numbers and the UUID are readable by
root only. The chassis type cannot be set before QEMU 8.2 and stays QEMU's.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hal_core.machine import Dmi

# SMBIOS 2.x asked for 64 characters at most; vendors do not keep to it. QEMU's table for one type has 64 KiB.
_LONGEST = 255

_FIELDS: tuple[tuple[int, tuple[tuple[str, str], ...]], ...] = (
    (0, (("vendor", "bios_vendor"), ("version", "bios_version"), ("date", "bios_date"), ("release", "bios_release"))),
    (
        1,
        (
            ("manufacturer", "sys_vendor"),
            ("product", "product_name"),
            ("version", "product_version"),
            ("serial", "product_serial"),
            ("sku", "product_sku"),
            ("family", "product_family"),
        ),
    ),
    (
        2,
        (
            ("manufacturer", "board_vendor"),
            ("product", "board_name"),
            ("version", "board_version"),
            ("serial", "board_serial"),
            ("asset", "board_asset_tag"),
        ),
    ),
    (
        3,
        (
            ("manufacturer", "chassis_vendor"),
            ("version", "chassis_version"),
            ("serial", "chassis_serial"),
            ("asset", "chassis_asset_tag"),
        ),
    ),
)


@dataclass(frozen=True)
class Smbios:
    tables: Mapping[int, Mapping[str, str]]  # type → QEMU's field → text; only fields that the server has
    uuid: str  # "" if the server has none, or it could not be read
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        named = {0: "bios", 1: "system", 2: "board", 3: "chassis"}
        tables: dict[str, object] = {named[kind]: dict(fields) for kind, fields in self.tables.items()}
        return {"uuid": self.uuid, **tables}


def plan(dmi: Dmi, unreadable: Sequence[str] = ()) -> Smbios:
    """The tables that make the product see this server.

    :param unreadable: files that exist but could not be read, as the facts have it.
    """
    tables = {}
    for kind, fields in _FIELDS:
        texts = {field: clean(getattr(dmi, source)) for field, source in fields}
        # QEMU wants the BIOS release as NUMBER.NUMBER, each in one byte (hw/smbios/smbios.c).
        if not re.fullmatch(r"\d{1,3}\.\d{1,3}", texts.get("release", "0.0")):
            texts["release"] = ""
        present = {field: text for field, text in texts.items() if text}
        if present:
            tables[kind] = present
    machine_uuid, notes = _uuid(dmi.product_uuid)
    if any(path.endswith(("/product_serial", "/product_uuid")) for path in unreadable):
        notes = (*notes, "the server's serial number and UUID are readable by root only: run as root to see them")
    return Smbios(tables, machine_uuid, notes)


def clean(text: str) -> str:
    """Printable, without white space at the ends, not longer than a table has room for."""
    return "".join(char for char in text if char.isprintable()).strip()[:_LONGEST].rstrip()


def _uuid(text: str) -> tuple[str, tuple[str, ...]]:
    if not text.strip():
        return "", ()
    try:
        value = uuid.UUID(text.strip())
    except ValueError:
        return "", (f"the server's UUID is not one ({clean(text)}): the product gets none",)
    # All zeros and all ones mean "not set" (SMBIOS 3.x, 7.2.1).
    return (str(value), ()) if value.int not in (0, (1 << 128) - 1) else ("", ())
