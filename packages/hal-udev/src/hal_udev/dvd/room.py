"""The DVD drives of a product that runs: what somebody does to one of the two drives is done to the other.

Where QEMU has the real drive (``host_cdrom``) the product moves it by itself, and only its button is passed on: udev's
word "DISK_EJECT_REQUEST" is the one event that carries something that cannot be looked up. One that is lost costs
somebody another push of the button.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Optional

from hal_core.errors import HalError, HostError, QmpDisconnected, QmpError
from hal_core.qmp import Event, Session
from hal_udev.dvd import decision, drives, qemu
from hal_udev.dvd.decision import Seen
from hal_udev.dvd.drives import Drive
from hal_udev.dvd.tray import Tray
from hal_udev.plan import planfile
from hal_udev.resident.errands import Errands
from hal_udev.resident.opened import opened

logger = logging.getLogger(__name__)

# A disc is exchanged in three.
_MOST_STEPS = 8
_SPINNING_UP_SECONDS = 1.0  # no event tells when a drive has read a disc's table of contents


class DvdRoom:
    """:param threads: for what blocks: the drives. :param wake: called when something was done, or failed."""

    name = "dvd"

    def __init__(self, session: Session, tray: Tray, threads: Executor, wake: Callable[[], None], run_dir: str) -> None:
        self._session = session
        self._tray = tray
        self._threads = threads
        self._plan = planfile.Reader(run_dir, drives.parse)
        self._drives: tuple[Drive, ...] = ()
        self._errands = Errands(wake)
        self._buttons: set[str] = set()  # drives of the host's whose button was pushed
        self._again: set[str] = set()  # drives to look at once more, by id
        self._seen: dict[str, Seen] = {}
        self._discs: dict[str, str] = {}  # by id: which disc the product has
        self._locks: dict[str, str] = {}  # by id: why its door cannot be locked; "": it is

    def forget(self) -> None:
        """Somebody may have moved something."""
        self._again = {drive.id for drive in self._drives}

    async def stop(self) -> None:
        """Give up what has begun; the product keeps its disc, and the door its lock."""
        await self._errands.stop()
        self._buttons.clear()

    async def lost(self) -> None:
        """There is no product any more: whoever wants his disc back gets it."""
        await self.stop()
        for state in (self._seen, self._discs, self._locks):
            state.clear()
        for drive in self._drives:
            # Nobody waits for it: a drive may take its time, and QEMU may be back soon.
            self._errands.begin(drive.id, drive.id, functools.partial(self._unlock, drive))

    async def idle(self) -> None:
        """Wait until everything that has begun is done."""
        await self._errands.idle()

    async def follow(self, now: float) -> float:
        """Look at every drive that something may have happened to, while QEMU runs.

        :return: monotonic seconds at which to call this again without being woken.
        :raise HalError: the plan does not tell.
        """
        known = self._plan.read() or ()
        if known != self._drives:
            self._drives = known
            self.forget()
        for drive in known:
            pushed = drive.host in self._buttons
            due = drive.id in self._again and drive.medium is not None
            if (pushed or due) and self._errands.may_begin(drive.id, now):
                self._buttons.discard(drive.host)
                self._again.discard(drive.id)
                self._errands.begin(drive.id, drive.id, functools.partial(self._do, drive, pushed))
        busy = any(seen.host == decision.BUSY for seen in self._seen.values())
        return min(self._errands.next_time(now), now + _SPINNING_UP_SECONDS if busy else math.inf)

    def event(self, event: Event) -> bool:
        """The product has moved its tray, or runs again."""
        if event.name == "DEVICE_TRAY_MOVED":
            self._again.add(str(event.data.get("id", "")))
        return event.name == "DEVICE_TRAY_MOVED"

    def hear(self, device: dict[str, str]) -> None:
        """What udev says of a drive: its button was pushed, or something was put in or taken out."""
        for drive in self._drives:
            if drive.host == device.get("DEVNAME"):
                self._again.add(drive.id)
                if device.get("DISK_EJECT_REQUEST") == "1":
                    self._buttons.add(drive.host)

    def told(self, connected: bool) -> list[dict[str, Any]]:
        """How it is with every drive: for ``hal udev status``."""
        return [{"id": drive.id, "host": drive.host, **self._state(drive, connected)} for drive in self._drives]

    def problems(self) -> list[str]:
        """None beside the drives' own."""
        return []

    def _state(self, drive: Drive, connected: bool) -> dict[str, str]:
        failure, seen = self._errands.failure(drive.id), self._seen.get(drive.id)
        if not connected:
            return {"state": "no product", "reason": ""}
        if failure:
            return {"state": "retrying", "reason": failure}
        if drive.medium is None:
            return {"state": "attached", "reason": "the product has the drive itself"}
        if seen is None or seen.host == decision.BUSY:
            return {"state": "waiting", "reason": "the drive is reading the disc" if seen else ""}
        texts = {decision.DISC: "a disc", decision.EMPTY: "no disc", decision.OPEN: "the tray is open"}
        inside = texts.get(seen.host, "the drive is gone")
        return {"state": "attached", "reason": "; ".join(filter(None, (inside, self._locks.get(drive.id))))}

    async def _do(self, drive: Drive, pushed: bool) -> None:
        if pushed:
            await self._pass_on(drive)
        if drive.medium is not None:
            try:
                await self._step(drive)
            except HalError:
                self._again.add(drive.id)
                raise

    async def _pass_on(self, drive: Drive) -> None:
        """Its button was pushed. Not tried again: a tray that opens a minute later surprises everybody."""
        try:
            await qemu.ask_to_eject(self._session, drive.id)
        except QmpDisconnected:
            raise
        except QmpError as error:
            logger.warning("%s: the product does not hear of its button: %s", drive.host, error)

    async def _unlock(self, drive: Drive) -> None:
        try:
            await self._run(self._tray.lock, drive.host, False)
        except HostError as error:
            logger.debug("%s", error)  # it has no lock, or is gone

    async def _step(self, drive: Drive) -> None:
        """Look at both drives, and do what follows, until nothing does."""
        for _ in range(_MOST_STEPS):
            host, disc = await self._run(self._tray.look, drive.host)
            seen = Seen(host, await qemu.look(self._session, drive.id))
            if seen.virtual.medium:
                self._discs.setdefault(drive.id, disc)  # of the resident before us
            what = decision.decide(self._seen.get(drive.id), seen, self._discs.get(drive.id) in (None, disc))
            remembered = decision.after(what, seen)
            if remembered:
                self._seen[drive.id] = remembered
            else:
                self._seen.pop(drive.id, None)
            if what == decision.NOTHING:
                if host == decision.BUSY:
                    self._again.add(drive.id)
                await self._lock(drive, seen.virtual.medium)
                return
            logger.info("%s: %s", drive.host, what)
            await self._act(drive, what, disc)
        raise HostError(f"{drive.host}: it does not come to rest: neither tray does what it is told")

    async def _act(self, drive: Drive, what: str, disc: str) -> None:
        if what == decision.INSERT:
            async with opened(self._threads, self._tray.open_disc, drive.host) as fd:
                await qemu.insert(self._session, drive, fd)
            self._discs[drive.id] = disc
        elif what in (decision.TAKE, decision.EJECT):
            self._discs.pop(drive.id, None)
            await qemu.take(self._session, drive)
            self._locks.pop(drive.id, None)
            if what == decision.EJECT:
                await self._run(self._tray.eject, drive.host)
        elif what == decision.OPEN_HOST:
            await qemu.let_go(self._session, drive)
            await self._run(self._tray.eject, drive.host)
        elif what == decision.CLOSE_HOST:
            await self._run(self._tray.close, drive.host)
        elif what == decision.OPEN_VIRTUAL:
            await qemu.open_tray(self._session, drive.id)
        else:
            await qemu.close_tray(self._session, drive.id)

    async def _lock(self, drive: Drive, wanted: bool) -> None:
        """With a disc that the product has, the button asks: the product may be writing down that it is mounted."""
        if (drive.id in self._locks) == wanted:
            return
        if not wanted:
            del self._locks[drive.id]
        try:
            await self._run(self._tray.lock, drive.host, wanted)
            error: Optional[HostError] = None
        except HostError as problem:
            error = problem
        if wanted:
            self._locks[drive.id] = str(error) if error else ""

    async def _run(self, function: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
