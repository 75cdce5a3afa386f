"""A descriptor that a thread opens, because opening may take long, and that is closed whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future


@contextlib.asynccontextmanager
async def opened(threads: Executor, function: Callable[..., int], *arguments: object) -> AsyncIterator[int]:
    """The descriptor that ``function`` returns; it raises what that raises.

    Whoever is cancelled while the thread is still at it gets none; then it is closed as soon as it is there. A disk
    that stayed open here would be busy for ever.
    """
    opening = threads.submit(function, *arguments)
    try:
        fd = await asyncio.wrap_future(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise
    try:
        yield fd
    finally:
        os.close(fd)


def _close(opening: Future[int]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result())
