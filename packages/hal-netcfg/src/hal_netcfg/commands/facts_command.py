"""``hal-netcfg facts``: the NICs of this server, or of a recorded one."""

from __future__ import annotations

import dataclasses
import json
import sys

from hal_core import arguments, table
from hal_core.machine_nic import Nic
from hal_netcfg import hardware

USAGE = """\
usage: hal-netcfg facts [--json] [--root DIR|FILE]

Show the physical Ethernet ports of this server, in its own order: that is the order in which the product sees them.

options:
  --json       as JSON
  --root PATH  of a recorded server: the tar that `hal record` wrote, or its directory

examples:
  hal netcfg facts
  hal netcfg facts --root server.tar.gz --json
"""


def main(argv: list[str]) -> int:
    """:raise HostError, FileFormatError: there is no such server."""
    given = arguments.parse("hal-netcfg facts", argv, {"--json"}, {"--root"})
    if "help" in given:
        sys.stdout.write(USAGE)
        return 0
    nics = hardware.read(given.get("root", "/"))
    if "json" in given:
        print(json.dumps([dataclasses.asdict(nic) for nic in nics], indent=2))
        return 0
    rows = [
        (
            nic.name,
            nic.mac,
            nic.driver,
            nic.bus_path,
            nic.speed_mbps if nic.carrier else None,
            nic.mtu,
            "the product" if nic.lent else nic.master,
            _group(nic),
            nic.passthrough.total_vfs if nic.passthrough else None,
        )
        for nic in nics
    ]
    head = ("NIC", "PERMANENT MAC", "DRIVER", "BUS PATH", "MBIT/S", "MTU", "IN", "IOMMU GROUP", "VFS")
    print(table.render(head, rows))
    return 0


def _group(nic: Nic) -> str:
    """Its group, and who else is in it: with those it would have to be handed over."""
    place = nic.passthrough
    if place is None or place.group is None:
        return ""
    return f"{place.group}, with {', '.join(place.others)}" if place.others else str(place.group)
