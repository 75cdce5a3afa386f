"""``hal-udev status``: which devices the product has, and why it does not have the others; from the resident's file."""

from __future__ import annotations

import json
import sys
from typing import Any

from hal_core import arguments, paths, table
from hal_udev.statusfile import STATUS

USAGE = """\
usage: hal-udev status [--json]

Show every USB device that is plugged into the server: whether the product has it, and in which port; what is being
tried again, and why; what stays with the host, and by which rule. Then the product's disks by slot, and its DVD drives.

Exit status: 0 all is as it ought to be, 1 something is not, 3 the resident does not run.

examples:
  hal udev status
  hal udev status --json | jq '.devices[] | select(.state == "retrying")'
"""

#: What a device can be, as the status file has it, and what that means.
STATES = {
    "attached": "the product has it",
    "attaching": "is being plugged in",
    "retrying": "could not be plugged in, and is tried again",
    "waiting": "the host's kernel or udev is not through with it",
    "no product": "the product's QEMU does not run",
    "no place": "cannot go to the product",
    "kept": "stays with the host",
}
_WRONG = ("retrying", "no place")

#: The same for a disk, or a DVD drive, where it is something else.
DISK_STATES = {
    "attached": "the product has it",
    "changing": "is being plugged in or pulled out",
    "errors": "the product has it, and has had I/O errors",
    "unseen": "the product has been told of it, and has not looked at it",
    "pulled": "it is gone, and this product cannot lose a disk while it runs: it has I/O errors",
    "next start": "the product gets it when it starts anew",
    "waiting": "hal-vmm has not planned it yet; a DVD drive: it is reading the disc",
}
_WRONG_DISK = ("retrying", "errors", "unseen", "pulled")
_DISK_KEYS = ("host", "name", "serial", "place", "state", "reason")


def main(argv: list[str]) -> int:
    """Print it.

    :raise HostError: the resident has never run since this host booted.
    """
    given = arguments.parse("hal-udev status", argv, {"--json"}, ())
    if "help" in given:
        sys.stdout.write(USAGE)
        return 0
    status = collect(STATUS.path(paths.run_dir()))
    if "json" in given:
        print(json.dumps(status, indent=2))
    else:
        sys.stdout.write(render(status))
    if not status["running"]:
        return 3
    return 1 if status["problems"] else 0


def collect(path: str) -> dict[str, Any]:
    """:raise HostError, FileFormatError: there is no status file, or it cannot be used."""
    known = STATUS.read(path)
    try:
        wrong = [f"{one['port']}: {one['reason']}" for one in known["devices"] if one["state"] in _WRONG]
        return {
            "running": STATUS.resident(known) != 0,
            "product": known["product"],
            "devices": known["devices"],
            "disks": known.get("disks", []),
            "dvd": known.get("dvd", []),
            "notes": known["notes"],
            "problems": [*known["problems"], *wrong, *_wrong_disks([*known.get("disks", []), *known.get("dvd", [])])],
        }
    except KeyError as error:
        raise STATUS.damaged(path, f"no {error} in it: another version has written it") from None


def _wrong_disks(known: list[dict[str, Any]]) -> list[str]:
    return [f"{one['id']} {one['host']}: {one['reason']}" for one in known if one["state"] in _WRONG_DISK]


def render(status: dict[str, Any]) -> str:
    parts = [] if status["running"] else ["hal-udev is not running: nothing is plugged in or unplugged"]
    if not status["product"]:
        parts.append("no product is running: it gets its devices when it starts")
    rows = [
        (one["port"], one["name"], one["serial"], one["state"], one["place"] or " ", one["reason"] or " ")
        for one in status["devices"]
    ]
    head = ("PORT", "DEVICE", "SERIAL", "STATE", "PRODUCT'S PORT", "")
    parts.append(table.render(head, rows) if rows else "nothing is plugged in")
    disks = [(one["id"][len("disk") :], *(one[key] or " " for key in _DISK_KEYS)) for one in status["disks"]]
    if disks:
        parts.append(table.render(("SLOT", "DISK", "NAME", "SERIAL", "PLACE", "STATE", ""), disks))
    drives = [(one["host"], one["state"], one["reason"] or " ") for one in status["dvd"]]
    if drives:
        parts.append(table.render(("DVD DRIVE", "STATE", ""), drives))
    for title, lines in (("notes", status["notes"]), ("wrong", status["problems"])):
        if lines:
            parts.append(f"{title}:\n" + "\n".join(f"  {line}" for line in lines))
    return "\n\n".join(parts) + "\n"
