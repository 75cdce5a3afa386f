"""The loop of ``hal-console run``: the product's picture on the screen, and a notice while there is no product.

Nothing is remembered that matters: kill it at any moment, and the next one asks the same QEMU for its whole picture.
The product notices nothing of it: its QEMU has one VNC client less for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
from collections.abc import Callable
from typing import Any, Optional

from hal_console import notice, product
from hal_console.config import ConsoleConfig
from hal_console.resident import viewer
from hal_console.resident.display import Display
from hal_console.resident.report import Report
from hal_console.resident.viewer import Viewer
from hal_console.rfb.messages import SOUND_RATE
from hal_console.rfb.stream import Event, Lamps, Sound, Updated
from hal_console.terminal import tone
from hal_console.terminal.held import Keyboard
from hal_console.terminal.keys import Decoder, Key
from hal_console.terminal.vt import Terminal
from hal_core.errors import HalError, HostError
from hal_core.qmp import Session

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5  # between two looks at hal-vmm's files, while there is no product to be seen
LONGEST_REST_SECONDS = 5.0  # between two signs of life to systemd
_LONGEST_PAUSE_SECONDS = 0.5  # between two attempts to reach a QEMU that is not there
_KEYS_AT_ONCE = 256  # bytes

_RELEASE, _ACQUIRE = signal.SIGUSR1, signal.SIGUSR2


class Console:
    """:param tell: tells systemd, as sd_notify(3) does."""

    def __init__(
        self, terminal: Terminal, display: Display, config: ConsoleConfig, run_dir: str, tell: Callable[[str], None]
    ) -> None:
        self._terminal = terminal
        self._display = display
        self._config = config
        self._run_dir = run_dir
        self._tell = tell
        self._session = Session(os.path.join(run_dir, "qmp", "console"), "console")
        self._keyboard = Keyboard(config.escape)
        self._decoder = Decoder()
        self._report = Report(run_dir, terminal.name)
        self._viewer: Optional[Viewer] = None
        self._absent_since: Optional[float] = -math.inf  # there is no last picture yet that could stay
        self._in_front = True
        self._noticed = ""  # what the notice says that is on the screen
        self._hertz = 0
        self._wake = asyncio.Event()
        self._stopping = False
        self._failure: Optional[BaseException] = None

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Until :meth:`stop`; the terminal is as before then.

        :raise HostError: the terminal cannot be taken.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._failed)
        loop.add_signal_handler(_RELEASE, self._released)
        loop.add_signal_handler(_ACQUIRE, self._acquired)
        self._terminal.take(_RELEASE, _ACQUIRE)
        following = asyncio.create_task(self._follow())
        following.add_done_callback(lambda _: self.stop())  # it has failed: nobody would see the product any more
        try:
            self._in_front = self._terminal.in_front
            loop.add_reader(self._terminal.fd, self._typed)
            await self._rounds()
        finally:
            loop.remove_reader(self._terminal.fd)
            following.cancel()
            (failure,) = await asyncio.gather(following, return_exceptions=True)
            self._terminal.restore()
        for each in (failure, self._failure):
            if isinstance(each, Exception):
                raise each

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something that nobody expected: better a new process than a screen that stands still."""
        loop.default_exception_handler(context)
        self._failure = self._failure or context.get("exception")
        self.stop()

    async def _rounds(self) -> None:
        loop = asyncio.get_running_loop()
        told = -math.inf
        while not self._stopping:
            self._wake.clear()
            self._look(loop.time())
            if loop.time() - told >= LONGEST_REST_SECONDS:
                self._tell("WATCHDOG=1" if told > -math.inf else "READY=1")
                told = loop.time()
            rest = LONGEST_REST_SECONDS if self._absent_since is None else LOOK_SECONDS
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), rest)

    def _look(self, now: float) -> None:
        """Show the notice where it is due, and what is new in it."""
        if self._absent_since is not None:
            known = product.read(self._run_dir)
            if self._in_front and notice.due(known, self._absent_since, now):
                self._notice(notice.lines(known))
        self._report.write(self._display, self._viewer, self._showing())

    def _notice(self, paragraphs: list[str]) -> None:
        size = self._terminal.size()
        page = notice.page(paragraphs, size.columns, size.lines)
        if page != self._noticed:
            self._terminal.show(page.encode("ascii", "replace"))
            self._noticed = page

    def _showing(self) -> str:
        if not self._in_front:
            return "another terminal"
        return "the product" if self._absent_since is None else "a notice" if self._noticed else "the last picture"

    # --- the product -----------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Be the screen of one QEMU after the other."""
        loop = asyncio.get_running_loop()
        while True:
            await self._session.reconnect(longest_pause=_LONGEST_PAUSE_SECONDS)
            since = loop.time()
            try:
                await self._view()
            except HalError as error:
                logger.warning("%s", error)
            finally:
                await self._session.close()
            # Whoever greets us and hangs up at once must not make this spin.
            await asyncio.sleep(max(0.0, _LONGEST_PAUSE_SECONDS - (loop.time() - since)))

    async def _view(self) -> None:
        """Until this QEMU goes, or its VNC server does."""
        self._viewer = Viewer(
            await viewer.connect(self._session), self._display.wanted, self._config.beep, self._happened
        )
        self._viewer.watch(self._in_front)
        ends = [asyncio.ensure_future(self._session.lost()), asyncio.ensure_future(self._viewer.ended.wait())]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._viewer.reason:
                raise HostError(f"the product's screen is lost: {self._viewer.reason}", "it is asked for again")
        finally:
            for end in ends:
                end.cancel()
            self._viewer.close()
            self._viewer = None
            self._keyboard.release_all()
            self._sound(0)
            if self._absent_since is None:
                self._absent_since = asyncio.get_running_loop().time()
            self._wake.set()

    def _happened(self, event: Event) -> None:
        if isinstance(event, Updated):
            self._updated()
        elif isinstance(event, Lamps):
            self._lamps(event.state)
        elif isinstance(event, Sound):
            self._sound(tone.pitch(event.samples, SOUND_RATE))

    def _updated(self) -> None:
        current = self._viewer
        if current is None or not self._in_front:
            return
        if self._absent_since is not None:
            logger.info("the product is on the screen: %dx%d", current.picture.width, current.picture.height)
            self._absent_since, self._noticed = None, ""
            self._display.show_all(current.picture)
            self._wake.set()
        else:
            self._display.show_changes(current.picture)

    # --- the terminal ----------------------------------------------------------------------------------------------

    def _typed(self) -> None:
        data = os.read(self._terminal.fd, _KEYS_AT_ONCE)
        if not data:
            logger.error("%s has been hung up", self._terminal.name)
            self.stop()
            return
        for key in self._decoder.feed(data):
            self._key(key)

    def _key(self, key: Key) -> None:
        leads_to = self._keyboard.escape_to(key)
        if leads_to is not None:
            logger.warning("somebody at the keyboard goes to this server's own terminal tty%d", leads_to)
            self._terminal.switch_to(leads_to)
            return
        pressed = self._keyboard.translate(key)
        if pressed and self._viewer:
            self._viewer.key(*pressed)

    def _released(self) -> None:
        """Another terminal is to come to the front."""
        self._in_front = False
        for down, scancode in self._keyboard.release_all():
            if self._viewer:
                self._viewer.key(down, scancode)
        if self._viewer:
            self._viewer.watch(False)
        self._sound(0)
        self._terminal.let_go()
        self._wake.set()

    def _acquired(self) -> None:
        """We are in the front again; what is on the screen, nobody knows."""
        self._terminal.taken_back()
        self._in_front, self._noticed = True, ""
        if self._display.changed() and self._viewer:
            self._viewer.close()  # the next one has pixels as the screen has them now
        elif self._viewer:
            if self._absent_since is None:
                self._display.show_all(self._viewer.picture)
            self._viewer.watch(True)
        elif self._absent_since is not None:
            self._absent_since = -math.inf  # what was the last picture has gone
        self._wake.set()

    def _lamps(self, state: int) -> None:
        try:
            self._terminal.lamps(state)
        except OSError as error:
            logger.debug("the keyboard's lamps: %s", error.strerror)

    def _sound(self, hertz: int) -> None:
        if hertz == self._hertz:
            return
        self._hertz = hertz
        try:
            self._terminal.tone(hertz)
        except OSError as error:
            logger.debug("the beeper: %s", error.strerror)
