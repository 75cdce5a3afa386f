"""``hal-netcfg run``: the resident."""

from __future__ import annotations

import sys

from hal_core import arguments, no_tls

USAGE = """\
usage: hal-netcfg run [--verbose]

Bring the host's network to what it ought to be, and keep it so: a NIC that comes back, a bridge that somebody deletes,
a firewall that somebody flushes. Show the product whether its cables are plugged in. hal-netcfg.service runs this; it
may be restarted at any time, and the network stays as it is meanwhile.

options:
  --verbose  log every detail
"""


def main(argv: list[str]) -> int:
    """Run until SIGTERM or SIGINT.

    :raise ConfigError: hal.toml is wrong. :raise HostError: this is not root, or no Linux that can do it.
    """
    given = arguments.parse("hal-netcfg run", argv, {"--verbose"}, ())
    if "help" in given:
        sys.stdout.write(USAGE)
        return 0
    no_tls.load()
    from hal_netcfg.hardware import Hardware  # only now: asyncio and pyroute2 are slow to import
    from hal_netcfg.resident import process

    process.run("verbose" in given, Hardware())
    return 0
