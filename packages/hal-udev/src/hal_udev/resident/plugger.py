"""Plugs and unplugs: each device by a task of its own, so that none waits for another that fails.

What QEMU has is asked of QEMU, and remembered only until something may have changed. An attach counts when QEMU shows
the device to the product, it is still the one that is in that port, and no driver of the host's has it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Container
from concurrent.futures import Executor
from typing import Optional

from hal_core.errors import HalError, HostError, QmpDisconnected, QmpError
from hal_core.patience import Patience
from hal_core.qmp import Session
from hal_udev.hardware import Hardware
from hal_udev.plan.difference import Found, Step, host_drivers, is_right, steps
from hal_udev.plan.usbplan import Planned, UsbPlan
from hal_udev.resident import qemu
from hal_udev.resident.opened import opened

logger = logging.getLogger(__name__)

# Between two attempts with one device. QEMU (7.2) forgets to close a descriptor whenever it refuses a device.
LONGEST_SECONDS = 300.0


class Plugger:
    """:param threads: for what blocks: opening nodes, and drivers that let go.

    :param wake: called when something has been done, or has failed.
    """

    def __init__(self, session: Session, hardware: Hardware, threads: Executor, wake: Callable[[], None]) -> None:
        self._session = session
        self._hardware = hardware
        self._threads = threads
        self._wake = wake
        self._found: dict[str, Found] = {}  # by id: what QEMU has
        self._in_doubt = True  # QEMU has to be asked
        self._untidy = True  # QEMU may have descriptors that nobody needs any more
        self._news: dict[str, Optional[Found]] = {}  # what was done while it was being asked; None: removed
        self._since: dict[str, float] = {}  # by id: monotonic seconds at which we have plugged it in
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._reasons: dict[str, str] = {}  # by id: why it failed the last time
        self._generations: dict[str, int] = {}  # by id: which plugging-in that was
        self._patience = Patience(LONGEST_SECONDS)

    def forget(self) -> None:
        """Whatever is known of QEMU may be wrong by now."""
        self._in_doubt = True

    def untidy(self) -> None:
        """QEMU may have descriptors that nobody needs any more: see :func:`hal_udev.resident.qemu.tidy`."""
        self._untidy = True

    async def lost(self) -> None:
        """There is no QEMU any more: nothing is plugged in anywhere, and nothing has failed."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        self._reasons.clear()
        self._patience = Patience(LONGEST_SECONDS)
        self._found.clear()
        self._in_doubt = self._untidy = True

    async def follow(self, plan: UsbPlan, hold: Container[int], now: float) -> float:
        """Begin with what there is to do now.

        :param plan: for what was plugged in at ``now``, or later.
        :param hold: which are not to be plugged in yet, by their plugging-in; those that are plugged in stay so.
        :return: monotonic seconds at which to call this again without being woken.
        :raise QmpError: QEMU does not tell what it has.
        """
        if self._untidy and not self._tasks:
            await qemu.tidy(self._session)
            self._untidy = False
        if self._in_doubt:
            await self._ask()
        self._patience_with(plan)
        waiting = self._patience.waiting(now)
        for step in steps(plan, self._found):
            held = step.add is not None and step.add.fdset in hold
            if step.id not in self._tasks and step.id not in waiting and not held:
                self._begin(step)
        self._look_after(plan, now)
        return self._patience.next_time(now)

    def has(self, planned: Planned) -> bool:
        """The product has this device."""
        found = self._found.get(planned.id)
        return found is not None and is_right(planned, found)

    def state(self, planned: Planned) -> tuple[str, str]:
        """How it is with one device, and why: see ``STATES`` of ``hal udev status``."""
        wait = self._patience.of(planned.id)
        if planned.id in self._tasks:
            return "attaching", self._reasons.get(planned.id, "")
        if wait:
            tried = "once" if wait.failures == 1 else f"{wait.failures} times"
            return "retrying", f"{self._reasons[planned.id]}; failed {tried}, again after {wait.pause:g} s"
        return ("attached", "") if self.has(planned) else ("attaching", "")

    async def idle(self) -> None:
        """Wait until everything that has begun is done."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())

    async def _ask(self) -> None:
        self._in_doubt = False
        self._news.clear()
        try:
            found = await qemu.look(self._session)
        except QmpError:
            self._in_doubt = True
            raise
        # A task that has finished meanwhile knows better what it has done.
        found.update({id_: one for id_, one in self._news.items() if one})
        self._found = {id_: one for id_, one in found.items() if self._news.get(id_, one)}

    def _patience_with(self, plan: UsbPlan) -> None:
        """Something else in the same port, or nothing: that has not failed yet."""
        generations = {planned.id: planned.fdset for planned in plan.devices if planned.place}
        for id_ in [*self._reasons]:
            if self._generations.get(id_) != generations.get(id_):
                self._patience.tried(id_, False, 0)
                del self._reasons[id_]
        self._generations = generations

    def _begin(self, step: Step) -> None:
        task = asyncio.create_task(self._do(step))
        self._tasks[step.id] = task
        task.add_done_callback(lambda _: self._wake())

    async def _do(self, step: Step) -> None:
        now = asyncio.get_running_loop().time
        try:
            if step.remove:
                await qemu.remove(self._session, step.id)
                self._known(step.id, None)
            if step.give_back:
                await self._give_back(step.give_back)
            if step.add:
                await self._add(step.add)
                self._known(step.id, Found(step.add.fdset, True, step.add.place))
        except QmpDisconnected as error:
            logger.debug("%s: %s", step.id, error)
            self.forget()
        except HalError as error:
            self._failed(step.id, str(error), now())
            self.forget()  # QEMU may have done it, or half of it
        else:
            self._reasons.pop(step.id, None)
            self._patience.tried(step.id, False, now())
        finally:
            self._tasks.pop(step.id, None)

    async def _add(self, planned: Planned) -> None:
        run = asyncio.get_running_loop().run_in_executor
        async with opened(self._threads, self._hardware.open, planned.device) as fd:
            await qemu.add(self._session, planned, fd)
        now_there = await run(self._threads, self._hardware.look_at, planned.device.port)
        if now_there is None or (now_there.bus, now_there.number) != (planned.device.bus, planned.device.number):
            await qemu.remove(self._session, planned.id)
            raise HostError("it was pulled out while it was being plugged in")

    async def _give_back(self, planned: Planned) -> None:
        """It is not in the product's way any more, whether or not a driver of the host's wants it."""
        run = asyncio.get_running_loop().run_in_executor
        try:
            await run(self._threads, self._hardware.give_back, planned.device)
        except HostError as error:
            logger.warning("%s: %s", planned.device.port, error)

    def _look_after(self, plan: UsbPlan, now: float) -> None:
        """The product has it, and a driver of the host's has it, too: once it may just be changing hands, not twice."""
        for planned in plan.devices:
            if planned.id in self._tasks or not planned.place or not self.has(planned):
                continue
            if self._since.get(planned.id, -math.inf) > now:
                continue  # what the plan knows of drivers may be from before
            drivers, wait = host_drivers(planned), self._patience.of(planned.id)
            if not drivers:
                self._reasons.pop(planned.id, None)
                self._patience.tried(planned.id, False, now)
            elif wait is None or wait.until <= now:
                self._failed(planned.id, f"the host's driver {', '.join(drivers)} has it, too", now)
                if wait:
                    self._begin(Step(planned.id, remove=True, add=planned))

    def _failed(self, id_: str, reason: str, now: float) -> None:
        self._reasons[id_] = reason
        self._patience.tried(id_, True, now)

    def _known(self, id_: str, found: Optional[Found]) -> None:
        self._news[id_] = found
        if found:
            self._found[id_] = found
            self._since[id_] = asyncio.get_running_loop().time()
        else:
            self._found.pop(id_, None)
