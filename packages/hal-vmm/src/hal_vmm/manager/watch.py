"""QEMU as the guest manager sees it: its process, its event journal, and whether it answers.

Everything here only looks. What is seen, and any event, wakes the manager; what it means is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from typing import Optional

from hal_core.errors import HalError, QmpDisconnected, QmpTimeout
from hal_core.qmp import Session
from hal_vmm.manager.eventjournal import EventJournal
from hal_vmm.manager.qemulock import running_pid
from hal_vmm.manager.qemuprocess import Process
from hal_vmm.manager.verdict import QMP_DEADLINE

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
LONGEST_START = 600.0  # seconds that a QEMU may take before it answers for the first time


class Watch:
    """One QEMU after the other: :meth:`look` finds the current one."""

    def __init__(self, run_dir: str) -> None:
        self.wake = asyncio.Event()  # look again
        self.process: Optional[Process] = None
        self.journal = self._new_journal(run_dir)
        self.session = Session(os.path.join(run_dir, "qmp", "manager"), "manager", lambda _: self.wake.set())
        self.status = ""  # QEMU's run state; "" if not known
        self.answered = time.monotonic()
        self.running_since = time.monotonic()  # since when the guest has been seen running, without a pause
        self._run_dir = run_dir
        self._poll: Optional[asyncio.Task[None]] = None

    @property
    def pid(self) -> Optional[int]:
        return self.process.pid if self.process else None

    async def look(self, answered_pid: Optional[int]) -> None:
        """Find the QEMU that runs now, if any, and read its journal.

        :param answered_pid: a QEMU that is known to have answered before: its silence counts from now.
        """
        pid = running_pid(self._run_dir)
        if pid != self.pid:
            await self._forget()
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    self.process = Process(pid)
                    self.process.on_exit(self.wake.set)
                    # Before its first answer QEMU may have terabytes of huge pages to clear.
                    self.answered = time.monotonic() + (0 if pid == answered_pid else LONGEST_START)
                    self.journal = self._new_journal(self._run_dir)
        self.journal.read()

    @staticmethod
    def _new_journal(run_dir: str) -> EventJournal:
        return EventJournal(os.path.join(run_dir, "events", "qmp"))

    async def connect(self) -> None:
        """:raise QmpError: no connection; the next step tries again."""
        await self.session.connect(QMP_DEADLINE)
        await self.ask()
        self._poll = asyncio.create_task(self._poll_status())

    async def ask(self) -> None:
        """Learn QEMU's run state now.

        :raise QmpError: no answer.
        """
        untrusted_answer = await self.session.execute("query-status", deadline=QMP_DEADLINE)
        status = untrusted_answer.get("status") if isinstance(untrusted_answer, dict) else None
        self.answered = time.monotonic()
        if isinstance(status, str) and status != self.status:
            self.status = status
            if status == "running":
                self.running_since = self.answered
            self.wake.set()

    async def _poll_status(self) -> None:
        """A question a second for as long as the connection lasts: is QEMU still answering?"""
        while self.session.connected:
            try:
                await self.ask()
            except QmpTimeout:
                self.wake.set()
            except HalError as error:
                logger.debug("QMP: %s", error)
                self.wake.set()
            await asyncio.sleep(POLL_SECONDS)

    async def quit(self) -> None:
        """Make QEMU end: asked if it listens, killed if it does not."""
        if self.process is None:
            return
        try:
            await self.session.execute("quit", deadline=QMP_DEADLINE)
        except QmpDisconnected:
            # It is quitting already, as `hal vmm stop` told it to: killed now, it would look like a failure.
            if not await self.process.ended(QMP_DEADLINE):
                self.process.kill()
        except HalError as error:
            logger.debug("quit: %s", error)
            self.process.kill()

    async def _forget(self) -> None:
        if self._poll:
            self._poll.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._poll
            self._poll = None
        await self.session.close()
        if self.process:
            self.process.close()
            self.process = None
        self.status = ""

    async def close(self) -> None:
        """Let go of QEMU, which goes on."""
        await self._forget()
