"""What else the resident looks after: rooms of their own, which the loop wakes, and which do not know of each other."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Protocol

from hal_core.errors import HalError, QmpDisconnected
from hal_core.qmp import Event, Session
from hal_udev.resident.report import Report

# After a look that has failed for a reason that raises no event.
_AGAIN_SECONDS = 2.0


class Room(Protocol):
    @property
    def name(self) -> str:
        """For messages, and its key in the status file."""

    def forget(self) -> None:
        """Whatever is known of QEMU may be wrong by now."""

    async def follow(self, now: float) -> float:
        """Begin with what there is to do now, while QEMU runs; it must not wait for anything that may take long.

        :return: monotonic seconds at which to call this again without being woken.
        :raise HalError: what it has to know cannot be known.
        """

    async def lost(self) -> None:
        """There is no QEMU any more."""

    async def idle(self) -> None:
        """Wait until everything that has begun is done."""

    def event(self, event: Event) -> bool:
        """Something has happened in QEMU; whether the loop is to look at once."""

    def hear(self, device: dict[str, str]) -> None:
        """What udev has said of a block device."""

    def told(self, connected: bool) -> list[dict[str, Any]]:
        """How things are, for the status file: each with ``id``, ``state`` and ``reason`` at least."""

    def problems(self) -> list[str]:
        """What is not as it ought to be, beside those things."""


#: Makes a room: with QEMU, threads for what blocks, a way to wake the loop, and the run directory.
Maker = Callable[[Session, Executor, Callable[[], None], str], Room]


class Rooms:
    """All of them: what fails in one is told, and keeps no other from its work."""

    def __init__(self, rooms: Sequence[Room]) -> None:
        self._rooms = rooms

    async def follow(self, report: Report, now: float) -> float:
        """As :meth:`Room.follow`, and does not raise."""
        again = math.inf
        for room in self._rooms:
            try:
                again = min(again, await room.follow(now))
                report.resolved(room.name)
            except QmpDisconnected:
                break  # the loop is told, too
            except HalError as error:
                report.problem(room.name, str(error))
                again = min(again, now + _AGAIN_SECONDS)
        return again

    def forget(self) -> None:
        for room in self._rooms:
            room.forget()

    async def lost(self) -> None:
        for room in self._rooms:
            await room.lost()

    async def idle(self) -> None:
        await asyncio.gather(*(room.idle() for room in self._rooms))

    def event(self, event: Event) -> bool:
        news = [room.event(event) for room in self._rooms]  # every one hears it
        return any(news)

    def hear(self, devices: Sequence[dict[str, str]]) -> None:
        for device in devices:
            for room in self._rooms:
                room.hear(device)

    def told(self, connected: bool) -> Mapping[str, tuple[Sequence[Mapping[str, Any]], Sequence[str]]]:
        return {room.name: (room.told(connected), room.problems()) for room in self._rooms}
