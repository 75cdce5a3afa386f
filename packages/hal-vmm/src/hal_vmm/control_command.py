"""``hal-vmm start``, ``reset``, ``dump`` and ``maintenance``: the small verbs that people use on a living product."""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import re
import time

from hal_core import config, paths
from hal_core.errors import HostError, UsageError
from hal_vmm.config import VmmConfig
from hal_vmm.markers import Markers
from hal_vmm.qemuprocess import running_pid
from hal_vmm.status import collect

_UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}


def main(arguments: list[str]) -> int:
    """Run the verb that ``arguments`` begins with."""
    options = _parser().parse_args(arguments)
    status: int = options.verb(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hal-vmm")
    verbs = parser.add_subparsers(required=True)
    start = verbs.add_parser("start", description="Start a product that was stopped, or is in the rescue state.")
    start.set_defaults(verb=_start)
    reset = verbs.add_parser("reset", description="Press the product's reset button: it starts anew, the host goes on.")
    reset.set_defaults(verb=_reset)
    dump = verbs.add_parser("dump", description="Write the running product's memory to a file; it is paused meanwhile.")
    dump.set_defaults(verb=_dump)
    maintenance = verbs.add_parser(
        "maintenance",
        description="While maintenance mode is on, missing heartbeats are ignored.",
        epilog="example: hal vmm maintenance on --for 2h",
    )
    maintenance.add_argument("switch", choices=("on", "off"))
    maintenance.add_argument("--for", dest="duration", metavar="TIME", help="90s, 30min, 2h, 1d; without it: until off")
    maintenance.set_defaults(verb=_maintenance)
    return parser


def _start(_: argparse.Namespace) -> int:
    run_dir = paths.run_dir()
    _require_manager(run_dir)
    if running_pid(run_dir):
        print("the product is running already")
        return 0
    markers = Markers(run_dir)
    markers.clear_rescue()
    markers.clear_stopped()
    print("the guest manager starts the product now; see: hal vmm status")
    return 0


def _reset(_: argparse.Namespace) -> int:
    from hal_core.qmp_once import Once

    run_dir = paths.run_dir()
    _require_manager(run_dir)
    _require_qemu(run_dir)
    with Once(os.path.join(run_dir, "qmp", "cli")) as qmp:
        qmp.execute("system_reset")
    print("reset: the product starts anew")
    return 0


def _dump(_: argparse.Namespace) -> int:
    run_dir = paths.run_dir()
    _require_qemu(run_dir)
    crash = config.load(VmmConfig, "vmm").crash
    directory = os.path.join(paths.state_dir(), "vmm", "dumps")
    print(f"writing at most {crash.dump_limit_mib} MiB to {directory}; the product is paused meanwhile", flush=True)
    path, size, complete = asyncio.run(_take_dump(run_dir, directory, crash.dump_limit_mib, crash.dump_keep))
    print(f"{path}: {size / (1 << 20):.0f} MiB" + ("" if complete else ", cut off at vmm.crash.dump_limit_mib"))
    return 0


async def _take_dump(run_dir: str, directory: str, limit_mib: int, keep: int) -> tuple[str, int, bool]:
    from hal_core.qmp import Session
    from hal_vmm import dump

    session = Session(os.path.join(run_dir, "qmp", "cli"), "cli")
    await session.connect()
    try:
        taken = await dump.take(session, directory, limit_mib, keep, deadline=math.inf)
    finally:
        await session.close()
    return taken.path, taken.bytes, taken.complete


def _maintenance(options: argparse.Namespace) -> int:
    markers = Markers(paths.run_dir())
    if options.switch == "off":
        if options.duration is not None:
            raise UsageError("maintenance off takes no --for")
        markers.set_maintenance(time.monotonic())
        print("maintenance mode is off: heartbeats count from now on")
        return 0
    seconds = math.inf if options.duration is None else parse_duration(options.duration)
    markers.set_maintenance(time.monotonic() + seconds)
    print("maintenance mode is on" + (f" for {options.duration}" if options.duration else " until: maintenance off"))
    return 0


def parse_duration(text: str) -> float:
    """Seconds in "90s", "30min", "2h" or "1d".

    :raise UsageError: something else.
    """
    match = re.fullmatch(r"([0-9]{1,6}) ?(s|min|m|h|d)", text)
    if not match or int(match[1]) == 0:
        raise UsageError(f"--for {text}: not a time", "a number and a unit: 90s, 30min, 2h, 1d")
    return float(int(match[1]) * _UNITS[match[2]])


def _require_qemu(run_dir: str) -> None:
    if running_pid(run_dir) is None:
        raise HostError("the product is not running", "see: hal vmm status")


def _require_manager(run_dir: str) -> None:
    if not collect(run_dir, time.monotonic())["manager"].startswith("running"):
        raise HostError("the guest manager is not running", "start it with: systemctl start hal-vmm.service")
