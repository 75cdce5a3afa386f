"""A simulated server with everything around it: its LANs, and those who look at it from outside and from inside.

When a story fails, everything that this server has ever said is gathered in one directory: :meth:`Site.gather`.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Callable, Optional

from lab.display import screen
from lab.display.screen import Screen
from lab.errors import LabError
from lab.halhost import Host
from lab.images.product import PROMPT
from lab.lan.peer import Peer
from lab.productcli import Product
from lab.simulator import files
from lab.simulator.machine import Machine

_LOOK_AGAIN = 0.3  # seconds between two looks at the screen
# A keyboard remembers 16 bytes while nobody listens to it; a capital letter, pressed and released, is 6 of them.
_KEYS_AT_ONCE = 2
_LAST_CHANCE = 15.0  # seconds that a host, which may be hung, gets to answer when a story has failed


class Site:
    """Entered, its LAN is there; left, the server is off.

    :ivar server: the machine itself: power, cables, sticks, keyboard, screen
    :ivar product: its command line on the first serial port
    :ivar host: HAL's side of it
    :ivar lan: what is at the other end of each network cable: 10.77.N.1 at NIC number N; the product is 10.77.N.2
    """

    def __init__(self, machine: Machine) -> None:
        self.server = machine
        self.product = Product(machine.serial[0])
        self.host = Host(machine.host)
        self.lan: list[Peer] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Site:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.server)
            for number in range(len(self.server.server.nics)):
                self.lan.append(stack.enter_context(self._peer(number)))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._stack.close()

    def insert_card(self, slot: int, mac: str) -> Peer:
        """Put a network card into one of the server's slots; :return: what is at the other end of its cable.

        :raise LabError: as :meth:`Machine.insert_card`
        """
        peer = self._stack.enter_context(self._peer(self.server.insert_card(slot, mac)))
        self.lan.append(peer)
        return peer

    def _peer(self, number: int) -> Peer:
        theirs, ours = self.server.lan(number)
        return Peer(ours, theirs, self.server.directory / f"lan{number}.pcap", f"10.77.{number}.1")

    def screen(self) -> Screen:
        """The text on the server's display."""
        return screen.read(self.server.screenshot(self.server.directory / "screen.png"))

    def wait_for_screen(self, expression: str, seconds: float = 60.0) -> Screen:
        """Return when a regular expression is found on the server's display.

        :raise LabError: it is not; says what is
        """
        until = time.monotonic() + seconds
        while True:
            shown = self.screen()
            if shown.contains(expression):
                return shown
            if time.monotonic() > until:
                raise LabError(f"{expression!r} is not on the screen after {seconds:g} s, but:\n{shown.text}")
            time.sleep(_LOOK_AGAIN)  # a screen tells nobody that it has changed

    def wait_for_prompt(self) -> Screen:
        """Return when the product's command line waits on the server's display. :raise LabError: it does not."""
        return self.wait_for_screen(f"^{PROMPT.rstrip()} *$")

    def blank(self, name: str, mib: int) -> Path:
        """A raw image with nothing on it, for a stick or a disk; it goes when the server does."""
        image = self.server.directory / f"{name}.img"
        with image.open("wb") as file:
            file.truncate(mib << 20)
        return image

    def type(self, text: str) -> None:
        """Type at the server's keyboard and look at the screen meanwhile, as people do where a machine is slow.

        :param text: what the command line shows as it is typed; it may end with a newline
        :raise LabError: it cannot be typed, or does not come
        """
        line = next((line for line in reversed(self.screen().lines) if line), "")
        typed = text.rstrip("\n")
        for end in range(_KEYS_AT_ONCE, len(typed) + _KEYS_AT_ONCE, _KEYS_AT_ONCE):
            self.server.type(typed[end - _KEYS_AT_ONCE : end])
            self.wait_for_screen(f"{re.escape(line)} ?{re.escape(typed[:end].rstrip())}")
        self.server.type(text[len(typed) :])

    def gather(self, place: Path) -> None:
        """Everything that helps to understand what happened, in a directory that is made anew.

        What cannot be had, because the server is off or hangs, is a line in ``missing.txt``.
        """
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        events = (f"{event.at:12.3f}  {event.name}  {dict(event.data) or ''}\n" for event in self.server.record.all())
        (place / "events.txt").write_text("".join(events))
        missing = []
        for what in (self._picture, self._journal, self._status):
            try:
                what(place)
            except LabError as error:
                missing.append(f"{what.__name__[1:]}: {error}\n")
        if missing:
            (place / "missing.txt").write_text("".join(missing))
        logs = [files.DESCRIPTION, files.QEMU_LOG, files.HOST_CONSOLE, files.HAL_TOML]
        logs += [files.serial_log(port) for port in range(self.server.server.serial_ports)]
        for path in [*(self.server.directory / name for name in logs), *self.server.directory.glob("*.pcap")]:
            if path.exists():
                shutil.copy(path, place)

    def _picture(self, place: Path) -> None:
        picture = self.server.screenshot(place / "screen.png")
        (place / "screen.txt").write_text(screen.read(picture).text + "\n")

    def _journal(self, place: Path) -> None:
        self.host.shell.wait_until_up(_LAST_CHANCE)
        (place / "journal.txt").write_text(self.host.journal())

    def _status(self, place: Path) -> None:
        asked: tuple[Callable[[], str], ...] = (
            lambda: str(self.host.status()),
            lambda: "\n".join(self.host.denials()),
            lambda: self.host.run("ps", "-eo", "pid,ppid,user,label,stat,args"),
            lambda: self.host.run("systemctl", "list-units", "--all", "--no-pager"),
        )
        (place / "status.txt").write_text("\n\n".join(ask() for ask in asked))
