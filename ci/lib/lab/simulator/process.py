"""One running QEMU: its process, and the remote control of it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from factory import programs
from lab.errors import LabError
from lab.simulator import files
from lab.simulator.control import OFF, Control, Record

# The kernel kills QEMU when the thread that started it ends, however that happens.
_DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")

_staying: list[subprocess.Popen[bytes]] = []  # what is in here is never waited for, nor complained about


class Qemu:
    """A QEMU that has started, and has all its sockets.

    :param argv: its command line, given the file descriptors of two monitors
    :param directory: where it runs, and complains in a log
    :param record: gets what happens
    :param stays: it goes on when this process has ended
    :raise LabError: it did not start
    """

    def __init__(
        self, argv: Callable[[Sequence[int]], list[str]], directory: Path, record: Record, stays: bool = False
    ) -> None:
        self._log = directory / files.QEMU_LOG
        self._record = record
        self._begin = len(record)
        commands, events = socket.socketpair(), socket.socketpair()
        theirs = (commands[1], events[1])
        fds = [end.fileno() for end in theirs]
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [*(() if stays else _DIES_WITH_US), *argv(fds)],
                cwd=directory,
                env=programs.small_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=fds,
                start_new_session=True,  # a person's ^C is for us
            )
        for end in theirs:
            end.close()
        try:
            # QEMU greets when all that its command line names is there.
            self.control = Control(commands[0], events[0], record)
        except LabError as error:
            self._process.kill()
            self._process.wait()
            raise LabError(f"QEMU did not start: {self._last_words()} ({error})") from None

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def runs(self) -> bool:
        """It has not ended."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it, now."""
        self._process.kill()
        self._process.wait()
        self.control.close()

    def wait(self, seconds: float) -> bool:
        """Await its end; :return: whether it came. :raise LabError: it crashed."""
        if self._record.wait(lambda event: event.name == OFF, self._begin, seconds) is None:
            return False
        status = self._process.wait()  # it has closed everything: this takes no time
        self.control.close()
        if status:
            raise LabError(f"QEMU ended with status {status}: {self._last_words()}")
        return True

    def leave(self) -> None:
        """Let it go on without us."""
        _staying.append(self._process)
        self.control.close()

    def _last_words(self) -> str:
        return programs.last_line(self._log.read_text(errors="replace"))
