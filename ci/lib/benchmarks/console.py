"""``ci/bench console``: how soon a key is on the screen, and what the product's screen costs the host.

QEMU, its VNC server and its guests are real; the framebuffer is a FAKE, ordinary memory of 1280x800 pixels: a real one
is slower to write to, by what the graphics chip makes of it. Measured is this process alone, which does what
hal-console does. QEMU emulates, so that it cannot draw as fast as under KVM: hence the cost of one frame beside that of
a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.measure import BenchError, Row, Variant, interleave
from hal_console.resident import viewer
from hal_console.resident.viewer import Viewer
from hal_console.rfb.pixels import XRGB32
from hal_console.rfb.stream import Event, Updated
from hal_console.screen.framebuffer import Framebuffer, Geometry
from hal_console.screen.painter import Painter
from hal_console.testing import guests, qemu
from hal_core.qmp import Session

_WIDTH, _HEIGHT = 1280, 800
_SECONDS = 3.0  # that the screen is watched in one round
_KEYS = 10
_PATIENCE = 60.0
_LETTER_A = 0x1E
KEY_GOAL_MS = 50.0  # a frame and a half at QEMU's 33 a second: less than anybody sees


def measure(cache: Path, rounds: int) -> list[Row]:
    """:param cache: not used; every benchmark gets it.

    :raise BenchError: there is no QEMU, or it shows nothing.
    """
    if not qemu.find():
        raise BenchError("no QEMU is installed")
    films = {"80×25, scrolling": guests.SCROLL, "1024×768, all of it changing": guests.FILM}
    variants: dict[str, Variant] = {"key": lambda: asyncio.run(_key())}
    for name, program in films.items():
        variants[name] = functools.partial(_run_film, program)
    samples = interleave("console", variants, rounds)
    rows = [samples.median("key pressed → its letter on the screen", "key seconds", "ms", 1e3, KEY_GOAL_MS)]
    for name in films:
        rows.append(samples.median(f"{name}: frames a second", f"{name} rate", "1/s"))
        rows.append(samples.median(f"{name}: hal-console's processor time", f"{name} load", "% of a core", 100.0))
        rows.append(samples.median(f"{name}: … for one frame", f"{name} frame", "ms", 1e3))
    return rows


class _Screen:
    """What hal-console is between QEMU and the framebuffer."""

    def __init__(self) -> None:
        stride = _WIDTH * 4
        geometry = Geometry(_WIDTH, _HEIGHT, 32, stride, 0, stride * _HEIGHT, XRGB32, "FAKE")
        self._framebuffer = Framebuffer(memoryview(bytearray(geometry.length)), geometry)
        self._painter: Painter
        self.viewer: Viewer
        self.frames = 0
        self.again = asyncio.Event()

    def begin(self, one: Viewer) -> None:
        self.viewer = one
        self._painter = Painter(self._framebuffer, one.picture, scale=True)

    def happened(self, event: Event) -> None:
        if isinstance(event, Updated):
            self._painter.paint_changes()
            self.frames += 1
            self.again.set()

    async def next_frame(self) -> None:
        self.again.clear()
        await asyncio.wait_for(self.again.wait(), _PATIENCE)


@contextlib.asynccontextmanager
async def _watching(program: tuple[guests.Code, ...]) -> AsyncIterator[_Screen]:
    with tempfile.TemporaryDirectory(prefix="hal-bench-") as directory, qemu.running(Path(directory), program):
        session = Session(f"{directory}/qmp/console", "bench")
        await asyncio.wait_for(session.reconnect(longest_pause=0.1), _PATIENCE)
        screen = _Screen()
        try:
            screen.begin(Viewer(await viewer.connect(session), XRGB32, False, screen.happened))
            yield screen
            screen.viewer.close()
        finally:
            await session.close()


async def _settled(screen: _Screen) -> None:
    """The firmware is done: nothing has changed for a second but, perhaps, a cursor."""
    quiet = 0
    while quiet < 2:
        before = screen.frames
        await asyncio.sleep(1.0)
        quiet = quiet + 1 if screen.frames - before < 6 else 0


def _run_film(program: tuple[guests.Code, ...]) -> dict[str, float]:
    return asyncio.run(_film(program))


async def _key() -> dict[str, float]:
    async with _watching(guests.ECHO) as screen:
        await _settled(screen)
        seconds = []
        for _ in range(_KEYS):
            await screen.next_frame()  # the cursor has blinked: it will not again for a while
            begun = time.perf_counter()
            screen.viewer.key(True, _LETTER_A)
            screen.viewer.key(False, _LETTER_A)
            await screen.next_frame()
            seconds.append(time.perf_counter() - begun)
        return {"seconds": statistics.median(seconds)}


async def _film(program: tuple[guests.Code, ...]) -> dict[str, float]:
    async with _watching(program) as screen:
        while screen.frames < 20:  # the firmware's own, and the first of the film's
            await screen.next_frame()
        frames, used, begun = screen.frames, time.process_time(), time.perf_counter()
        await asyncio.sleep(_SECONDS)
        frames, used = screen.frames - frames, time.process_time() - used
        seconds = time.perf_counter() - begun
        if not frames:
            raise BenchError("the guest's picture does not change")
        return {"rate": frames / seconds, "load": used / seconds, "frame": used / frames}
