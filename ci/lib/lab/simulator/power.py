"""A simulated server's power: its switch, its reset button, and a record of what happened to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Optional, TypeVar

from hal_core.errors import QmpError, QmpTimeout
from hal_core.qmp_once import Once
from lab.errors import LabError
from lab.simulator import commandline, files, installed, sockets
from lab.simulator.control import OFF, Event, Record
from lab.simulator.process import Qemu
from lab.simulator.serialconsole import SerialConsole
from lab.simulator.server import Server
from lab.simulator.shell import HostShell

# SeaBIOS resets once or twice more after a reset, before it has done anything else: 35 ms later on an idle machine.
_FIRMWARE = 2.0  # seconds
_SOON = 30.0  # seconds for what QEMU or a guest that is not hung does at once

_Self = TypeVar("_Self", bound="Powered")


@dataclass(frozen=True)
class Reset:
    """The server was reset.

    :ivar by: "guest" (whatever ran on it), "watchdog" (its hardware watchdog), or "person" (its reset button)
    :ivar at: when, in seconds of :func:`time.monotonic`
    """

    by: str
    at: float


class Powered:
    """A server in its directory, off at first. At the end of a ``with`` block it is off.

    :param accel: "tcg" or "kvm"
    :param stays: what is on stays on, after the block and after this process; otherwise not even a killed process
        leaves a QEMU behind. The thread that switches it on must live as long as it is needed.
    :ivar record: all that happened to it
    :ivar serial: its serial ports
    :ivar host: the root shell of the HAL host in it
    """

    def __init__(self, directory: Path, server: Server, accel: str = "tcg", stays: bool = False) -> None:
        self.directory = directory
        self.server = server
        self.accel = accel
        self.record = Record()
        self.serial = tuple(SerialConsole(f"{server.name}'s serial port {n}") for n in range(server.serial_ports))
        self.host = HostShell(directory / files.AGENT)
        self._stays = stays
        self._qemu: Optional[Qemu] = None
        self._seen = 0  # how much of the record a story has asked for

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if not self._stays:
            self.cut_power()
        elif self._qemu is not None:
            self._qemu.leave()
            self._forget()

    @property
    def is_on(self) -> bool:
        """There is a QEMU."""
        return self._qemu is not None and self._qemu.runs

    @property
    def pid(self) -> int:
        """QEMU's. :raise LabError: the server is off."""
        if self._qemu is None or not self.is_on:
            raise LabError(f"{self.server.name} is off")
        return self._qemu.pid

    def hangs(self, seconds: float = 60.0) -> bool:
        """Whether the simulator itself does not answer. Nothing that it simulates can do that.

        :param seconds: that it is given
        """
        if not self.is_on:
            return False
        try:
            monitor = Once.over(sockets.connect(self.directory / files.QMP), seconds)
        except QmpTimeout:
            return self.is_on
        except (QmpError, LabError):
            return False  # somebody else is on it, or it has just ended
        with monitor:
            return False

    def start(self, *more: str) -> None:
        """Start QEMU, with further arguments, and nothing in it yet.

        :raise LabError: it is on already; it does not start
        """
        if self.is_on:
            raise LabError(f"{self.server.name} is on already")
        self._forget()
        self._seen = len(self.record)
        code = installed.firmware().code if self.server.firmware == "uefi" else None
        program = installed.qemu()

        def argv(monitors: Sequence[int]) -> list[str]:
            return [*commandline.argv(self.server, program, self.accel, monitors, code), *more]

        self._qemu = Qemu(argv, self.directory, self.record, self._stays)
        for port, console in enumerate(self.serial):
            console.attach(sockets.connect(self.directory / files.serial_socket(port)))

    def cut_power(self) -> None:
        """Pull its plug: what was not written to a disk is lost."""
        if self._qemu is not None:
            self._qemu.kill()
            self._forget()

    def press_power_button(self) -> None:
        """Shortly: its operating system decides what to do."""
        self.execute("system_powerdown")

    def reset(self) -> None:
        """Press its reset button."""
        self.execute("system_reset")

    def wait_until_off(self, seconds: float) -> None:
        """Return when it has switched itself off.

        :raise LabError: it did not in that time; QEMU crashed
        """
        if self._qemu is not None:
            if not self._qemu.wait(seconds):
                raise LabError(f"{self.server.name} is still on after {seconds:g} s")
            self._forget()

    @property
    def resets(self) -> tuple[Reset, ...]:
        """All so far."""
        return resets(self.record.all())

    def wait_for_reset(self, seconds: float) -> Reset:
        """The next reset that was not returned before; one that has happened already included.

        :raise LabError: none in that time; it went off instead
        """
        until = time.monotonic() + seconds
        while True:
            left = until - time.monotonic()
            place = self.record.wait(lambda event: event.name in ("RESET", OFF), self._seen, left)
            if place is None:
                raise LabError(f"{self.server.name} was not reset within {seconds:g} s")
            self._seen = place + 1
            event = self.record.all()[place]
            if event.name == OFF:
                raise LabError(f"{self.server.name} went off, and was not reset")
            for reset in self.resets:
                if reset.at == event.at:
                    return reset

    def execute(self, command: str, arguments: Optional[Mapping[str, object]] = None) -> Any:
        """A QMP command. :raise LabError: QEMU refuses; the server is off."""
        if self._qemu is None or not self.is_on:
            raise LabError(f"{self.server.name} is off: no {command}")
        return self._qemu.control.execute(command, arguments)

    def await_event(
        self,
        name: str,
        wanted: Callable[[Mapping[str, Any]], bool],
        begin: int,
        problem: str,
        seconds: float = _SOON,
    ) -> Mapping[str, Any]:
        """The data of the first such event in the record, from that place on.

        :raise LabError: the problem, when it has not come after that time
        """
        place = self.record.wait(lambda event: event.name == name and wanted(event.data), begin, seconds)
        if place is None:
            raise LabError(f"{self.server.name}: {problem} after {seconds:g} s")
        return self.record.all()[place].data

    def hang_up(self) -> None:
        """Leave its serial ports and its host's agent to somebody else; it stays on."""
        for console in self.serial:
            console.detach()
        self.host.close()

    def _forget(self) -> None:
        """There is no QEMU any more."""
        self.hang_up()
        self._qemu = None


def resets(events: Sequence[Event]) -> tuple[Reset, ...]:
    """Who asked for them: the watchdog tells just before it resets, and QEMU says whether it was the guest or QMP."""
    resets: list[Reset] = []
    barked = False
    again = -1.0  # until when a reset belongs to the one before
    for event in events:
        if event.name == "WATCHDOG":
            barked = True
        elif event.name == "RESET":
            by = "watchdog" if barked else "guest" if event.data.get("guest") else "person"
            if by != "guest" or event.at > again:
                resets.append(Reset(by, event.at))
            again = event.at + _FIRMWARE
            barked = False
    return tuple(resets)
