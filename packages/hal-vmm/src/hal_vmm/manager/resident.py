"""The guest manager as a process: its parts put together, its signals, its event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

from hal_core import config, log, paths
from hal_core.errors import HostError
from hal_vmm.config import VmmConfig
from hal_vmm.manager.host import AnnouncedHost, Host, RealHost
from hal_vmm.manager.loop import Manager
from hal_vmm.manager.markers import Markers
from hal_vmm.manager.starter import ChildStarter, Starter, UnitStarter

logger = logging.getLogger(__name__)


def run(announce: bool, child: bool, verbose: bool) -> None:
    """Until SIGTERM or SIGINT.

    :param announce: only say what would be done to the host.
    :param child: QEMU is a process of ours, not a unit.
    :raise ConfigError: hal.toml is wrong. :raise HostError: there is no place to keep the state.
    """
    log.setup(verbose)
    for directory in (paths.run_dir(), paths.state_dir()):
        os.makedirs(directory, exist_ok=True)
        if not os.access(directory, os.W_OK):
            raise HostError(f"{directory}: no permission to write", "run this as root")
    asyncio.run(_run(announce, child))


async def _run(announce: bool, child: bool) -> None:
    run_dir = paths.run_dir()
    host: Host = AnnouncedHost() if announce else RealHost()
    starter: Starter = ChildStarter(run_dir) if child else UnitStarter()
    manager = Manager(run_dir, paths.state_dir(), config.load(VmmConfig, "vmm"), starter, host)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, manager.stop)
    loop.add_signal_handler(signal.SIGIO, manager.look_again)
    announced = -1
    try:
        announced = Markers(run_dir).announce()
    except OSError as error:
        logger.info("markers are noticed within a second, not at once: %s", error.strerror)
    try:
        await manager.run()
    finally:
        if announced >= 0:
            os.close(announced)  # while SIGIO still has a handler: without one it would kill us
