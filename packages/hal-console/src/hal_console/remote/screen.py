"""The product's screen in somebody's terminal: a VNC client of its own, whatever the server's own screen shows.

It needs neither hal-console.service nor a screen: QEMU hands its picture to as many clients as ask for it.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from typing import Optional

from hal_console.remote import terminal, typed
from hal_console.rfb import messages
from hal_console.rfb.stream import ProtocolError, Stream, Updated
from hal_console.screen import letters
from hal_console.screen.ansi import TextScreen
from hal_console.screen.letters import Reader
from hal_core.errors import HostError, QmpDisconnected, QmpError
from hal_core.qmp_once import Once

_LOOK_AGAIN_SECONDS = 0.5  # for a product that is not there
_NAME = "hal-console-attach"


def attach(run_dir: str) -> None:
    """Until Ctrl+]. A product that ends is waited for.

    :raise HostError: no terminal; or not root. :raise QmpError: QEMU refuses, or does not answer.
    """
    with terminal.raw():
        terminal.write(b"\033[2J\033[H")
        waiting = False
        while True:
            sock = _connect(run_dir)
            if sock is None:
                if not waiting:
                    terminal.write(
                        f"\r\n[the product does not run; waiting for it; {terminal.DETACH_HINT}]\r\n".encode()
                    )
                waiting = True
                if _typed_detach(_LOOK_AGAIN_SECONDS):
                    break
                continue
            waiting = False
            with sock:
                try:
                    detached = _show(sock)
                except ConnectionError:  # QEMU has gone in the midst of it
                    detached = False
            if detached:
                break
        terminal.write(b"\033[0m\033[999H\r\n")


def _connect(run_dir: str) -> Optional[socket.socket]:
    """QEMU's VNC server at the other end; None without a product."""
    ours, theirs = socket.socketpair()
    try:
        with Once(os.path.join(run_dir, "qmp", "cli")) as qmp:
            qmp.execute("getfd", {"fdname": _NAME}, fd=theirs.fileno())
            qmp.execute("add_client", {"protocol": "vnc", "fdname": _NAME, "skipauth": True})
    except QmpDisconnected:
        ours.close()
        return None
    except (QmpError, HostError):
        ours.close()
        raise
    finally:
        theirs.close()
    return ours


def _show(sock: socket.socket) -> bool:
    """Until the product ends, or somebody detaches: whether that is so.

    :raise HostError: QEMU does not speak the protocol.
    """
    stream, reader, screen = Stream(letters.WANTED), Reader(), TextScreen(*terminal.size())
    while True:
        ready, _, _ = select.select([sock, terminal.STDIN], [], [])
        if terminal.STDIN in ready:
            data = terminal.read()
            if not data or typed.DETACH in data:
                return True
            for down, scancode in typed.keys(data):
                stream.outgoing += messages.extended_key(down, scancode)
        if sock in ready:
            count = sock.recv_into(stream.space())
            if not count:
                return False
            try:
                events = stream.received(count)
            except ProtocolError as error:
                raise HostError(f"QEMU's VNC server: {error}") from None
            for event in events:
                if isinstance(event, Updated):
                    terminal.write("".join(_draw(stream, reader, screen)).encode())
                    stream.ask(incremental=not event.resized)
        while stream.outgoing:
            del stream.outgoing[: sock.send(stream.outgoing)]


def _draw(stream: Stream, reader: Reader, screen: TextScreen) -> Iterator[str]:
    picture = stream.picture
    picture.changed.clear()
    size = terminal.size()
    if size != (screen.columns, screen.lines):
        screen.columns, screen.lines = size
        screen.forget()
    graphics = f"[graphics, {picture.width}x{picture.height}; {terminal.DETACH_HINT}]"
    yield screen.show(reader.rows(picture), graphics)


def _typed_detach(seconds: float) -> bool:
    if not select.select([terminal.STDIN], [], [], seconds)[0]:
        return False
    data = terminal.read()
    return not data or typed.DETACH in data
