"""``hal-udev run``: the resident."""

from __future__ import annotations

import sys

from hal_core import arguments, no_tls

USAGE = """\
usage: hal-udev run [--verbose]

Plug into the product what is plugged into the server, and unplug what is pulled out; plug everything in again when the
product's QEMU has been started anew. hal-udev.service runs this; it may be restarted at any time, and the product keeps
its devices meanwhile.

options:
  --verbose  log every detail
"""


def main(argv: list[str]) -> int:
    """Run until SIGTERM or SIGINT.

    :raise ConfigError: hal.toml is wrong. :raise HostError: this is not root, or no Linux that can do it.
    """
    given = arguments.parse("hal-udev run", argv, {"--verbose"}, ())
    if "help" in given:
        sys.stdout.write(USAGE)
        return 0
    no_tls.load()
    from hal_udev.hardware import Hardware  # only now: asyncio and pyudev are slow to import
    from hal_udev.resident import process

    process.run("verbose" in given, Hardware())
    return 0
