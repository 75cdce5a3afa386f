"""The guest agent's side of the conversation is the guest's: old, garbled, silent, or hostile."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_core import guestagent
from hal_core.errors import QmpDisconnected, QmpError, QmpRefused, QmpTimeout, UsageError
from hal_core.guestagent import Conversation

SOON = 0.1
REFUSED = {"error": {"class": "CommandNotFound", "desc": "no such command"}}
Script = Callable[[dict[str, Any]], bytes]


class FakeAgent:
    """Listens on a unix socket and answers each request with the bytes that the script returns for it."""

    def __init__(self, path: str, script: Script) -> None:
        self.path = path
        self.requests: list[str] = []
        self._script = script
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> FakeAgent:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return  # nobody came
        with client, client.makefile("rb") as lines:
            try:
                for line in lines:
                    request = json.loads(line.rpartition(b"\xff")[2])
                    self.requests.append(request["execute"])
                    client.sendall(self._script(request))
            except (ConnectionError, HungUp):
                return  # the client has heard enough


class HungUp(Exception):
    """A script raises it to hang up."""


def line(reply: object) -> bytes:
    return json.dumps(reply).encode() + b"\n"


def modern(request: dict[str, Any]) -> bytes:
    if request["execute"] == "guest-sync-delimited":
        return b"\xff" + line({"return": request["arguments"]["id"]})
    return b"" if request["execute"] == "guest-shutdown" else line({"return": {}})


def old(request: dict[str, Any]) -> bytes:
    """Before QEMU 1.1: no guest-sync-delimited, and it complains about the 0xFF as well."""
    if request["execute"] == "guest-sync-delimited":
        return line({"error": {"class": "GenericError", "desc": "JSON parse error"}}) + line(REFUSED)
    if request["execute"] == "guest-sync":
        return line({"return": request["arguments"]["id"]})
    return line({"return": {}})


def stale(request: dict[str, Any]) -> bytes:
    """What an earlier conversation left behind comes first."""
    left_over = line({"return": 12345}) + line({"return": True}) + b'{"return": [1, 2' + b"\x00garbage\n[]\n"
    return (left_over if request["execute"] == "guest-sync-delimited" else b"") + modern(request)


def ping_blocked(request: dict[str, Any]) -> bytes:
    return line(REFUSED) if request["execute"] == "guest-ping" else modern(request)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "agent")


@pytest.mark.parametrize("script", [modern, old, stale, ping_blocked])
def test_an_agent_that_lives(path: str, script: Script) -> None:
    with FakeAgent(path, script) as agent:
        asyncio.run(guestagent.ping(path, 10))
    assert agent.requests[-1] == "guest-ping"


def silence(request: dict[str, Any]) -> bytes:
    return b""


def wrong_number(request: dict[str, Any]) -> bytes:
    return b"\xff" + line({"return": request["arguments"]["id"] ^ 1})


def flood(request: dict[str, Any]) -> bytes:
    return b"x" * (guestagent.MOST_BYTES + 5000)


def hang_up(request: dict[str, Any]) -> bytes:
    raise HungUp


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        (silence, QmpTimeout, "did not answer within"),
        (wrong_number, QmpTimeout, "did not answer within"),
        (flood, QmpError, "more than 65536 bytes"),
        (hang_up, QmpDisconnected, "hung up"),
    ],
)
@pytest.mark.parametrize(
    "ask",
    [
        lambda path, deadline: asyncio.run(guestagent.ping(path, deadline)),
        lambda path, deadline: guestagent.shutdown(path, "powerdown", deadline),
    ],
    ids=["ping", "shutdown"],
)
def test_an_agent_that_does_not_live(
    path: str, script: Script, error: type[Exception], words: str, ask: Callable[[str, float], None]
) -> None:
    with FakeAgent(path, script), pytest.raises(error, match=words):
        ask(path, SOON if error is QmpTimeout else 10)


def test_nobody_there(path: str) -> None:
    with pytest.raises(QmpDisconnected, match="nobody listens"):
        asyncio.run(guestagent.ping(path, 1))


def test_shutdown_is_asked_for(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guestagent, "_SHUTDOWN_ERROR_SECONDS", SOON)
    with FakeAgent(path, modern) as agent:
        guestagent.shutdown(path, "powerdown", 10)
    assert agent.requests == ["guest-sync-delimited", "guest-shutdown"]


def test_shutdown_is_refused(path: str) -> None:
    def script(request: dict[str, Any]) -> bytes:
        return line(REFUSED) if request["execute"] == "guest-shutdown" else modern(request)

    with FakeAgent(path, script), pytest.raises(QmpRefused, match="guest-shutdown was refused: no such command"):
        guestagent.shutdown(path, "halt", 10)


def test_shutdown_where_the_product_goes_at_once(path: str) -> None:
    def script(request: dict[str, Any]) -> bytes:
        return hang_up(request) if request["execute"] == "guest-shutdown" else modern(request)

    with FakeAgent(path, script) as agent:
        guestagent.shutdown(path, "reboot", 10)
    assert agent.requests == ["guest-sync-delimited", "guest-shutdown"]


def test_shutdown_in_no_known_way(path: str) -> None:
    with pytest.raises(UsageError, match="'explode': allowed are powerdown, reboot, halt"):
        guestagent.shutdown(path, "explode", 1)


@given(garbage=st.binary(max_size=2000), cuts=st.lists(st.integers(1, 50), min_size=1))
def test_no_garbage_is_ever_taken_for_the_agent(garbage: bytes, cuts: list[int]) -> None:
    """Only our own number synchronizes; garbage before it, in pieces of any size, neither does nor prevents it."""
    conversation = Conversation("test")
    request = json.loads(conversation.begin().rpartition(b"\xff")[2])
    for piece in pieces(garbage, cuts):
        conversation.feed(piece)
    assert not conversation.synchronized
    assert conversation.answer() is None
    for piece in pieces(b"\xff" + line({"return": request["arguments"]["id"]}) + line({"return": {}}), cuts):
        conversation.feed(piece)
    assert conversation.synchronized
    assert conversation.answer() == {"return": {}}


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    position = 0
    while position < len(data):
        size = cuts[position % len(cuts)]
        yield data[position : position + size]
        position += size


@pytest.mark.component
@pytest.mark.parametrize("blocked", ["guest-info", "guest-ping"])
def test_a_real_agent(path: str, tmp_path: Path, blocked: str) -> None:
    """Its guest-shutdown is not tried: the agent would shut down the machine that runs the tests."""
    program = shutil.which("qemu-ga", path="/usr/sbin:/usr/bin:/sbin")
    if program is None:
        pytest.skip("no qemu-ga here")
    agent = subprocess.Popen([program, "-m", "unix-listen", "-p", path, "-t", str(tmp_path), "-b", blocked])
    try:
        asyncio.run(patient_ping(path))
        asyncio.run(guestagent.ping(path, 10))
    finally:
        agent.kill()
        agent.wait()


async def patient_ping(path: str) -> None:
    """The first answer of an agent that is only just starting."""
    until = asyncio.get_running_loop().time() + 20
    while True:
        try:
            return await guestagent.ping(path, 10)
        except QmpDisconnected:
            if asyncio.get_running_loop().time() > until:
                raise
            await asyncio.sleep(0.05)
