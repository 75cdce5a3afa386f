"""udev's database: one small file for each device that a rule had something to say about.

``/run/udev/data/b8:0`` for a block device (major and minor number), ``n2`` for a network interface (its index). Lines
are ``E:KEY=VALUE`` for properties, and others that HAL does not need (systemd's sd-device/device-private.c).
"""

from __future__ import annotations

import re

from hal_core.facts.tree import Tree

DIRECTORY = "/run/udev/data"

# Every property that facts use. An anonymised recording keeps only these.
KEYS = frozenset(
    {
        "ID_ATA_ROTATION_RATE_RPM",
        "ID_BUS",
        "ID_FS_LABEL",
        "ID_FS_UUID",
        "ID_MODEL",
        "ID_MODEL_ENC",
        "ID_NET_NAME_MAC",
        "ID_PART_ENTRY_NAME",
        "ID_PART_ENTRY_UUID",
        "ID_PATH",
        "ID_SCSI_SERIAL",
        "ID_SERIAL_SHORT",
        "ID_VENDOR",
        "ID_VENDOR_ENC",
        "ID_WWN",
        "ID_WWN_WITH_EXTENSION",
        "SCSI_IDENT_SERIAL",
    }
)


def block(tree: Tree, directory: str) -> dict[str, str]:
    """The properties of the block device whose sysfs directory this is; {} if udev knows nothing."""
    number = tree.line(f"{directory}/dev")
    return _properties(tree, f"b{number}") if re.fullmatch("[0-9]+:[0-9]+", number) else {}


def interface(tree: Tree, directory: str) -> dict[str, str]:
    """The properties of the network interface whose sysfs directory this is; {} if udev knows nothing."""
    index = tree.integer(f"{directory}/ifindex")
    return _properties(tree, f"n{index}") if index is not None else {}


def properties(text: str) -> dict[str, str]:
    """The properties among the lines of a database file, those of :data:`KEYS` only."""
    found = {}
    for line in text.splitlines():
        if line.startswith("E:"):
            key, _, value = line[2:].partition("=")
            if key in KEYS:
                found[key] = "".join(filter(str.isprintable, value)).strip()
    return found


def decode(value: str) -> str:
    r"""``ST9300605SS\x20\x20`` as text: udev writes what a file name may not hold as ``\xNN`` (encode_devnode_name).

    What the bytes say is UTF-8; unprintable characters are dropped, white space at the ends too.
    """
    raw = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda match: bytes([int(match[1], 16)]), value.encode())
    return "".join(filter(str.isprintable, raw.decode("utf-8", "replace"))).strip()


def _properties(tree: Tree, name: str) -> dict[str, str]:
    return properties(tree.text(f"{DIRECTORY}/{name}"))
