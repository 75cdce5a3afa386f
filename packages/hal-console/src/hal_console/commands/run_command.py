"""``hal-console run``: the resident."""

from __future__ import annotations

import sys

from hal_core import arguments, no_tls

USAGE = """\
usage: hal-console run [--verbose] < /dev/tty1

Be the product's screen and keyboard on the virtual terminal that is standard input. While there is no product, say
there what is going on. hal-console.service runs this on tty1; it may be restarted at any time, and the product notices
nothing.

options:
  --verbose  log every detail
"""


def main(argv: list[str]) -> int:
    """Run until SIGTERM or SIGINT.

    :raise ConfigError: hal.toml is wrong. :raise HostError: standard input is no virtual terminal.
    """
    given = arguments.parse("hal-console run", argv, {"--verbose"}, ())
    if "help" in given:
        sys.stdout.write(USAGE)
        return 0
    no_tls.load()
    from hal_console.resident import process  # only now: asyncio is slow to import

    process.run("verbose" in given)
    return 0
