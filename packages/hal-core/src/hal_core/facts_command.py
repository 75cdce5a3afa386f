"""``hal facts``: what this server, or a recorded one, is."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from hal_core import cli, facts, facts_report

_EPILOG = """\
examples:
  hal facts                           this server
  hal facts --root r910.tar.bz2       a recorded server ('hal record' writes them)
  hal facts --json | jq .totals       the numbers only

Exit status: 0 done, 1 the machine could not be read, 2 usage. See hal(1).
"""


def main(arguments: list[str]) -> int:
    """The command; returns its exit status.

    :raise HostError: there is nothing at ``--root``.
    :raise FileFormatError: it is not a recorded machine.
    """
    options = _parser().parse_args(arguments)
    machine = facts.read(options.root)
    if options.json:
        print(json.dumps({**dataclasses.asdict(machine), "totals": facts_report.totals(machine)}, indent=2))
    else:
        print(facts_report.render(machine))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hal facts",
        description="Show what a server is: processors, memory, disks, network and serial ports, USB, PCI, SMBIOS.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print everything that is known, as JSON")
    parser.add_argument(
        "--root",
        default="/",
        metavar="DIR|TAR",
        help="read a recorded machine instead of this one: its tar, or unpacked",
    )
    return parser


if __name__ == "__main__":
    sys.exit(cli.run("hal-facts", main))
