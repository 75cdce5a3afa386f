"""A server that is left to a person after its story, and how they get at it from another terminal."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
import termios
import tty
from pathlib import Path
from typing import Callable

from lab.errors import LabError
from lab.simulator import files, sockets
from lab.simulator.shell import HostShell
from lab.site import Site

_LEAVE = 0x1D  # Ctrl-], as in telnet
_CHUNK = 1 << 16


def keep(site: Site, say: Callable[[str], None]) -> None:
    """Say how to get at the server, and wait until that is over: Ctrl-C."""
    site.server.hang_up()
    place = site.server.directory
    say(
        f"the server is left running, in {place}; from another terminal:\n"
        f"        ci/lab --attach {place}              the product's serial console (Ctrl-] leaves)\n"
        f"        ci/lab --run {place} journalctl -b   a command in the host, as root\n"
        f"        vncviewer {place / files.VNC}        screen and keyboard\n"
        f"        socat - UNIX-CONNECT:{place / files.QMP}   QMP\n"
        "    Ctrl-C here switches it off and goes on"
    )
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def attach(place: Path, port: int = 0) -> None:
    """Connect this terminal to a serial port of a server that is left running.

    :raise LabError: there is none, or somebody else is connected
    """
    # Not epoll, which takes no regular file, and not /dev/null, for standard input.
    with sockets.connect(place / files.serial_socket(port)) as line, selectors.PollSelector() as selector:
        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal) if os.isatty(terminal) else None
        try:
            if before:
                tty.setraw(terminal)
            selector.register(line, selectors.EVENT_READ)
            selector.register(terminal, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    data = line.recv(_CHUNK) if key.fileobj is line else os.read(terminal, _CHUNK)
                    if not data or (key.fileobj is not line and _LEAVE in data):
                        return
                    if key.fileobj is line:
                        os.write(sys.stdout.fileno(), data)
                    else:
                        line.sendall(data)
        finally:
            if before:
                termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def run(place: Path, command: list[str]) -> int:
    """Run a command in the host of a server that is left running; :return: its status.

    :raise LabError: there is no such server, or its host does not answer
    """
    if not (place / files.DESCRIPTION).exists():
        raise LabError(f"{place}: there is no server; --keep says where it is")
    status, said, complained = HostShell(place / files.AGENT).ask(*command, seconds=3600)
    sys.stdout.write(said)
    sys.stderr.write(complained)
    return status if status >= 0 else 128 - status
