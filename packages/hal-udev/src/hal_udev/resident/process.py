"""The resident as a process: its parts put together, its signals, and what it tells systemd."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from concurrent.futures import Executor

from hal_core import config, log, paths
from hal_core.errors import HostError
from hal_core.notify import notify
from hal_core.qmp import Session
from hal_udev.config import UdevConfig
from hal_udev.disks.present import DiskHardware
from hal_udev.disks.room import DisksRoom
from hal_udev.dvd.room import DvdRoom
from hal_udev.dvd.tray import Tray
from hal_udev.hardware import Hardware
from hal_udev.resident.events import Events
from hal_udev.resident.loop import Loop, Woken
from hal_udev.statusfile import STATUS

logger = logging.getLogger(__name__)


def run(verbose: bool, hardware: Hardware) -> None:
    """Until SIGTERM or SIGINT. The product keeps its devices then.

    SIGHUP: hal.toml is read again.

    :raise ConfigError: hal.toml is wrong. :raise HostError: not root, or no place to keep the state.
    """
    log.setup(verbose)
    for library in ("asyncio", "pyudev"):
        logging.getLogger(library).setLevel(logging.WARNING)  # "verbose" is about HAL's own details
    run_dir = paths.run_dir()
    directory = os.path.dirname(STATUS.path(run_dir))
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise HostError(f"{directory}: {error.strerror}", "run this as root") from None
    if not os.access(directory, os.W_OK):
        raise HostError(f"{directory}: no permission to write", "run this as root")
    asyncio.run(serve(hardware, config.load(UdevConfig, "udev"), run_dir, Events()))


async def serve(hardware: Hardware, settings: UdevConfig, run_dir: str, events: Woken) -> None:
    """The loop, with its signals."""
    running = asyncio.get_running_loop()
    # Within the event loop that it is for: Python 3.9 wants that.
    loop = Loop(hardware, settings, run_dir, _tell, rooms=(_disks, _dvd))
    for number in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(number, loop.stop)
    running.add_signal_handler(signal.SIGHUP, loop.reload)
    await loop.run(events)


def _disks(session: Session, threads: Executor, wake: Callable[[], None], run_dir: str) -> DisksRoom:
    return DisksRoom(session, DiskHardware(), threads, wake, run_dir)


def _dvd(session: Session, threads: Executor, wake: Callable[[], None], run_dir: str) -> DvdRoom:
    return DvdRoom(session, Tray(), threads, wake, run_dir)


def _tell(state: str) -> None:
    """The product's devices do not depend on whether systemd hears of it."""
    try:
        notify(state)
    except OSError as error:
        logger.warning("systemd does not hear %s: %s", state, error.strerror)
