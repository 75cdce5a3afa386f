"""``hal-udev apply``: have hal.toml's rules obeyed from now on: by the resident, and by udev."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from hal_core import arguments, atomic, config, paths
from hal_core.errors import HostError
from hal_udev.commands import plan_command
from hal_udev.config import UdevConfig
from hal_udev.plan import udevrules
from hal_udev.plan.usbplan import UsbPlan
from hal_udev.statusfile import STATUS

USAGE = """\
usage: hal-udev apply [--dry-run] [--json]

Have the rules in hal.toml obeyed from now on: hal-udev.service reads them again, takes from the product what now stays
with the host, and gives it what no longer does; udev is told which disks stay. A device that is taken from the product
is pulled out, as far as the product can see.

Exit status: 0 done, 1 it failed, 78 a rule in hal.toml makes no sense, and nothing is changed.

options:
  --dry-run  only show what would be done
  --json     as JSON

examples:
  hal udev apply --dry-run
  hal udev apply && hal udev status
"""


def main(argv: list[str]) -> int:
    """Apply, and say what follows.

    :raise ConfigError: hal.toml is wrong. :raise HostError: not root.
    """
    given = arguments.parse("hal-udev apply", argv, {"--dry-run", "--json"}, ())
    if "help" in given:
        sys.stdout.write(USAGE)
        return 0
    settings = config.load(UdevConfig, "udev")
    planned = plan_command.make("/", settings)
    known = _status()
    changes = _changes(planned, known)
    if not rules_are_written(settings):
        changes.append(f"{udevrules.path()}: written")
    if "dry-run" not in given:
        try:
            _write_rules(settings)
        except OSError as error:
            raise HostError(f"{udevrules.path()}: {error.strerror}", "run this as root") from None
        pid = STATUS.resident(known) if known else 0
        if pid:
            os.kill(pid, signal.SIGHUP)
        else:
            changes.append("hal-udev does not run: nothing is plugged in or unplugged (systemctl start hal-udev)")
    if "json" in given:
        print(json.dumps({"changes": changes}, indent=2))
    else:
        print("\n".join(changes) if changes else "nothing to change")
    return 0


def rules_are_written(settings: UdevConfig) -> bool:
    """Whether udev has the rules that hal.toml asks for."""
    try:
        with open(udevrules.path(), encoding="utf-8") as file:
            found = file.read()
    except OSError:
        found = ""
    return found == udevrules.render(settings.keep)


def _write_rules(settings: UdevConfig) -> None:
    """:raise OSError: they cannot be written."""
    if rules_are_written(settings):
        return
    wanted, path = udevrules.render(settings.keep), udevrules.path()
    if wanted:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        atomic.write(path, wanted)
    else:
        os.unlink(path)


def _status() -> dict[str, Any]:
    path = STATUS.path(paths.run_dir())
    return STATUS.read(path) if os.path.exists(path) else {}


def _changes(planned: UsbPlan, known: dict[str, Any]) -> list[str]:
    before = {one["port"]: one["state"] == "kept" for one in known.get("devices", [])}
    return [
        f"{one.device.port}: {one.name}: {'stays with the host' if one.keep else 'goes to the product'}: {one.rule}"
        for one in planned.devices
        if one.device.port in before and before[one.device.port] != one.keep
    ]
