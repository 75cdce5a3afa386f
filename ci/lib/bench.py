"""The command ci/bench: runs one benchmark and shows its rows as a table or as JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # run with -I: nothing but this directory is added

from benchmarks.measure import BenchError, Row
from hal_core import table

# name → what it measures; the module benchmarks.NAME has measure(cache, rounds) -> list[Row]
BENCHMARKS = {
    "vmm": "start, crash, status and memory of the product's virtual machine, against plain QEMU and libvirt",
    "console": "the product's screen: a key to its letter, and the processor time of a screen that changes",
    "imports": "what it costs to import what HAL's programs are made of",
    "net": "frames through the product's LANs against a plain bridge, mirroring of cables, and setting all of it up",
    "plan": "planning for a server of 512 CPUs, 64 disks and 16 NICs",
    "udev": "from a device that is plugged in to QEMU's command for it, with 1 to 127 devices",
}
FEWEST_ROUNDS = 9  # for a figure that may be quoted


def main(arguments: Sequence[str]) -> int:
    """Measure, and show what came out. Whether goals are met is in the rows, not in the exit status.

    :raise BenchError: it could not be measured.
    """
    options = _parser().parse_args(arguments)
    if not options.name:
        rows = [(f"ci/bench {name}", text) for name, text in BENCHMARKS.items()]
        print(table.render(("BENCHMARK", "WHAT IT MEASURES"), rows))
        return 0
    if options.rounds < FEWEST_ROUNDS:
        print(f"{options.rounds} rounds are too few for a figure to quote: {FEWEST_ROUNDS}", file=sys.stderr)
    measured: list[Row] = importlib.import_module(f"benchmarks.{options.name}").measure(options.cache, options.rounds)
    if options.json:
        print(json.dumps([row.to_json() for row in measured], indent=1, ensure_ascii=False))
    else:
        print(render(measured))
    return 0


def render(rows: Sequence[Row]) -> str:
    """The rows for people: a row without a value says why it has none."""
    cells = [
        (
            row.name,
            row.note if row.value is None else f"{row.value:.3g}" if row.value < 100 else f"{row.value:.0f}",
            "" if row.value is None else row.unit,
            "" if row.goal is None else f"≤ {row.goal:g}",
            {None: "", True: "yes", False: "NO"}[row.met],
        )
        for row in rows
    ]
    return table.render(("WHAT", "MEDIAN", "UNIT", "GOAL", "MET"), cells)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ci/bench", description="See ci/bench --help.")
    parser.add_argument("cache", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("name", nargs="?", choices=list(BENCHMARKS))
    parser.add_argument("--rounds", type=_rounds, default=FEWEST_ROUNDS, metavar="N")
    parser.add_argument("--json", action="store_true")
    return parser


def _rounds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text}: allowed is a number from 1 to 1000")
    return int(text)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BenchError as error:
        sys.exit(f"ci/bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
