"""The guest manager: looks, decides one step, does it, remembers it; woken by events and once a second.

It owns no truth. QEMU's process, event journal and answers say what is; markers say what people want; the state file is
its memory. So it can be killed, restarted or upgraded at any moment, and the product does not notice.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from typing import Optional

from hal_core.errors import HalError
from hal_core.notify import notify
from hal_vmm.config import VmmConfig
from hal_vmm.manager import crashpolicy, dump, exitreason, pinning, seriallog, state
from hal_vmm.manager.decision import Sight, Step, end_reason, next_step
from hal_vmm.manager.describe import describe, is_news, rescue_text
from hal_vmm.manager.exitreason import Outcome
from hal_vmm.manager.heartbeat import AgentTransport, LineTransport, Transport
from hal_vmm.manager.host import Host
from hal_vmm.manager.lastexit import LastExit
from hal_vmm.manager.markers import Markers
from hal_vmm.manager.starter import Starter
from hal_vmm.manager.verdict import Health, Signals, judge
from hal_vmm.manager.watch import Watch
from hal_vmm.plan.pin import Pin

logger = logging.getLogger(__name__)

TICK = 1.0  # seconds between two looks at most, should anything go unannounced


class Manager:
    """Follows the one guest of this host.

    :param run_dir: what ends with this boot. :param state_dir: what outlives it.
    """

    def __init__(self, run_dir: str, state_dir: str, config: VmmConfig, starter: Starter, host: Host) -> None:
        self._run_dir = run_dir
        self._state_dir = os.path.join(state_dir, "vmm")
        self._last_exit = LastExit(self._state_dir)
        self._config = config
        self._starter = starter
        self._host = host
        self._markers = Markers(run_dir)
        self._state = state.load(run_dir)
        self._watch = Watch(run_dir)
        self._beats: list[asyncio.Task[None]] = []
        self._dump: Optional[asyncio.Task[None]] = None
        self._host_asked = False
        self._stopping = False
        self._saved = ""

    async def run(self) -> None:
        """Until :meth:`stop`. The product's QEMU is left as it is."""
        self._state.manager_pid = os.getpid()
        if not self._state.last_exit:
            self._state.last_exit = self._last_exit.read()
        notify("READY=1")
        while not self._stopping:
            self._watch.wake.clear()
            await self._watch.look(self._state.qemu_pid if self._state.answered_once else None)
            self._follow_run()
            seriallog.trim(self._run_dir)
            health, sight = self._see()
            step = next_step(sight)
            await self._try(step, sight)
            self._remember(sight, health)
            notify("WATCHDOG=1")
            if step in (Step.WAIT, Step.CONNECT):
                pause = min(TICK, health.look_again or TICK, max(0.0, sight.start_at - sight.now) or TICK)
                await self._pause(max(pause, 0.005))
        self._end_beats()
        await self._watch.close()

    def stop(self) -> None:
        """Make :meth:`run` return soon (signal handler)."""
        self._stopping = True
        self._watch.wake.set()

    def look_again(self) -> None:
        """Something has changed: do not wait for the next tick (signal handler)."""
        self._watch.wake.set()

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._watch.wake.wait(), seconds)
        except asyncio.TimeoutError:
            return

    # --- what is -------------------------------------------------------------------------------------------------

    def _follow_run(self) -> None:
        """Notice that another QEMU runs than the one remembered: a new run has begun."""
        memory, pid = self._state, self._watch.pid
        if pid is None:
            self._end_beats()
            if not memory.run_known:
                memory.qemu_pid = None  # the number may come again
            return
        if pid != memory.qemu_pid:
            now = time.monotonic()
            memory.qemu_pid, memory.run_known, memory.answered_once = pid, True, False
            memory.started = now
            memory.last_beat, memory.beats, memory.missed = None, {}, 0
            memory.condemned, memory.dumped, memory.crash_kernel_since = "", False, None
            memory.unclean = self._last_exit.begin_run()
            if not self._markers.stopped(pid):
                self._markers.clear_stopped()
        if not self._beats and memory.run_known:
            self._beats = [asyncio.create_task(self._listen(transport)) for transport in self._transports()]

    def _see(self) -> tuple[Health, Sight]:
        memory, watch, now = self._state, self._watch, time.monotonic()
        # Read after QEMU's state was asked for: whatever brought it into that state is in the journal by now.
        history = watch.journal.read()
        if history.crash_kernel and memory.crash_kernel_since is None:
            memory.crash_kernel_since = now
        crash_kernel_until = None
        if memory.crash_kernel_since is not None:
            crash_kernel_until = memory.crash_kernel_since + self._config.crash.dump_grace
        signals = Signals(
            now=now,
            status=watch.status,
            answered=watch.answered,
            running_since=watch.running_since,
            started=memory.started,
            last_beat=memory.last_beat,
            unclean=memory.unclean,
            maintenance_until=self._markers.maintenance_until(),
            dumping=self._dump is not None,
            crash_kernel_until=crash_kernel_until,
            panicked=history.panicked,
        )
        health = judge(signals, self._config.heartbeat, self._config.crash.hung_after)
        rescue = self._markers.rescue() is not None
        if memory.state == "rescue" and not rescue:  # `hal vmm start`: all is forgiven
            memory.crashes, memory.start_at = [], now
        sight = Sight(
            now=now,
            alive=watch.pid is not None,
            connected=watch.session.connected,
            status=watch.status,
            history=history,
            run_known=memory.run_known,
            answered_once=memory.answered_once,
            condemned=memory.condemned,
            dump_wanted=self._config.crash.dump and not memory.dumped,
            dumping=self._dump is not None,
            stopped=self._markers.stopped(watch.pid),
            rescue=rescue,
            host_is_ending=bool(memory.host_is_ending),
            start_at=memory.start_at,
            verdict=health.verdict,
        )
        return health, sight

    def _transports(self) -> list[Transport]:
        wanted = self._config.heartbeat.transport
        agent: Transport = AgentTransport(os.path.join(self._run_dir, "agent.sock"), self._config.heartbeat.interval)
        line: Transport = LineTransport(os.path.join(self._run_dir, "heartbeat.sock"))
        return [transport for transport in (agent, line) if wanted in (transport.name, "auto")]

    async def _listen(self, transport: Transport) -> None:
        def beat() -> None:
            if self._state.last_beat is None:
                logger.info("first heartbeat of this run (%s)", transport.name)
            self._state.last_beat = time.monotonic()
            self._state.beats[transport.name] = self._state.beats.get(transport.name, 0) + 1
            self._watch.wake.set()

        await transport.run(beat)

    def _end_beats(self) -> None:
        for task in self._beats:
            task.cancel()
        self._beats = []

    # --- what is done --------------------------------------------------------------------------------------------

    async def _try(self, step: Step, sight: Sight) -> None:
        """Do one step. What fails is logged and, because the sight has not changed, tried again after a pause."""
        try:
            await self._do(step, sight)
            await self._ask_host()
        except (HalError, OSError) as error:
            level = logging.DEBUG if step is Step.CONNECT else logging.ERROR
            logger.log(level, "%s: %s", step.value, error)
            await self._pause(TICK)

    async def _do(self, step: Step, sight: Sight) -> None:
        if step is Step.START:
            await self._start()
        elif step is Step.CONNECT:
            await self._connect()
        elif step is Step.RELEASE:
            await self._watch.session.execute("cont")
            await self._watch.ask()
        elif step is Step.KILL_HUNG:
            self._condemn(exitreason.HUNG)
        elif step is Step.KILL_SILENT:
            self._condemn(exitreason.SILENT)
        elif step is Step.DUMP:
            self._dump = asyncio.create_task(self._take_dump())
        elif step is Step.CONCLUDE:
            await self._conclude(sight)

    async def _start(self) -> None:
        """Launch QEMU."""
        try:
            await self._plan_if_needed()
            await self._starter.start()
        except HalError as error:
            logger.error("the product cannot be started: %s", error)
            outcome = Outcome.CRASH_RESTART.value
            self._state.last_exit = self._last_exit.note(exitreason.NOT_STARTED, outcome, 0.0, str(error))
            await self._count_crash(str(error))

    async def _plan_if_needed(self) -> None:
        """Plan before the first start, and after a start that failed. An old plan is better than no product."""
        planned = os.path.exists(os.path.join(self._run_dir, "qemu.json"))
        if planned and self._state.last_exit.get("reason") != exitreason.NOT_STARTED:
            return
        try:
            await self._starter.plan()
        except HalError as error:
            if not planned:
                raise
            logger.error("planning anew failed, the last plan is used: %s", error)

    async def _connect(self) -> None:
        await self._watch.connect()
        self._state.answered_once = True
        threads = pinning.thread_ids(await self._watch.session.execute("query-cpus-fast"))
        self._state.pinning = pinning.apply(self._planned_pins(), threads)

    def _planned_pins(self) -> list[Pin]:
        """A product that is not pinned is slower; one that is never let go is no product."""
        path = os.path.join(self._run_dir, "qemu.json")
        try:
            with open(path, encoding="utf-8") as file:
                return [Pin(entry["vcpu"], entry["cpu"]) for entry in json.load(file)["pinning"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.error("the vCPUs are not pinned: launch plan %s: %s", path, error)
            return []

    def _condemn(self, reason: str) -> None:
        """Kill QEMU; why is on disk first."""
        logger.error("killing QEMU (pid %s): %s", self._watch.pid, reason)
        self._state.condemned = reason
        self._save()
        if self._watch.process:
            self._watch.process.kill()

    async def _take_dump(self) -> None:
        crash = self._config.crash
        directory = os.path.join(self._state_dir, "dumps")
        logger.error("the product has panicked: writing its memory to %s", directory)
        try:
            taken = await dump.take(
                self._watch.session,
                directory,
                crash.dump_limit_mib,
                crash.dump_keep,
                crash.dump_grace,
                self._run_dir,
            )
            logger.error("memory dump: %s", taken)
        except (HalError, OSError) as error:
            logger.error("no memory dump: %s", error)
        finally:
            self._state.dumped, self._dump = True, None
            self._watch.wake.set()

    async def _conclude(self, sight: Sight) -> None:
        """The run is over: why is on disk before anything is done about it."""
        reason = end_reason(sight) or exitreason.DIED
        memory = self._state
        decided = exitreason.outcome(reason, stop_wanted=self._markers.stopped(memory.qemu_pid))
        words = self._starter.last_words() if reason in (exitreason.DIED, exitreason.NOT_STARTED) else ""
        memory.last_exit = self._last_exit.note(reason, decided.value, sight.now - memory.started, words)
        logger.warning("the product's run has ended: %s → %s", f"{reason}: {words}" if words else reason, decided.value)
        self._end_beats()
        memory.run_known = False
        if decided in (Outcome.HOST_REBOOT, Outcome.HOST_POWEROFF):
            memory.host_is_ending = "reboot" if decided is Outcome.HOST_REBOOT else "power-off"
        elif decided is Outcome.STAY_STOPPED:
            self._markers.set_stopped(None)
        elif decided is Outcome.RESTART:
            memory.start_at = sight.now
        else:
            await self._count_crash(f"{reason}: {words}" if words else reason)
        if exitreason.is_clean(reason):
            self._last_exit.end_run_cleanly()
        self._save()
        await self._watch.quit()

    async def _ask_host(self) -> None:
        """Once in this manager's life; a manager restarted half-way asks again, which does no harm."""
        ending = self._state.host_is_ending
        if ending and not self._host_asked:
            why = f"the product has asked for {ending}"
            await (self._host.reboot(why) if ending == "reboot" else self._host.power_off(why))
            self._host_asked = True

    async def _count_crash(self, why: str) -> None:
        now, memory, crash = time.monotonic(), self._state, self._config.crash
        memory.crashes = [*crashpolicy.recent(tuple(memory.crashes), now, crash), now]
        delay = crashpolicy.restart_delay(tuple(memory.crashes), now, crash)
        if delay is not None:
            memory.start_at = now + delay
            logger.error("crash %d of %d: starting again in %g s", len(memory.crashes), crash.limit, delay)
            return
        text = rescue_text(len(memory.crashes), crash.window_minutes, why)
        self._markers.set_rescue(text)
        logger.critical("%s", text)
        await self._host.show(text)

    # --- what is remembered --------------------------------------------------------------------------------------

    def _remember(self, sight: Sight, health: Health) -> None:
        memory = self._state
        memory.guest_status = sight.status
        memory.missed = health.missed
        memory.qmp = "answering" if sight.connected else "not connected"
        if sight.connected and time.monotonic() - self._watch.answered >= 3.0:
            memory.qmp = "not answering"
        before = (memory.state, memory.why)
        memory.state, memory.why = describe(sight, health, memory.host_is_ending, self._markers.rescue())
        if is_news(before, (memory.state, memory.why)):
            logger.info("%s%s", memory.state, f": {memory.why}" if memory.why else "")
        self._save()

    def _save(self) -> None:
        """The state file, when there is anything new to say: the manager looks every second."""
        text = state.to_text(self._state)
        if text == self._saved:
            return
        self._saved = text
        try:
            state.save(self._run_dir, text)
        except OSError as error:
            logger.error("the state is not saved, hal vmm status will be wrong: %s", error)
