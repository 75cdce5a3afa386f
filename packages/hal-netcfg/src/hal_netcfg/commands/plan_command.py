"""``hal-netcfg plan``: what the product's network ought to be, here or on a recorded server. Changes nothing."""

from __future__ import annotations

import json
import os
import sys

from hal_core import arguments, config, paths
from hal_netcfg import ability, hardware
from hal_netcfg.config import NetcfgConfig
from hal_netcfg.plan import lans, product, show

USAGE = """\
usage: hal-netcfg plan [--json] [--root DIR|FILE]

Show which NIC becomes which LAN of the product's, with its addresses, and what stays with the host, and why. Nothing is
changed. Exit status 78 where hal.toml asks for something that cannot be.

options:
  --json       as JSON
  --root PATH  of a recorded server: the tar that `hal record` wrote, or its directory

examples:
  hal netcfg plan
  hal netcfg plan --root server.tar.gz
  hal netcfg plan --json | jq '.lans[].nics'
"""


def main(argv: list[str]) -> int:
    """Print the plan; 78 where a LAN cannot be as it is configured.

    :raise HalError: there is nothing to plan from.
    """
    given = arguments.parse("hal-netcfg plan", argv, {"--json"}, {"--root"})
    if "help" in given:
        sys.stdout.write(USAGE)
        return 0
    root = given.get("root", "/")
    settings = config.load(NetcfgConfig, "netcfg")
    nics = hardware.read(root)
    # What hal-vmm has planned is about this server. What it would plan for a recorded one is no secret.
    live = os.path.realpath(root) == "/"
    if live:
        planned = product.read(paths.run_dir())
        network = lans.plan(nics, planned.nics, settings, ability.read(paths.run_dir(), settings), planned.others)
    else:
        network = lans.plan(nics, lans.product_nics(nics), settings)
    if "json" in given:
        print(json.dumps(network.to_json(), indent=2))
    else:
        sys.stdout.write(show.render(network))
    return 78 if network.problems else 0
