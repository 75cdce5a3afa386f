"""The loop of ``hal-netcfg run``: look, show the product its cables, put right what is wrong, wait to be woken.

Nothing is remembered that matters: kill it at any moment, and the next one looks at the same kernel and goes on. What
it keeps between two looks is what it told QEMU, which failures it waits out, and what it has logged already.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from hal_core import config, qmp
from hal_core.errors import HalError, QmpDisconnected, QmpError, QmpTimeout
from hal_core.patience import Patience
from hal_core.qmp import Session
from hal_core.replan import Planning
from hal_netcfg.config import NetcfgConfig
from hal_netcfg.engine import Engine, Sight
from hal_netcfg.links.apply import Outcome
from hal_netcfg.plan.network import HostLink, Network
from hal_netcfg.resident import events, files, mirror
from hal_netcfg.resident.mirror import Shown
from hal_netcfg.resident.report import CONFIG, FIREWALL, NETWORK, PLAN, Report
from hal_netcfg.statusfile import STATUS

logger = logging.getLogger(__name__)
T = TypeVar("T")

# Events wake the loop within milliseconds. This is for what raises none: br_netfilter being loaded, say; and files.
LONGEST_REST_SECONDS = 30.0
GLANCE_SECONDS = 5.0  # between two looks at whether a file is new


class Loop:
    """:param tell: tells systemd, as sd_notify(3) does: "READY=1" once everything is up, as far as it can be."""

    def __init__(self, engine: Engine, run_dir: str, tell: Callable[[str], None]) -> None:
        self._engine = engine
        self._run_dir = run_dir
        self._tell = tell
        self._session = Session(os.path.join(run_dir, "qmp", "netcfg"), "netcfg")
        self._again = asyncio.Event()
        self._look_at = -math.inf  # monotonic: not to be looked at before
        self._firewall_touched = True
        self._shown: dict[int, Shown] = {}
        self._patience = Patience()
        self._planning = Planning(run_dir, "netcfg")
        self._report = Report(STATUS.path(run_dir))
        self._sight = Sight({}, Network((), HostLink(), planned=False))  # the last one
        # pyroute2 and nft are synchronous: one thread, so that the QEMU side never waits for them.
        self._thread = ThreadPoolExecutor(1, "kernel")
        self._stopping = False
        self._reload = False  # somebody wants hal.toml read again, which has not been tried yet
        self._unread = False  # it has, and hal.toml is wrong

    def stop(self) -> None:
        self._stopping = True
        self._again.set()

    def reload(self) -> None:
        """hal.toml is to be read again."""
        self._reload = True
        self._again.set()

    async def run(self) -> None:
        """Until :meth:`stop`.

        :raise HostError: the kernel's events cannot be heard.
        """
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            for sock, firewall in ((events.interfaces(), False), (events.firewall(), True)):
                stack.callback(sock.close)
                loop.add_reader(sock, self._woken, sock, firewall)
                stack.callback(loop.remove_reader, sock)
            qemu = asyncio.create_task(qmp.keep(self._session, self._with_qemu))
            try:
                await self._rounds()
            finally:
                qemu.cancel()
                await asyncio.gather(qemu, return_exceptions=True)
                await self._session.close()
                self._thread.shutdown()

    async def _rounds(self) -> None:
        loop = asyncio.get_running_loop()
        told = -math.inf
        while not self._stopping:
            self._again.clear()
            seen = files.stamp(self._run_dir)
            await self._round()
            if loop.time() - told >= GLANCE_SECONDS:
                self._tell("WATCHDOG=1" if told > -math.inf else "READY=1")
                told = loop.time()
            await self._rest(min(loop.time() + LONGEST_REST_SECONDS, self._look_at), seen)

    async def _rest(self, until: float, seen: files.Stamp) -> None:
        """Until then, or until something happens."""
        loop = asyncio.get_running_loop()
        while not self._stopping and loop.time() < until and files.stamp(self._run_dir) == seen:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._again.wait(), min(GLANCE_SECONDS, until - loop.time()))
                return

    async def _round(self) -> None:
        now = asyncio.get_running_loop().time()
        self._look_at = math.inf
        self._configure()
        try:
            sight = await self._in_thread(self._engine.look)
        except HalError as error:
            self._report.problem(NETWORK, str(error))
        else:
            self._sight = sight
            self._report.seen(sight, {group.name for group in self._engine.groups(sight)})
            await self._show(sight, now)
            self._report.outcomes(await self._in_thread(lambda: self._put_right(sight, now)))
            self._plan(sight, now)
            self._look_at = min(self._look_at, self._patience.next_time(now), self._planning.next_time(now))
        told = {number: shown.up if shown.has_nic else None for number, shown in self._shown.items()}
        self._report.write(self._sight, told)

    def _configure(self) -> None:
        """Read hal.toml where that is due. With a mistake in it the network is kept as it was configured before."""
        if not self._reload and not self._unread:
            return
        self._reload, self._unread = False, True
        try:
            self._engine.configure(config.load(NetcfgConfig, "netcfg"))
        except HalError as error:
            self._report.problem(CONFIG, f"{error}; what was configured before holds")
            return
        self._unread = False
        self._report.resolved(CONFIG)
        logger.info("hal.toml: read again")

    def _plan(self, sight: Sight, now: float) -> None:
        """Ask hal-vmm for a new plan where a NIC has come that it does not know: until then it leads nowhere."""
        new = sight.network.unplanned
        self._planning.follow(f"new NICs: {', '.join(new)}" if new else "", True, now)
        if self._planning.problem():
            self._report.problem(PLAN, self._planning.problem())
        else:
            self._report.resolved(PLAN)

    def _put_right(self, sight: Sight, now: float) -> tuple[Outcome, ...]:
        """In the thread: the firewall, and then everything that is not being waited out."""
        try:
            with self._engine.alone():
                if self._reload:
                    return ()  # what was seen is out of date: somebody has applied another hal.toml meanwhile
                outcomes = (Outcome(NETWORK), *self._guard(sight, now))
                # Nothing new comes up without a firewall; what is up stays up.
                if all(not outcome.problem for outcome in outcomes) and FIREWALL not in self._patience.waiting(now):
                    outcomes += self._engine.apply(sight, self._patience.waiting(now))
        except (HalError, OSError) as error:
            outcomes = (Outcome(NETWORK, problem=str(error)),)
        for outcome in outcomes:
            self._patience.tried(outcome.group, bool(outcome.problem) and not outcome.postponed, now)
        return outcomes

    def _guard(self, sight: Sight, now: float) -> tuple[Outcome, ...]:
        if FIREWALL in self._patience.waiting(now):
            return ()
        touched, self._firewall_touched = self._firewall_touched, False
        try:
            loaded = self._engine.guard(sight, touched)
        except HalError as error:
            self._firewall_touched = True
            return (Outcome(FIREWALL, problem=str(error)),)
        if loaded:
            logger.info("the firewall: loaded")
        return (Outcome(FIREWALL),)

    async def _show(self, sight: Sight, now: float) -> None:
        """Tell QEMU which of the product's NICs have a link, where that has changed."""
        if not self._session.connected:
            return
        decision = mirror.decide(mirror.carriers(sight.network, sight.links), self._shown, now)
        self._look_at = min(self._look_at, decision.again)
        for number, up in decision.changes.items():
            try:
                await self._session.execute("set_link", {"name": f"lan-{number}", "up": up})
            except QmpDisconnected:
                return
            except QmpTimeout as error:
                logger.debug("lan-%d: %s", number, error)
                return  # it may not even have been sent: the next look sends it again
            except QmpError as error:
                logger.debug("lan-%d: %s", number, error)
                self._shown[number] = Shown(up, now, has_nic=False)
            else:
                logger.info("LAN %d: the product's NIC has %s link", number, "a" if up else "no")
                self._shown[number] = Shown(up, now)

    async def _with_qemu(self, session: Session) -> None:
        """A QEMU has come: it knows nothing of cables yet."""
        self._shown.clear()
        self._again.set()
        await session.lost()
        self._shown.clear()
        self._again.set()

    def _woken(self, sock: socket.socket, firewall: bool) -> None:
        events.drain(sock)
        self._firewall_touched = self._firewall_touched or firewall
        self._again.set()

    async def _in_thread(self, what: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, what)
