"""The loop of ``hal-udev run``: look what is plugged in, look what QEMU has, begin with the difference, wait.

Nothing is remembered that matters: kill it at any moment, and the next one looks at the same server and the same QEMU,
and goes on. Only which port of the server's is which of the product's is on disk, and in /run which tokens look like
keyboards, since nothing else tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Optional, Protocol

from hal_core import config, qmp
from hal_core.errors import HalError, QmpDisconnected
from hal_core.qmp import Event, Session
from hal_udev.config import UdevConfig
from hal_udev.hardware import Hardware
from hal_udev.plan import planfile, product, usbplan
from hal_udev.plan.usbplan import Planned, UsbPlan
from hal_udev.resident import qemu
from hal_udev.resident.pinned import Pinned
from hal_udev.resident.plugger import Plugger
from hal_udev.resident.remembered import Remembered
from hal_udev.resident.report import Report, Told
from hal_udev.resident.rooms import Maker, Rooms
from hal_udev.statusfile import STATUS

logger = logging.getLogger(__name__)

# Events wake the loop within milliseconds. This is for what raises none: a device that QEMU has lost, hal-console's
# word about the keyboard, a plan of hal-vmm's that is new.
LONGEST_REST_SECONDS = 5.0
# How long udev's word is waited for, before a device is taken without: its database may be gone, or udev may hang.
UDEV_SECONDS = 2.0
# Between attempts to reach a QEMU that is just being started.
_LONGEST_PAUSE_SECONDS = 0.25
_THREADS = 8

_QEMU, _CONFIG, _HARDWARE = "QEMU", "hal.toml", "the hardware"


class Woken(Protocol):
    """What wakes the loop: :class:`hal_udev.resident.events.Events`."""

    def fileno(self) -> int: ...

    def drain(self) -> list[dict[str, str]]: ...


class Loop:
    """Make it, and run it, within one running event loop.

    :param tell: tells systemd, as sd_notify(3) does.
    :param session: QEMU; a test has one of its own. :param rooms: what else there is to look after.
    """

    def __init__(
        self,
        hardware: Hardware,
        settings: UdevConfig,
        run_dir: str,
        tell: Callable[[str], None],
        session: Optional[Session] = None,
        rooms: Sequence[Maker] = (),
    ) -> None:
        self._hardware = hardware
        self._settings = settings
        self._run_dir = run_dir
        self._tell = tell
        self._session = session or Session(os.path.join(run_dir, "qmp", "udev"), "udev", self._event)
        self._again = asyncio.Event()
        self._threads = ThreadPoolExecutor(_THREADS, "devices")
        self._plugger = Plugger(self._session, hardware, self._threads, self._again.set)
        self._report = Report(STATUS.path(run_dir))
        self._rooms = Rooms(rooms, self._session, run_dir, self._report, self._write)
        self._connected = False
        self._stopping = False
        self._configured = False
        self._pinned = Pinned(self._report)
        self._remembered = Remembered(self._report, run_dir)
        self._plan = planfile.Reader(run_dir, product.parse)
        self._product = product.NOTHING
        self._last: tuple[list[Told], tuple[str, ...]] = ([], ())  # what was told last
        self._first_seen: dict[int, float] = {}  # by plugging-in: monotonic seconds

    def stop(self) -> None:
        self._stopping = True
        self._again.set()

    def reload(self) -> None:
        """hal.toml is to be read again."""
        self._configured = False
        self._again.set()

    async def run(self, events: Woken) -> None:
        """Until :meth:`stop`."""
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            loop.add_reader(events.fileno(), self._woken, events)
            stack.callback(loop.remove_reader, events.fileno())
            keeping = asyncio.create_task(qmp.keep(self._session, self._with_qemu, _LONGEST_PAUSE_SECONDS))
            try:
                await self._rounds()
            finally:
                # What has begun is ended: a device half plugged in is seen by the next one, but there is no hurry.
                busy = asyncio.gather(self._plugger.idle(), self._rooms.idle())
                await asyncio.wait({busy}, timeout=qemu.DEADLINE)
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
                await self._plugger.lost()
                await self._rooms.end(gone=False)
                await self._session.close()
                self._rooms.close()
                self._threads.shutdown()

    async def _rounds(self) -> None:
        loop = asyncio.get_running_loop()
        told = -math.inf
        while not self._stopping:
            self._again.clear()
            until = min(await self.round(), loop.time() + LONGEST_REST_SECONDS)
            if loop.time() - told >= LONGEST_REST_SECONDS:
                self._tell("WATCHDOG=1" if told > -math.inf else "READY=1")
                told = loop.time()
            if not self._stopping:
                try:
                    await asyncio.wait_for(self._again.wait(), max(0.0, until - loop.time()))
                except asyncio.TimeoutError:
                    self._plugger.forget()  # nothing has happened for a while: see whether that is so

    async def round(self) -> float:
        """One look, and what follows from it.

        :return: monotonic seconds at which to look again without being woken; infinity: never.
        """
        loop = asyncio.get_running_loop()
        now, again = loop.time(), math.inf
        self._rooms.check()
        self._configure()
        try:
            devices = await loop.run_in_executor(self._threads, self._hardware.look)
            self._remembered.keep(self._hardware.tokens)
            self._product = self._plan.read() or product.NOTHING
            around = self._hardware.surroundings(self._run_dir, self._product.com_ports)
            plan = usbplan.plan(devices, self._settings, around, self._product.buses, self._pinned.pins)
        except HalError as error:
            self._report.problem(_HARDWARE, str(error))
            self._write()
            return now + UDEV_SECONDS
        self._report.resolved(_HARDWARE)
        self._pinned.keep(plan.pins)
        unsettled = self._unsettled(plan, now)
        if self._connected:
            try:
                again = await self._plugger.follow(plan, unsettled, now)
                self._report.resolved(_QEMU)
            except QmpDisconnected:
                pass  # _with_qemu is told, too
            except HalError as error:
                self._report.problem(_QEMU, str(error))
                again = now + UDEV_SECONDS
        self._last = [self._told(one, unsettled) for one in plan.devices], plan.notes
        self._write()
        return min([again, *(self._first_seen[number] + UDEV_SECONDS for number in unsettled)])

    def _told(self, planned: Planned, unsettled: frozenset[int]) -> Told:
        if planned.keep:
            return Told(planned, "kept", planned.rule)
        has = self._connected and self._plugger.has(planned)
        if planned.fdset in unsettled and not has:
            return Told(planned, "waiting", "")
        if planned.problem and not has:
            return Told(planned, "no place", planned.problem)
        if not self._connected:
            return Told(planned, "no product", "")
        return Told(planned, *self._plugger.state(planned))

    def _unsettled(self, plan: UsbPlan, now: float) -> frozenset[int]:
        """Those with which the kernel and udev are not through, for as long as that is worth waiting for."""
        numbers = {planned.fdset: planned.device for planned in plan.devices if planned.place}
        self._first_seen = {number: self._first_seen.get(number, now) for number in numbers}
        return frozenset(
            number
            for number, device in numbers.items()
            if now < self._first_seen[number] + UDEV_SECONDS and not self._hardware.is_settled(device)
        )

    def _configure(self) -> None:
        if self._configured:
            return
        self._configured = True
        try:
            self._settings = config.load(UdevConfig, "udev")
            self._report.resolved(_CONFIG)
        except HalError as error:
            self._report.problem(_CONFIG, f"{error}; the rules of before hold")

    async def _with_qemu(self, session: Session) -> None:
        """A QEMU has come: it has nothing of ours, or what the last resident has plugged in."""
        self._plugger.forget()
        self._connected = True
        self._again.set()
        self._rooms.begin()
        try:
            await session.lost()
        finally:
            self._connected = False
            await self._plugger.lost()
            await self._rooms.end(gone=not session.connected)  # otherwise it is we who end
            self._again.set()

    def _event(self, event: Event) -> None:
        if event.name == "DEVICE_DELETED":
            self._plugger.forget()
            self._again.set()
        elif event.name == "RESUME":
            self._plugger.untidy()
            self._again.set()
        self._rooms.event(event)

    def _woken(self, events: Woken) -> None:
        self._rooms.hear(events.drain())
        self._again.set()

    def _write(self) -> None:
        self._report.write(*self._last, self._connected, self._rooms.told(self._connected))
