"""The disks of a product that runs: each exchange by a task of its own, so that no bay waits for another one's disk.

What QEMU has is asked of QEMU whenever something may have changed; nothing is remembered but what has failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any, Optional

from hal_core.errors import HalError, HostError
from hal_core.qmp import Event, Session
from hal_core.replan import Planning
from hal_udev.disks import bays, difference, ioerrors, kernellog, qemu, states
from hal_udev.disks.bays import Bay, Bays
from hal_udev.disks.difference import Found, Step
from hal_udev.disks.notice import Notice
from hal_udev.disks.present import DiskHardware, Present
from hal_udev.plan import planfile
from hal_udev.resident.errands import Errands
from hal_udev.resident.opened import opened

logger = logging.getLogger(__name__)


class DisksRoom:
    """:param threads: for what blocks: sysfs, opening nodes. :param wake: called when something was done, or failed.

    :param reason: the kernel's words about a disk; a test has others.
    """

    name = "disks"

    def __init__(
        self,
        session: Session,
        hardware: DiskHardware,
        threads: Executor,
        wake: Callable[[], None],
        run_dir: str,
        reason: Callable[[str], str] = kernellog.reason,
    ) -> None:
        self._session = session
        self._hardware = hardware
        self._threads = threads
        self._run_dir = run_dir
        self._reason = reason
        self._plan = planfile.Reader(run_dir, bays.parse)
        self._bays = Bays()
        self._present: tuple[Present, ...] = ()
        self._found: dict[str, Found] = {}
        self._in_doubt = True
        self._errands = Errands(wake)
        self._coming: dict[str, int] = {}  # by id: the set of descriptors of the disk that is being plugged in
        self._deleted: dict[str, asyncio.Event] = {}
        self._planning = Planning(run_dir, "udev")
        self._notice = Notice()
        self._errors = ioerrors.Ledger()
        self._no_key = False

    def forget(self) -> None:
        """Whatever is known of QEMU may be wrong by now."""
        self._in_doubt = True

    async def stop(self) -> None:
        """Give up what has begun: the next resident sees what there is."""
        await self._errands.stop()

    async def lost(self) -> None:
        """There is no QEMU any more."""
        await self.stop()
        self._planning = Planning(self._run_dir, "udev")
        self._notice = Notice()
        self._found.clear()
        self._errors.clear()
        self._in_doubt = True

    async def idle(self) -> None:
        """Wait until everything that has begun is done."""
        await self._errands.idle()

    async def follow(self, now: float) -> float:
        """Begin with what there is to do now, while QEMU runs.

        :return: monotonic seconds at which to call this again without being woken.
        :raise HalError: the plan, or QEMU, does not tell.
        """
        known = self._plan.read()
        if known is None:
            return math.inf
        self._bays = known
        self._present = await self._run(self._hardware.look)
        while self._in_doubt:
            self._in_doubt = False
            try:
                self._found = await qemu.look(self._session, self._coming)
            except HalError:
                self._in_doubt = True
                raise
        self._no_key = not any(one.disk.hal_device for one in self._present)
        steps = difference.steps(known, self._present, self._found, not self._no_key)
        self._errands.only({step.id for step in steps})
        for step in steps:
            if self._errands.may_begin(step.id, now):
                self._errands.begin(step.id, _slot_name(step.id), functools.partial(self._do, step))
        # What udev is not through with has no identity yet: it would be taken for a disk that was never here.
        settled = all(one.settled for one in self._present)
        reason = difference.out_of_date(known, self._present)
        self._planning.follow(reason, settled and not self._no_key, now)
        await self._log_errors(now)
        await self._announce_again(now)
        times = [each.next_time(now) for each in (self._errands, self._planning, self._notice)]
        return min(*times, self._errors.next_time())

    def event(self, event: Event) -> bool:
        """Something has happened in QEMU; whether there is something to do about it now."""
        if event.name == "DEVICE_DELETED":
            if event.data.get("device") in self._deleted:
                self._deleted[event.data["device"]].set()
            self._in_doubt = True
            return True
        if event.name == "RESUME":  # what was removed meanwhile can be closed now
            self._in_doubt = True
            return True
        if event.name == "BLOCK_IO_ERROR":
            error = ioerrors.from_event(event.data)
            return error is not None and self._errors.note(error)
        return False

    def hear(self, device: dict[str, str]) -> None:
        """That udev has spoken is all that matters: whoever calls this has us look."""

    def told(self, connected: bool) -> list[dict[str, Any]]:
        """How it is with every slot: for ``hal udev status``."""
        planned = {bay.id: bay for bay in self._bays.bays}
        return [
            self._told(id_, planned.get(id_), self._found.get(id_), connected)
            for id_ in sorted(planned.keys() | self._found.keys(), key=_slot)
        ]

    def problems(self) -> list[str]:
        """What is not as it ought to be, beside the slots."""
        no_key = "which disk HAL runs from is not known: no disk is plugged in while the product runs"
        return [line for line in (no_key * self._no_key, self._planning.problem()) if line]

    def _told(self, id_: str, bay: Optional[Bay], found: Optional[Found], connected: bool) -> dict[str, Any]:
        one = difference.disk_of(bay, self._present) if bay else None
        count, last = self._errors.of(id_)
        state, reason = self._state(id_, bay, found) if connected else ("no product", "")
        if connected and count and state == "attached":
            state, reason = "errors", f"{count} I/O errors, the last one: {last}"
        return {
            "id": id_,
            "host": one.disk.path if one else bay.host if bay else "",
            "name": " ".join(filter(None, (one.disk.vendor, one.disk.model))) if one else "",
            "serial": one.disk.serial if one else "",
            "place": one.disk.by_path if one else "",
            "state": state,
            "reason": reason,
            "io_errors": count,
        }

    def _state(self, id_: str, bay: Optional[Bay], found: Optional[Found]) -> tuple[str, str]:
        failure = self._errands.failure(id_)
        if failure:
            return "retrying", failure
        if id_ in self._errands:
            return "changing", ""
        state = states.state(bay, found, self._bays, self._present, self._planning.reason)
        announced = self._notice.announced(id_)
        return states.unseen(announced) if state[0] == "attached" and announced > 1 else state

    async def _do(self, step: Step) -> None:
        name = _slot_name(step.id)
        try:
            if step.remove:
                await self._remove(step.remove)
                self._errors.forget(step.id)
                logger.warning("%s: %s", name, _farewell(step.remove))
            if step.add:
                await self._add(*step.add)
                logger.info("%s: %s", name, _welcome(step.add[1]))
        finally:
            self._notice.forget(step.id)
            self._in_doubt = True

    async def _announce_again(self, now: float) -> None:
        """A disk that was plugged in while the product ran, and that it has not seen, is announced once more."""
        # One that is being announced is out for a moment: that is no reason to begin anew with it.
        plugged = {bay.id: bay for bay in self._bays.bays if bay.id in self._errands or self._was_plugged_in(bay)}
        ids = plugged.keys()
        read = ids if self._notice.knows(ids) else await qemu.read(self._session)
        for id_ in self._notice.follow(ids, read, now):
            bay = plugged[id_]
            if self._errands.may_begin(id_, now) and not await self._is_busy(bay):
                self._notice.announce(id_, now)
                logger.info("%s: the product has not looked at %s: announcing it once more", _slot_name(id_), bay.host)
                self._errands.begin(id_, _slot_name(id_), functools.partial(self._announce, bay))

    async def _is_busy(self, bay: Bay) -> bool:
        """The product's first read counts when it has ended, and a QEMU that is to take a disk away stands still until
        then: with a disk that fails, for a minute.
        """
        one = difference.disk_of(bay, self._present)
        return one is not None and bool(await self._run(self._hardware.is_busy, one))

    def _was_plugged_in(self, bay: Bay) -> bool:
        """While the product ran: what the launcher has opened was there before, and was looked for."""
        found = self._found.get(bay.id)
        if found is None or bay.device is None or not difference.number_of(found.fdset):
            return False
        return difference.is_right(bay, found, self._present)

    async def _announce(self, bay: Bay) -> None:
        try:
            with self._word(bay.id) as deleted:
                await qemu.withdraw(self._session, bay.id, deleted)
            await qemu.announce(self._session, bay)
        finally:
            self._in_doubt = True

    async def _add(self, bay: Bay, one: Present) -> None:
        self._coming[bay.id] = difference.fdset(one.number)
        try:
            async with opened(self._threads, self._hardware.open, one, bay.read_only) as fd:
                await qemu.add(self._session, bay, one.number, fd)
        finally:
            del self._coming[bay.id]
        if not await self._run(self._hardware.is_there, one):
            raise HostError(f"{one.disk.path} was pulled out while it was being plugged in")

    async def _remove(self, found: Found) -> None:
        with self._word(found.id) as deleted:
            await qemu.remove(self._session, found, deleted)

    @contextlib.contextmanager
    def _word(self, id_: str) -> Iterator[asyncio.Event]:
        """Set when QEMU has let go of that disk. To be had before QEMU is told: its word might come too early."""
        deleted = self._deleted[id_] = asyncio.Event()
        try:
            yield deleted
        finally:
            del self._deleted[id_]

    async def _log_errors(self, now: float) -> None:
        for id_, text in self._errors.due(now).items():
            found = self._found.get(id_)
            disk = next((one.disk for one in self._present if found and difference.is_of(found, one)), None)
            kernel = await self._run(self._reason, disk.name) if disk else ""
            what = f"{disk.path}, {disk.model} {disk.serial}" if disk else "no longer there"
            said = f"; the host's kernel: {kernel}" if kernel else ""
            logger.error("%s (%s): %s: reported to the product%s", _slot_name(id_), what, text, said)

    async def _run(self, function: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def _slot(id_: str) -> int:
    return int(id_[len("disk") :])


def _slot_name(id_: str) -> str:
    return f"slot {_slot(id_)}"


def _farewell(found: Found) -> str:
    return f"the disk was pulled out (it was {found.source or 'half pulled already'}): the product has lost it"


def _welcome(one: Present) -> str:
    disk = one.disk
    name = " ".join(filter(None, (disk.vendor, disk.model)))
    return f"the product has {disk.path} now: {name}, serial {disk.serial or 'unknown'}"
