"""``hal-vmm start``, ``reset``, ``dump`` and ``maintenance``: the small verbs that people use on a living product.

What only one of them needs is imported by it: a product that starts is waited for.
"""

from __future__ import annotations

import os
import sys
import time

from hal_core import arguments, paths
from hal_core.errors import HostError, UsageError
from hal_vmm.commands.status import collect
from hal_vmm.manager.markers import Markers

TYPE_CHECKING = False  # typing.TYPE_CHECKING, without importing typing
if TYPE_CHECKING:
    from hal_vmm.manager.dump import Dump

_UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}

_USAGE = {
    "start": """\
usage: hal-vmm start

Start a product that was stopped, or is in the rescue state.
""",
    "reset": """\
usage: hal-vmm reset

Press the product's reset button: it starts anew, the host goes on.
""",
    "dump": """\
usage: hal-vmm dump

Write the running product's memory to a file; it is paused meanwhile. Beside it go the last things that the product said
on its serial ports, 1 MiB of each.
""",
    "maintenance": """\
usage: hal-vmm maintenance on [--for TIME]
       hal-vmm maintenance off

While maintenance mode is on, missing heartbeats are ignored. TIME is 90s, 30min, 2h or 1d; without it: until off.

example: hal vmm maintenance on --for 2h
""",
}


def main(argv: list[str]) -> int:
    """Run the verb that ``argv`` begins with.

    :raise HalError: it cannot be done.
    """
    verb, rest = argv[0], argv[1:]
    switch = rest.pop(0) if verb == "maintenance" and rest and rest[0] in ("on", "off") else ""
    given = arguments.parse(f"hal-vmm {verb}", rest, (), ("--for",) if verb == "maintenance" else ())
    if "help" in given:
        sys.stdout.write(_USAGE[verb])
        return 0
    if verb == "maintenance":
        return _maintenance(switch, given.get("for"))
    return {"start": _start, "reset": _reset, "dump": _dump}[verb]()


def _start() -> int:
    run_dir = paths.run_dir()
    from hal_vmm.manager.qemulock import running_pid

    _require_manager(run_dir)
    if running_pid(run_dir):
        print("the product is running already")
        return 0
    markers = Markers(run_dir)
    markers.clear_rescue()
    markers.clear_stopped()
    print("the guest manager starts the product now; see: hal vmm status")
    return 0


def _reset() -> int:
    from hal_core.qmp_once import Once

    run_dir = paths.run_dir()
    _require_manager(run_dir)
    _require_qemu(run_dir)
    with Once(os.path.join(run_dir, "qmp", "cli")) as qmp:
        qmp.execute("system_reset")
    print("reset: the product starts anew")
    return 0


def _dump() -> int:
    import asyncio

    from hal_core import config
    from hal_vmm.config import VmmConfig

    run_dir = paths.run_dir()
    _require_qemu(run_dir)
    crash = config.load(VmmConfig, "vmm").crash
    directory = os.path.join(paths.state_dir(), "vmm", "dumps")
    print(f"writing at most {crash.dump_limit_mib} MiB to {directory}; the product is paused meanwhile", flush=True)
    print(asyncio.run(_take_dump(run_dir, directory, crash.dump_limit_mib, crash.dump_keep)))
    return 0


async def _take_dump(run_dir: str, directory: str, limit_mib: int, keep: int) -> Dump:
    from hal_core.qmp import Session
    from hal_vmm.manager import dump

    session = Session(os.path.join(run_dir, "qmp", "cli"), "cli")
    await session.connect()
    try:
        return await dump.take(session, directory, limit_mib, keep, float("inf"), run_dir)
    finally:
        await session.close()


def _maintenance(switch: str, duration: str | None) -> int:
    markers = Markers(paths.run_dir())
    if not switch:
        raise UsageError("maintenance: on or off?", "see: hal-vmm maintenance --help")
    if switch == "off":
        if duration is not None:
            raise UsageError("maintenance off takes no --for")
        markers.set_maintenance(time.monotonic())
        print("maintenance mode is off: heartbeats count from now on")
        return 0
    seconds = float("inf") if duration is None else parse_duration(duration)
    markers.set_maintenance(time.monotonic() + seconds)
    print("maintenance mode is on" + (f" for {duration}" if duration else " until: maintenance off"))
    return 0


def parse_duration(text: str) -> float:
    """Seconds in "90s", "30min", "2h" or "1d".

    :raise UsageError: something else.
    """
    import re

    match = re.fullmatch(r"([0-9]{1,6}) ?(s|min|m|h|d)", text)
    if not match or int(match[1]) == 0:
        raise UsageError(f"--for {text}: not a time", "a number and a unit: 90s, 30min, 2h, 1d")
    return float(int(match[1]) * _UNITS[match[2]])


def _require_qemu(run_dir: str) -> None:
    from hal_vmm.manager.qemulock import running_pid

    if running_pid(run_dir) is None:
        raise HostError("the product is not running", "see: hal vmm status")


def _require_manager(run_dir: str) -> None:
    if not collect(run_dir, time.monotonic())["manager"].startswith("running"):
        raise HostError("the guest manager is not running", "start it with: systemctl start hal-vmm.service")
