"""Talking to the QEMU guest agent inside the product: whether it lives, and asking it to shut down.

The agent has no greeting and old ones echo no ``id``, so an answer is known only by its place in the stream. Every
conversation therefore starts with ``guest-sync-delimited`` (QEMU's qga/qapi-schema.json): 0xFF makes the agent drop
what it has half read, and whatever comes before the answer with our own random number is left over from an earlier one.
Agents before QEMU 1.1 only know ``guest-sync``.

Everything here is written by the guest: it is bounded (64 KiB for one conversation), and nothing is believed but the
number that we chose ourselves.
"""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any, Optional

from hal_core import unixsocket
from hal_core.errors import QmpDisconnected, QmpError, QmpRefused, QmpTimeout, UsageError

MOST_BYTES = 64 << 10
_READ_BYTES = 4096
_SENTINEL = b"\xff"
_SHUTDOWN_ERROR_SECONDS = 2.0  # a refusal comes at once; success has no answer at all

SHUTDOWN_MODES = ("powerdown", "reboot", "halt")


class Conversation:
    """The protocol without its I/O: feed it what the guest says, and send what :meth:`begin` and :meth:`feed` return.

    :param path: for messages only.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.synchronized = False
        self._number = int.from_bytes(os.urandom(4), "big") >> 1  # not by secrets, whose imports are large
        self._received = 0
        self._untrusted = bytearray()
        self._answers: list[dict[str, Any]] = []

    def begin(self) -> bytes:
        return _SENTINEL + _command("guest-sync-delimited", {"id": self._number})

    def feed(self, untrusted_data: bytes) -> bytes:
        """Take what the guest said; what to send now, mostly nothing.

        :raise QmpDisconnected: it is the end of the stream. :raise QmpError: the guest talks too much.
        """
        if not untrusted_data:
            raise QmpDisconnected(f"{self.path}: hung up")
        self._received += len(untrusted_data)
        if self._received > MOST_BYTES:
            raise QmpError(f"{self.path}: the guest agent sent more than {MOST_BYTES} bytes", "is it really the agent?")
        *lines, rest = (self._untrusted + untrusted_data).split(b"\n")
        self._untrusted = bytearray(rest)
        return b"".join(self._line(bytes(line)) for line in lines)

    def answer(self) -> Optional[dict[str, Any]]:
        """The oldest answer since the synchronization that was not taken yet."""
        return self._answers.pop(0) if self._answers else None

    def _line(self, untrusted_line: bytes) -> bytes:
        untrusted_reply = _parsed(untrusted_line.rpartition(_SENTINEL)[2])
        if untrusted_reply is None:
            return b""
        if self.synchronized:
            self._answers.append(untrusted_reply)
        elif untrusted_reply.get("return") == self._number and type(untrusted_reply.get("return")) is int:
            self.synchronized = True
        elif _error_class(untrusted_reply) == "CommandNotFound":
            return _command("guest-sync", {"id": self._number})
        return b""


async def ping(path: str, deadline: float) -> None:
    """Return when the guest's agent has answered: the product's processes run.

    An agent that refuses ``guest-ping`` (its administrator may block commands) has answered all the same.

    :param deadline: seconds, for everything together.
    :raise QmpTimeout: no answer: the product hangs or boots, has no agent, or another client holds the socket.
    :raise QmpDisconnected: QEMU is not there. :raise QmpError: garbage without end. :raise HostError: no permission.
    """
    import asyncio  # not for the blocking half of this module

    loop = asyncio.get_running_loop()
    conversation = Conversation(path)

    async def converse() -> None:
        await loop.sock_sendall(sock, conversation.begin())
        while not conversation.synchronized:
            await loop.sock_sendall(sock, conversation.feed(await loop.sock_recv(sock, _READ_BYTES)))
        await loop.sock_sendall(sock, _command("guest-ping"))
        while conversation.answer() is None:
            conversation.feed(await loop.sock_recv(sock, _READ_BYTES))

    with unixsocket.connect(path) as sock:
        try:
            await asyncio.wait_for(converse(), deadline)
        except asyncio.TimeoutError as error:
            raise QmpTimeout(f"{path}: the guest agent did not answer within {deadline:g} s") from error
        except OSError as error:
            raise QmpDisconnected(f"{path}: {error.strerror or error}") from error


def shutdown(path: str, mode: str, deadline: float) -> None:
    """Ask the product to end, as its own administrator would; returns when it has been asked.

    Whether it does end is seen from QEMU, not from here: success has no answer (QEMU's qga/qapi-schema.json).

    :param mode: one of :data:`SHUTDOWN_MODES`. :param deadline: seconds in which the agent must be listening.
    :raise UsageError: no such mode. :raise QmpRefused: the agent said no. Otherwise as :func:`ping`.
    """
    if mode not in SHUTDOWN_MODES:
        raise UsageError(f"shutdown mode {mode!r}: allowed are {', '.join(SHUTDOWN_MODES)}")
    until = time.monotonic() + deadline
    conversation = Conversation(path)
    with unixsocket.connect(path) as sock:
        sock.settimeout(deadline)
        try:
            sock.sendall(conversation.begin())
            while not conversation.synchronized:
                sock.settimeout(_left(path, until, deadline))
                sock.sendall(conversation.feed(sock.recv(_READ_BYTES)))
            sock.sendall(_command("guest-shutdown", {"mode": mode}))
        except socket.timeout as error:
            raise QmpTimeout(f"{path}: the guest agent did not answer within {deadline:g} s") from error
        except OSError as error:
            raise QmpDisconnected(f"{path}: {error.strerror or error}") from error
        _expect_no_refusal(conversation, sock)


def _expect_no_refusal(conversation: Conversation, sock: socket.socket) -> None:
    until = time.monotonic() + _SHUTDOWN_ERROR_SECONDS
    answer = None
    while answer is None and (left := until - time.monotonic()) > 0:
        try:
            sock.settimeout(left)
            conversation.feed(sock.recv(_READ_BYTES))
        except (OSError, QmpDisconnected):
            return  # silence, or the end of QEMU: both are success
        answer = conversation.answer()
    if answer and "error" in answer:
        raise QmpRefused(*unixsocket.refused("guest-shutdown", answer["error"]))


def _left(path: str, until: float, deadline: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise QmpTimeout(f"{path}: the guest agent did not answer within {deadline:g} s")
    return left


def _command(name: str, arguments: Optional[dict[str, object]] = None) -> bytes:
    request: dict[str, object] = {"execute": name}
    if arguments:
        request["arguments"] = arguments
    return json.dumps(request).encode() + b"\n"


def _parsed(untrusted_line: bytes) -> Optional[dict[str, Any]]:
    """A JSON object, or None: before the synchronization anything may be in the stream, and garbage is no answer."""
    try:
        reply = json.loads(untrusted_line)
    except (ValueError, RecursionError):
        return None
    return reply if isinstance(reply, dict) else None


def _error_class(untrusted_reply: dict[str, Any]) -> object:
    error = untrusted_reply.get("error")
    return error.get("class") if isinstance(error, dict) else None
