"""``hal-udev plan``: what happens to each device, here or on a recorded server. Changes nothing."""

from __future__ import annotations

import json
import sys

from hal_core import arguments, config, facts, paths
from hal_udev import hardware, pins
from hal_udev.config import UdevConfig
from hal_udev.plan import product, show, usbplan
from hal_udev.plan.rules import Surroundings
from hal_udev.plan.usbplan import UsbPlan

USAGE = """\
usage: hal-udev plan [--json] [--root DIR|FILE]

Show for every USB device that is plugged in whether it goes to the product or stays with the host, by which rule, and
into which port of the product's it is plugged. Nothing is changed. Exit status 78 where a rule in hal.toml makes no
sense.

options:
  --json       as JSON
  --root PATH  of a recorded server: the tar that `hal record` wrote, or its directory; with hal-console running and a
               new product there

examples:
  hal udev plan
  hal udev plan --root server.tar.gz
  hal udev plan --json | jq -r '.devices[] | select(.action == "keep") | .port + " " + .rule'
"""


def main(argv: list[str]) -> int:
    """Print the plan.

    :raise ConfigError: a rule makes no sense. :raise HalError: there is nothing to plan from.
    """
    given = arguments.parse("hal-udev plan", argv, {"--json"}, {"--root"})
    if "help" in given:
        sys.stdout.write(USAGE)
        return 0
    planned = make(given.get("root", "/"), config.load(UdevConfig, "udev"))
    if "json" in given:
        print(json.dumps(planned.to_json(), indent=2))
    else:
        sys.stdout.write(show.render(planned))
    return 0


def make(root: str, settings: UdevConfig) -> UsbPlan:
    """For what is plugged in now; raises as :func:`main` does."""
    devices = hardware.read(root)
    known = hardware.own_known(root)
    if not facts.is_live(root):
        return usbplan.plan(devices, settings, Surroundings(own_known=known), product.USUAL.buses)
    run_dir = paths.run_dir()
    planned = product.read(run_dir)
    around = Surroundings(hardware.console_needs_keyboard(run_dir), known, planned.com_ports)
    return usbplan.plan(devices, settings, around, planned.buses, pins.read())
