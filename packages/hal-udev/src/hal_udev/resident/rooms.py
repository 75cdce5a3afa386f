"""What else the resident looks after: rooms of their own, which do not know of each other, and for which nobody waits.

Each has a task that looks, and threads of its own for what blocks: a disk that hangs holds up no USB device.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Protocol

from hal_core.errors import HalError, QmpDisconnected
from hal_core.qmp import Event, Session
from hal_udev.resident.report import Report

# Events wake a room within milliseconds. This is for what raises none.
_LONGEST_REST_SECONDS = 5.0
# After a look that has failed for a reason that raises no event.
_AGAIN_SECONDS = 2.0
# As many things as may hang in the kernel at one time, before the room waits for them.
_THREADS = 32


class Room(Protocol):
    @property
    def name(self) -> str:
        """For messages, and its key in the status file."""

    def forget(self) -> None:
        """Whatever is known of QEMU may be wrong by now."""

    async def follow(self, now: float) -> float:
        """Begin with what there is to do now, while QEMU runs.

        :return: monotonic seconds at which to call this again without being woken.
        :raise HalError: what it has to know cannot be known.
        """

    async def stop(self) -> None:
        """Give up what has begun; the product runs on with what it has."""

    async def lost(self) -> None:
        """The same, and there is no QEMU any more."""

    async def idle(self) -> None:
        """Wait until everything that has begun is done."""

    def event(self, event: Event) -> bool:
        """Something has happened in QEMU; whether to look at once."""

    def hear(self, device: dict[str, str]) -> None:
        """What udev has said of a block device, while QEMU runs."""

    def told(self, connected: bool) -> list[dict[str, Any]]:
        """How things are, for the status file: each with ``id``, ``state`` and ``reason`` at least."""

    def problems(self) -> list[str]:
        """What is not as it ought to be, beside those things."""


#: Makes a room: with QEMU, threads for what blocks, a way to have it look, and the run directory.
Maker = Callable[[Session, Executor, Callable[[], None], str], Room]


class _Attended:
    """One room, with its task and its threads."""

    def __init__(self, make: Maker, session: Session, run_dir: str) -> None:
        self.again = asyncio.Event()
        self.threads = ThreadPoolExecutor(_THREADS, "room")
        self.room = make(session, self.threads, self.again.set, run_dir)

    async def attend(self, report: Report, looked: Callable[[], None]) -> None:
        """Look, and look again, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self.again.clear()
            until = min(await self._look(report), loop.time() + _LONGEST_REST_SECONDS)
            looked()
            try:
                await asyncio.wait_for(self.again.wait(), max(0.0, until - loop.time()))
            except asyncio.TimeoutError:
                self.room.forget()  # nothing has happened for a while: see whether that is so

    async def _look(self, report: Report) -> float:
        now = asyncio.get_running_loop().time
        try:
            until = await self.room.follow(now())
            report.resolved(self.room.name)
        except QmpDisconnected:
            return math.inf  # whoever has begun this is told, too
        except HalError as error:
            report.problem(self.room.name, str(error))
            return now() + _AGAIN_SECONDS
        return until


class Rooms:
    """All of them: what fails in one is told, and keeps nobody else from his work.

    :param looked: called after every look, for there may be news to tell.
    """

    def __init__(
        self, makers: Sequence[Maker], session: Session, run_dir: str, report: Report, looked: Callable[[], None]
    ) -> None:
        self._all = [_Attended(make, session, run_dir) for make in makers]
        self._report = report
        self._looked = looked
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """A QEMU has come."""
        self.forget()
        self._tasks = [asyncio.create_task(one.attend(self._report, self._looked)) for one in self._all]

    async def end(self, gone: bool) -> None:
        """Give up what has begun.

        :param gone: there is no QEMU any more; otherwise it is the resident that ends.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await asyncio.gather(*(one.room.lost() if gone else one.room.stop() for one in self._all))

    def check(self) -> None:
        """:raise Exception: that of a room in which something has happened that must not."""
        for task in self._tasks:
            if task.done():
                task.result()

    def close(self) -> None:
        """Nothing runs here any more, but for threads that hang in the kernel."""
        for one in self._all:
            one.threads.shutdown(wait=False)

    def forget(self) -> None:
        """Whatever is known of QEMU may be wrong by now: have everyone look."""
        for one in self._all:
            one.room.forget()
            one.again.set()

    async def idle(self) -> None:
        """Wait until everything that has begun is done."""
        await asyncio.gather(*(one.room.idle() for one in self._all))

    def event(self, event: Event) -> None:
        for one in self._all:
            if one.room.event(event):
                one.again.set()

    def hear(self, devices: Sequence[dict[str, str]]) -> None:
        """What udev says. Nobody listens while there is no QEMU: a button that was pushed then is not pushed later."""
        if self._tasks and devices:
            for one in self._all:
                for device in devices:
                    one.room.hear(device)
                one.again.set()

    def told(self, connected: bool) -> Mapping[str, tuple[Sequence[Mapping[str, Any]], Sequence[str]]]:
        return {one.room.name: (one.room.told(connected), one.room.problems()) for one in self._all}
