"""``hal-vmm run``: the guest manager, resident."""

from __future__ import annotations

import asyncio
import os
import signal

from hal_core import config, log, paths
from hal_vmm.config import VmmConfig
from hal_vmm.host import AnnouncedHost, Host, RealHost
from hal_vmm.manager import Manager
from hal_vmm.starter import ChildStarter, Starter, UnitStarter

USAGE = """\
usage: hal-vmm run [--announce] [--child] [--verbose]

Follow the product for as long as it runs: let it start, watch its heartbeats, restart it when it crashes, and reboot or
power off this host when the product asks for that. hal-vmm.service runs this; it may be restarted at any time.

options:
  --announce  say what would be done to the host, and do not do it (demo, tests)
  --child     start QEMU as a process, not through hal-qemu.service; the default where systemd did not start us
  --verbose   log every detail
"""
_OPTIONS = {"--announce", "--child", "--verbose"}


def main(arguments: list[str]) -> int:
    """Run until SIGTERM or SIGINT.

    :raise ConfigError: hal.toml is wrong.
    """
    if "--help" in arguments or "-h" in arguments:
        print(USAGE, end="")
        return 0
    unknown = [argument for argument in arguments if argument not in _OPTIONS]
    if unknown:
        from hal_core.errors import UsageError

        raise UsageError(f"run: unknown argument {unknown[0]}", "see: hal-vmm run --help")
    log.setup("--verbose" in arguments)
    child = "--child" in arguments or "INVOCATION_ID" not in os.environ
    asyncio.run(_run("--announce" in arguments, child))
    return 0


async def _run(announce: bool, child: bool) -> None:
    run_dir = paths.run_dir()
    host: Host = AnnouncedHost() if announce else RealHost()
    starter: Starter = ChildStarter(run_dir) if child else UnitStarter()
    manager = Manager(run_dir, paths.state_dir(), config.load(VmmConfig, "vmm"), starter, host)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, manager.stop)
    await manager.run()
