"""What a room has begun: a task for each thing that changes, so that none waits for another; and what has failed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container

from hal_core.errors import HalError, QmpDisconnected
from hal_core.patience import Patience

logger = logging.getLogger(__name__)


class Errands:
    """By id of what they are about: one at a time for each.

    :param wake: called whenever one has ended.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, str] = {}  # by id: why it failed the last time
        self._patience = Patience()

    def __contains__(self, id_: str) -> bool:
        """It is being done just now."""
        return id_ in self._tasks

    def may_begin(self, id_: str, now: float) -> bool:
        """It is not being done, and has not failed a moment ago."""
        return id_ not in self._tasks and id_ not in self._patience.waiting(now)

    def begin(self, id_: str, name: str, errand: Callable[[], Awaitable[None]]) -> None:
        """:param name: for the log. :param errand: where it raises a HalError, it is to be tried again, later."""
        task = asyncio.create_task(self._do(id_, name, errand))
        self._tasks[id_] = task
        task.add_done_callback(lambda _: self._wake())

    def failure(self, id_: str) -> str:
        """Why it failed the last time, and when it is tried again; "": it has not."""
        wait = self._patience.of(id_)
        return f"{self._failures[id_]}; again after {wait.pause:g} s" if wait else ""

    def only(self, wanted: Container[str]) -> None:
        """What is not to be done any more has not failed: it was done after all, or there is no need for it now."""
        for id_ in [*self._failures]:
            if id_ not in wanted and id_ not in self._tasks:
                self._succeeded(id_)

    def next_time(self, now: float) -> float:
        """Monotonic seconds at which something may be tried again; infinity: nothing has failed."""
        return self._patience.next_time(now)

    async def idle(self) -> None:
        """Wait until everything that has begun is done."""
        while self._tasks:
            await asyncio.wait([*self._tasks.values()])

    async def stop(self) -> None:
        """Give up what has begun, and forget what has failed."""
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        self._failures.clear()
        self._patience = Patience()

    async def _do(self, id_: str, name: str, errand: Callable[[], Awaitable[None]]) -> None:
        try:
            await errand()
        except QmpDisconnected as error:
            logger.debug("%s: %s", name, error)
        except HalError as error:
            if self._failures.get(id_) != str(error):
                logger.error("%s: %s", name, error)
            self._failures[id_] = str(error)
            self._patience.tried(id_, True, asyncio.get_running_loop().time())
        else:
            self._succeeded(id_)
        finally:
            self._tasks.pop(id_, None)

    def _succeeded(self, id_: str) -> None:
        self._failures.pop(id_, None)
        self._patience.tried(id_, False, 0.0)
