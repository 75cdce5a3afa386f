"""``hal-netcfg apply``: bring the host's network to what it ought to be, once."""

from __future__ import annotations

import json
import os
import signal
import sys

from hal_core import arguments, cli, config, paths
from hal_core.errors import ConfigError
from hal_netcfg.config import NetcfgConfig
from hal_netcfg.links.apply import Outcome
from hal_netcfg.statusfile import STATUS

USAGE = """\
usage: hal-netcfg apply [--dry-run] [--json]

Bring the host's network to what `hal netcfg plan` shows: first the firewall, then every LAN, each as a whole or not at
all. What is already as it ought to be is left alone. hal-netcfg.service does this by itself; by hand it tells what is
wrong.

Exit status: 0 done, 1 something failed and is as it was before, 78 hal.toml asks for what cannot be, and nothing is
changed.

options:
  --dry-run  only show what would be done
  --json     as JSON

examples:
  hal netcfg apply --dry-run
  hal netcfg apply && hal netcfg status
"""


def main(argv: list[str]) -> int:
    """Apply, and say what was done.

    :raise ConfigError: hal.toml asks for what cannot be. :raise HostError: not root, or the firewall does not load.
    """
    given = arguments.parse("hal-netcfg apply", argv, {"--dry-run", "--json"}, ())
    if "help" in given:
        sys.stdout.write(USAGE)
        return 0
    settings = config.load(NetcfgConfig, "netcfg")
    from hal_netcfg.engine import Engine  # only now: pyroute2 is slow to import

    engine = Engine(paths.run_dir(), settings)
    try:
        with engine.alone():
            sight = engine.look()
            if sight.network.problems:
                raise ConfigError(sight.network.problems[0].message)
            if "dry-run" in given:
                return _show(engine.difference(sight), [], "json" in given)
            _tell_resident(paths.run_dir())
            guarded = ["firewall: loaded"] if engine.guard(sight) else []
            return _report(guarded, engine.apply(sight), "json" in given)
    finally:
        engine.close()


def _tell_resident(run_dir: str) -> None:
    """Have it read hal.toml again, or it would put back what it knows. It does not act while we do: Engine.alone."""
    if os.path.exists(STATUS.path(run_dir)):
        pid = STATUS.resident(STATUS.read(STATUS.path(run_dir)))
        if pid:
            os.kill(pid, signal.SIGHUP)


def _report(guarded: list[str], outcomes: tuple[Outcome, ...], as_json: bool) -> int:
    done = guarded + [f"{outcome.group}: {action}" for outcome in outcomes for action in outcome.done]
    problems = [f"{outcome.group}: {outcome.problem}" for outcome in outcomes if outcome.problem]
    return _show(done, problems, as_json)


def _show(done: list[str], problems: list[str], as_json: bool) -> int:
    if as_json:
        print(json.dumps({"changes": done, "problems": problems}, indent=2))
    else:
        print("\n".join(done) if done else "nothing to change")
        for problem in problems:
            cli.complain("hal-netcfg", problem, "what was before stays")
    return 1 if problems else 0
