"""What HAL does to the host when the product asks for it: reboot, power off. Announced only, in a demo or a test."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Protocol

from hal_core import notify
from hal_core.errors import HostError

logger = logging.getLogger(__name__)


class Host(Protocol):
    async def reboot(self, why: str) -> None: ...

    async def power_off(self, why: str) -> None: ...

    async def show(self, text: str) -> None:
        """Put a text where whoever stands before the server sees it."""


class RealHost:
    """This machine, through systemd. Asking twice does no harm: the second request joins the first."""

    async def reboot(self, why: str) -> None:
        await self._systemctl("reboot", why)

    async def power_off(self, why: str) -> None:
        await self._systemctl("poweroff", why)

    async def show(self, text: str) -> None:
        """On tty1, where the product's screen was. Without a tty1 (a headless server) the log has to do."""
        try:
            fd = os.open("/dev/tty1", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            logger.warning("cannot write to the console /dev/tty1: %s", error.strerror)
            return
        try:
            os.write(fd, ("\r\n" + text.replace("\n", "\r\n") + "\r\n").encode())
        finally:
            os.close(fd)

    async def _systemctl(self, verb: str, why: str) -> None:
        logger.warning("%s: %s this host", why, verb)
        process = await asyncio.create_subprocess_exec(
            "systemctl",
            "--no-wall",
            verb,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=notify.environment_of_children(),
        )
        _, errors = await process.communicate()
        if process.returncode:
            raise HostError(f"systemctl {verb} failed: {errors.decode(errors='replace').strip()}")


class AnnouncedHost:
    """Says what would be done, and does nothing."""

    async def reboot(self, why: str) -> None:
        logger.warning("%s: the host would reboot now (only announced)", why)

    async def power_off(self, why: str) -> None:
        logger.warning("%s: the host would power off now (only announced)", why)

    async def show(self, text: str) -> None:
        """The log has it already."""
