"""Connecting to one of QEMU's unix sockets, and what can go wrong with that."""

from __future__ import annotations

import socket
import struct

from hal_core.errors import HostError, QmpDisconnected, QmpError, QmpTimeout

BUSY_HINT = "QEMU serves one client per socket: find the other one with `ss -xp`"


def connect(path: str) -> socket.socket:
    """A connected socket, non-blocking.

    Not by ``loop.sock_connect``: a unix socket connects at once or not at all, and where the backlog is full (EAGAIN,
    unix(7)), asyncio would wait for "writable" and then take the socket for a connected one.

    :raise QmpTimeout: so many clients wait already that there is no place in the queue.
    :raise QmpDisconnected: nobody listens there. :raise HostError: no permission.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.connect(path)
    except OSError as error:
        sock.close()
        raise _translated(path, error) from error
    return sock


def _translated(path: str, error: OSError) -> Exception:
    if isinstance(error, BlockingIOError):
        return QmpTimeout(f"{path}: other clients are waiting in the queue already", BUSY_HINT)
    if isinstance(error, PermissionError):
        return HostError(f"{path}: no permission to connect", "run this as root")
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return QmpDisconnected(f"{path}: nobody listens there", "is the guest running? see `hal vmm status`")
    return QmpDisconnected(f"{path}: {error.strerror or error}")


def peer_pid(sock: socket.socket) -> int:
    """The process that called ``listen()`` on the other end (SO_PEERCRED, unix(7)), not the one that accepted.

    HAL's launcher listens and then *becomes* QEMU by exec, so that for HAL's sockets this is QEMU's pid.
    """
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    return int(struct.unpack("iII", credentials)[0])


def plain(untrusted_text: object) -> str:
    """Text from the other side, made fit for a line of a log: no control characters, not long."""
    text = "".join(character if character.isprintable() else " " for character in str(untrusted_text)[:300])
    return " ".join(text.split())


def refused(command: str, untrusted_error: object) -> tuple[str, str]:
    """The message and the error class for an ``"error"`` member of a reply, whatever is in it."""
    if not isinstance(untrusted_error, dict):
        return f"{command} was refused, without a reason", "GenericError"
    description = plain(untrusted_error.get("desc", "no reason given"))
    return f"{command} was refused: {description}", plain(untrusted_error.get("class", "GenericError"))


def protocol_error(path: str, what: str) -> QmpError:
    """The other side does not speak the protocol."""
    return QmpError(f"{path}: {what}", "is it really QEMU that listens there?")
