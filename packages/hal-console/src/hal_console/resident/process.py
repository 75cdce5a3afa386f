"""The resident as a process: its parts put together, its signals, and what it tells systemd."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

from hal_console.config import ConsoleConfig
from hal_console.plan import FRAMEBUFFER, plan
from hal_console.resident.display import Display, FramebufferDisplay, TextDisplay
from hal_console.resident.loop import Console
from hal_console.screen import framebuffer
from hal_console.terminal.vt import Terminal
from hal_core import atomic, config, log, paths
from hal_core.errors import HostError
from hal_core.notify import notify

logger = logging.getLogger(__name__)

_TERMINAL = 0  # standard input, as systemd opens it
_KEYBOARD = os.path.join("console", "keyboard")  # below /run/hal


def run(verbose: bool) -> None:
    """Until SIGTERM or SIGINT; the terminal is a getty's again then.

    :raise ConfigError: hal.toml is wrong. :raise HostError: standard input is no terminal of this server's, or there is
        no place to keep the state.
    """
    log.setup(verbose)
    logging.getLogger("asyncio").setLevel(logging.WARNING)  # "verbose" is about HAL's own details
    run_dir = paths.run_dir()
    os.makedirs(run_dir, exist_ok=True)
    if not os.access(run_dir, os.W_OK):
        raise HostError(f"{run_dir}: no permission to write", "run this as root")
    settings = config.load(ConsoleConfig, "console")
    terminal = Terminal(_TERMINAL)
    claim_keyboard(run_dir)
    asyncio.run(_run(terminal, display(terminal, settings), settings, run_dir))


def claim_keyboard(run_dir: str) -> None:
    """Let hal-udev leave USB keyboards with the host, for the rest of this boot: what is typed reaches the product
    through this program, its firmware's menus included. It stays when this program is restarted, so that no keyboard
    changes hands meanwhile.
    """
    try:
        atomic.write(os.path.join(run_dir, _KEYBOARD), "")
    except OSError as error:
        logger.error("hal-udev is not told that keyboards are needed here: %s", error.strerror)


def display(terminal: Terminal, settings: ConsoleConfig) -> Display:
    """The back-end that this server has."""
    planned = plan(settings)
    if planned.display == FRAMEBUFFER:
        return FramebufferDisplay(terminal, lambda: framebuffer.mapped(settings.framebuffer), settings.scale)
    logger.warning("%s; the product's text is shown, and no graphics", planned.note)
    return TextDisplay(terminal, planned.note)


async def _run(terminal: Terminal, shown_on: Display, settings: ConsoleConfig, run_dir: str) -> None:
    console = Console(terminal, shown_on, settings, run_dir, _tell)
    running = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(number, console.stop)
    await console.run()


def _tell(state: str) -> None:
    """The product's screen does not depend on whether systemd hears of it."""
    try:
        notify(state)
    except OSError as error:
        logger.warning("systemd does not hear %s: %s", state, error.strerror)
