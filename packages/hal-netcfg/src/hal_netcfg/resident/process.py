"""The resident as a process: its parts put together, its signals, and what it tells systemd."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

from hal_core import config, log, paths
from hal_core.errors import HostError
from hal_core.notify import notify
from hal_netcfg.config import NetcfgConfig
from hal_netcfg.engine import Engine
from hal_netcfg.hardware import Hardware
from hal_netcfg.resident.loop import Loop

logger = logging.getLogger(__name__)


def run(verbose: bool, hardware: Hardware) -> None:
    """Until SIGTERM or SIGINT. The network stays as it is then: a product may be running.

    SIGHUP: hal.toml is read again.

    :raise ConfigError: hal.toml is wrong. :raise HostError: not root, or no place to keep the state.
    """
    log.setup(verbose)
    for library in ("asyncio", "pyroute2"):
        logging.getLogger(library).setLevel(logging.WARNING)  # "verbose" is about HAL's own details
    run_dir = paths.run_dir()
    os.makedirs(run_dir, exist_ok=True)
    if not os.access(run_dir, os.W_OK):
        raise HostError(f"{run_dir}: no permission to write", "run this as root")
    engine = Engine(run_dir, config.load(NetcfgConfig, "netcfg"), hardware)
    try:
        asyncio.run(_run(engine, run_dir))
    finally:
        engine.close()


async def _run(engine: Engine, run_dir: str) -> None:
    running = asyncio.get_running_loop()
    loop = Loop(engine, run_dir, _tell)  # within the event loop that it is for: Python 3.9 wants that
    for number in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(number, loop.stop)
    running.add_signal_handler(signal.SIGHUP, loop.reload)
    await loop.run()


def _tell(state: str) -> None:
    """The product's network does not depend on whether systemd hears of it."""
    try:
        notify(state)
    except OSError as error:
        logger.warning("systemd does not hear %s: %s", state, error.strerror)
