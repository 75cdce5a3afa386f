"""The disks of a product that runs: each exchange by a task of its own, so that no bay waits for another one's disk.

What QEMU has is asked of QEMU whenever something may have changed; nothing is remembered but what has failed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Optional

from hal_core.errors import HalError, HostError, QmpDisconnected
from hal_core.patience import Patience
from hal_core.qmp import Event, Session
from hal_udev.disks import bays, difference, ioerrors, kernellog, qemu, replan
from hal_udev.disks.bays import Bay, Bays
from hal_udev.disks.difference import Found, Step
from hal_udev.disks.present import DiskHardware, Present

logger = logging.getLogger(__name__)

_PLAN = "a new plan"
_PLANNING_TAKES = 5  # times that it is asked for: 15 seconds
_NEXT_START = "the product gets it at its next start"


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
        self._wake = wake
        self._run_dir = run_dir
        self._reason = reason
        self._bays: Optional[Bays] = None
        self._present: tuple[Present, ...] = ()
        self._found: dict[str, Found] = {}
        self._in_doubt = True
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._coming: dict[str, int] = {}  # by id: the set of descriptors of the disk that is being plugged in
        self._deleted: dict[str, asyncio.Event] = {}
        self._failures: dict[str, str] = {}  # by id: why it failed the last time
        self._patience = Patience()
        self._errors = ioerrors.Ledger()
        self._out_of_date = ""
        self._no_key = False

    def forget(self) -> None:
        """Whatever is known of QEMU may be wrong by now."""
        self._in_doubt = True

    async def lost(self) -> None:
        """There is no QEMU any more."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        self._failures.clear()
        self._patience = Patience()
        self._found.clear()
        self._errors.clear()
        self._in_doubt = True

    async def idle(self) -> None:
        """Wait until everything that has begun is done."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())

    async def follow(self, now: float) -> float:
        """Begin with what there is to do now, while QEMU runs.

        :return: monotonic seconds at which to call this again without being woken.
        :raise HalError: the plan, or QEMU, does not tell.
        """
        known = bays.read(self._run_dir)
        if known is None:
            return math.inf
        self._bays = known
        self._present = await self._run(self._hardware.look)
        while self._in_doubt:
            self._in_doubt = False
            try:
                self._found = await qemu.look(self._session, frozenset(self._coming.values()))
            except HalError:
                self._in_doubt = True
                raise
        self._no_key = not any(one.disk.hal_device for one in self._present)
        waiting = self._patience.waiting(now)
        for step in difference.steps(known, self._present, self._found, not self._no_key):
            if step.id not in self._tasks and step.id not in waiting:
                self._begin(step)
        self._plan(now)
        await self._log_errors(now)
        return min(self._patience.next_time(now), self._errors.next_time())

    def event(self, event: Event) -> bool:
        """Something has happened in QEMU; whether there is something to do about it now."""
        if event.name == "DEVICE_DELETED" and event.data.get("device") in self._deleted:
            self._deleted[event.data["device"]].set()
        elif event.name == "RESUME":  # what was removed meanwhile can be closed now
            self._in_doubt = True
            return True
        elif event.name == "BLOCK_IO_ERROR":
            error = ioerrors.from_event(event.data)
            if error:
                self._errors.note(error)
                return True
        return False

    def hear(self, device: dict[str, str]) -> None:
        """That udev has spoken is all that matters: the loop looks."""

    def told(self, connected: bool) -> list[dict[str, Any]]:
        """How it is with every slot: for ``hal udev status``."""
        known = self._bays or Bays()
        planned = {bay.id: bay for bay in known.bays}
        return [
            self._told(id_, planned.get(id_), self._found.get(id_), connected)
            for id_ in sorted(planned.keys() | self._found.keys(), key=_slot)
        ]

    def problems(self) -> list[str]:
        """What is not as it ought to be, beside the slots."""
        found = []
        if self._no_key:
            found.append("which disk HAL runs from is not known: no disk is plugged in while the product runs")
        wait = self._patience.of(_PLAN)
        if wait and wait.failures > _PLANNING_TAKES:
            found.append(f"{self._out_of_date}, and hal-vmm has not planned anew: journalctl -u hal-qemu-plan")
        return found

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
        wait = self._patience.of(id_)
        if wait:
            return "retrying", f"{self._failures.get(id_, '')}; again after {wait.pause:g} s"
        if id_ in self._tasks:
            return "changing", ""
        if bay and found and difference.is_right(bay, found, self._present):
            return "attached", ""
        if found and not difference.is_behind(found, self._present):
            if self._bays and self._bays.hot_swap:
                return "changing", "it was pulled out"
            text = "it was pulled out, and the product, whose disks cannot be exchanged while it runs, has I/O errors"
            return "pulled", f"{text}; {'another disk is there: ' + _NEXT_START if bay else 'nothing is in its place'}"
        if found:
            return "next start", f"another plan: {_NEXT_START}"
        if bay and not (self._bays and self._bays.hot_swap):
            return "next start", f"it came while the product was running: {_NEXT_START}"
        return "waiting", self._out_of_date

    def _plan(self, now: float) -> None:
        """Have hal-vmm plan anew, where the plan is about other disks than those that are there."""
        known = self._bays or Bays()
        # What udev is not through with has no identity yet: it would be taken for a disk that was never here.
        settled = all(one.settled for one in self._present)
        self._out_of_date = difference.out_of_date(known, self._present)
        if not self._out_of_date:
            self._patience.tried(_PLAN, False, now)
        elif settled and not self._no_key and _PLAN not in self._patience.waiting(now):
            if self._patience.of(_PLAN) is None:
                logger.info("%s: asking hal-vmm for a new plan", self._out_of_date)
            self._patience.tried(_PLAN, True, now)
            replan.ask(self._run_dir, self._out_of_date)

    def _begin(self, step: Step) -> None:
        task = asyncio.create_task(self._do(step))
        self._tasks[step.id] = task
        task.add_done_callback(lambda _: self._wake())

    async def _do(self, step: Step) -> None:
        now = asyncio.get_running_loop().time
        try:
            if step.remove:
                await self._remove(step.remove)
                self._errors.forget(step.id)
                logger.warning("slot %s: %s", step.id[len("disk") :], _farewell(step.remove))
            if step.add:
                await self._add(*step.add)
                logger.info("slot %s: %s", step.id[len("disk") :], _welcome(step.add[1]))
        except QmpDisconnected as error:
            logger.debug("%s: %s", step.id, error)
        except HalError as error:
            if self._failures.get(step.id) != str(error):
                logger.error("slot %s: %s", step.id[len("disk") :], error)
            self._failures[step.id] = str(error)
            self._patience.tried(step.id, True, now())
        else:
            self._failures.pop(step.id, None)
            self._patience.tried(step.id, False, now())
        finally:
            self._in_doubt = True
            self._tasks.pop(step.id, None)

    async def _add(self, bay: Bay, one: Present) -> None:
        self._coming[bay.id] = difference.fdset(one.number)
        try:
            fd = await self._run(self._hardware.open, one, bay.read_only)
            try:
                await qemu.add(self._session, bay, one.number, fd)
            finally:
                os.close(fd)
        finally:
            del self._coming[bay.id]
        if not await self._run(self._hardware.is_there, one):
            raise HostError(f"{one.disk.path} was pulled out while it was being plugged in")

    async def _remove(self, found: Found) -> None:
        deleted = self._deleted[found.id] = asyncio.Event()  # before QEMU is told, or its word might come too early
        try:
            await qemu.remove(self._session, found, deleted)
        finally:
            del self._deleted[found.id]

    async def _log_errors(self, now: float) -> None:
        names = {id_: found.source for id_, found in self._found.items()}
        for drive, text in self._errors.due(now).items():
            disk = next((one.disk for one in self._present if names.get(drive) in (one.number, one.disk.path)), None)
            kernel = await self._run(self._reason, disk.name) if disk else ""
            what = f"{disk.path}, {disk.model} {disk.serial}" if disk else "no longer there"
            said = f"; the host's kernel: {kernel}" if kernel else ""
            logger.error("slot %s (%s): %s: reported to the product%s", drive.lstrip("diskv"), what, text, said)

    async def _run(self, function: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def _slot(id_: str) -> int:
    return int(id_[len("disk") :])


def _farewell(found: Found) -> str:
    return f"the disk was pulled out (it was {found.source or 'half pulled already'}): the product has lost it"


def _welcome(one: Present) -> str:
    disk = one.disk
    return f"the product has {disk.path} now: {disk.vendor} {disk.model}, serial {disk.serial or 'unknown'}"
