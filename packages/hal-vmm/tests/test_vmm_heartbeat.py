"""The heartbeat transports against a peer that behaves like QEMU's chardev, and a product that does not behave."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Callable

import pytest

from hal_core import guestagent
from hal_core.errors import QmpTimeout
from hal_vmm.manager import heartbeat
from hal_vmm.manager.heartbeat import AgentTransport, LineTransport, Transport

PATIENCE = 20.0  # seconds: for what takes a moment, on a busy machine


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "READ_PAUSE", 0.01)
    monkeypatch.setattr(heartbeat, "RETRY", 0.01)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "heartbeat.sock")


@contextlib.contextmanager
def channel(path: str) -> Iterator[socket.socket]:
    """QEMU's end of the channel: a listening socket."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        listener.settimeout(PATIENCE)
        yield listener


class Beats:
    """Counts, and lets a test await the next one."""

    def __init__(self) -> None:
        self.count = 0
        self._came = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._came.set()

    async def next(self) -> None:
        await asyncio.wait_for(self._came.wait(), PATIENCE)
        self._came.clear()


def listen(transport: Transport, scenario: Callable[[Beats], Awaitable[None]]) -> int:
    """Run the transport for as long as the scenario takes; the number of beats that were seen."""

    async def both() -> int:
        beats = Beats()
        task = asyncio.create_task(transport.run(beats))
        try:
            await scenario(beats)
            assert not task.done(), "a transport never ends by itself"
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return beats.count

    return asyncio.run(both())


async def in_thread(function: Callable[[], object]) -> None:
    await asyncio.get_running_loop().run_in_executor(None, function)


def drained(client: socket.socket) -> None:
    """Wait until all that was sent has been taken: until the other side has hung up, or asks for more."""
    client.shutdown(socket.SHUT_WR)
    client.recv(1)


def test_beats_are_seen(path: str) -> None:
    async def scenario(beats: Beats) -> None:
        client, _ = await asyncio.get_running_loop().run_in_executor(None, listener.accept)
        with client:
            for line in (b"hal-beat 1\n", b"hal-beat 2\r\n", b"hal-beat 18446744073709551615\n"):
                client.sendall(line)
                await beats.next()

    with channel(path) as listener:
        assert listen(LineTransport(path), scenario) == 3


def test_a_beat_may_arrive_in_pieces(path: str) -> None:
    async def scenario(beats: Beats) -> None:
        client, _ = await asyncio.get_running_loop().run_in_executor(None, listener.accept)
        with client:
            for piece in (b"hal", b"-be", b"at 7"):
                client.sendall(piece)
                await asyncio.sleep(0.03)  # three reads' time: nothing is to happen, so there is nothing to await
            assert beats.count == 0
            client.sendall(b"\n")
            await beats.next()

    with channel(path) as listener:
        assert listen(LineTransport(path), scenario) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n",
        b"hal-beat\n",
        b"hal-beat \n",
        b"hal-beat x\n",
        b"hal-beat -1\n",
        b"hal-beat 1 \n",
        b" hal-beat 1\n",
        b"Hal-beat 1\n",
        b"hal-beat 123456789012345678901\n",
        b"hal-beat 1\0\n",
        b"\xff\xfe\n",
        b"hal-beat 1",  # and then the end: half a line is none
        b"x" * 5000 + b"hal-beat 1\n",
        b"x" * 10_000 + b"\n",
        "hal-beat ²\n".encode(),
    ],
)
def test_garbage_is_no_sign_of_life(path: str, garbage: bytes) -> None:
    async def scenario(beats: Beats) -> None:
        client, _ = await asyncio.get_running_loop().run_in_executor(None, listener.accept)
        with client:
            client.sendall(garbage)
            await in_thread(lambda: drained(client))

    with channel(path) as listener:
        assert listen(LineTransport(path), scenario) == 0


def test_a_beat_among_garbage_counts(path: str) -> None:
    async def scenario(beats: Beats) -> None:
        client, _ = await asyncio.get_running_loop().run_in_executor(None, listener.accept)
        with client:
            client.sendall(b"\xff\0login: \r\n" + b"y" * 9000 + b"\nhal-beat 3\nmore")
            await beats.next()

    with channel(path) as listener:
        assert listen(LineTransport(path), scenario) == 1


def test_garbage_is_reported_at_the_first_line_and_at_every_tenfold(caplog: pytest.LogCaptureFixture) -> None:
    transport = LineTransport("/nowhere")
    for _ in range(2500):
        transport._report_garbage(1)
        transport._report_garbage(0)
    reported = [record.args for record in caplog.records]
    assert reported == [(1,), (10,), (100,), (1000,)]


def test_a_flood_is_read_slowly_and_beats_in_it_are_not_many_beats(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "READ_PAUSE", 0.05)
    sent = 0

    def flood(client: socket.socket) -> None:
        nonlocal sent
        with contextlib.suppress(OSError):  # the transport has been cancelled
            while True:
                sent += client.send(b"hal-beat 1\n" * 100)

    async def scenario(beats: Beats) -> None:
        client, _ = await asyncio.get_running_loop().run_in_executor(None, listener.accept)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        thread = threading.Thread(target=flood, args=(client,))
        begun = time.monotonic()
        thread.start()
        for _ in range(8):
            await beats.next()
        reads = 1 + (time.monotonic() - begun) / heartbeat.READ_PAUSE
        buffered = client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert beats.count <= reads + 1
        assert sent <= (reads + 1) * heartbeat.READ_BYTES + buffered + 1100
        client.shutdown(socket.SHUT_RDWR)
        await in_thread(thread.join)
        client.close()

    with channel(path) as listener:
        assert listen(LineTransport(path), scenario) >= 8


def test_a_channel_that_goes_is_opened_again(path: str) -> None:
    async def scenario(beats: Beats) -> None:
        for _ in range(3):  # a new QEMU each time, and a while without any
            await asyncio.sleep(0.02)
            with channel(path) as listener:
                client, _ = await asyncio.get_running_loop().run_in_executor(None, listener.accept)
                with client:
                    client.sendall(b"hal-beat 1\n")
                    await beats.next()
            Path(path).unlink()

    assert listen(LineTransport(path), scenario) == 3


def test_half_a_line_of_one_qemu_is_not_completed_by_the_next(path: str) -> None:
    async def scenario(beats: Beats) -> None:
        for text in (b"hal-", b"beat 1\n"):
            client, _ = await asyncio.get_running_loop().run_in_executor(None, listener.accept)
            with client:
                client.sendall(text)
                await in_thread(lambda one=client: drained(one))  # type: ignore[misc]  # a lambda's default has no type

    with channel(path) as listener:
        assert listen(LineTransport(path), scenario) == 0


def test_no_channel_at_all_is_waited_for_in_silence(path: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def scenario(beats: Beats) -> None:
        await asyncio.sleep(0.05)

    assert listen(LineTransport(path), scenario) == 0
    assert not caplog.records


def test_cancelling_hangs_up(path: str) -> None:
    clients: list[socket.socket] = []

    async def scenario(beats: Beats) -> None:
        client, _ = await asyncio.get_running_loop().run_in_executor(None, listener.accept)
        clients.append(client)
        client.sendall(b"hal-beat 1\n")
        await beats.next()

    with channel(path) as listener:
        listen(LineTransport(path), scenario)
        with clients[0] as client:
            client.settimeout(PATIENCE)
            assert client.recv(1) == b""


# --- the agent -------------------------------------------------------------------------------------------------------


def test_an_answer_of_the_agent_is_a_beat_and_no_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    async def ping(path: str, deadline: float) -> None:
        assert (path, deadline) == ("/agent.sock", 0.02)
        asked.append(time.monotonic())
        if len(asked) in (2, 3):
            raise QmpTimeout("/agent.sock: no answer in time")

    monkeypatch.setattr(guestagent, "ping", ping)

    async def scenario(beats: Beats) -> None:
        await beats.next()
        await beats.next()

    assert listen(AgentTransport("/agent.sock", 0.02), scenario) == 2
    assert len(asked) == 4
    assert all(later - sooner >= 0.019 for sooner, later in zip(asked, asked[1:]))


def test_a_slow_answer_does_not_shift_the_next_question(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    async def ping(path: str, deadline: float) -> None:
        asked.append(asyncio.get_running_loop().time())
        await asyncio.sleep(deadline * 0.75)

    monkeypatch.setattr(guestagent, "ping", ping)

    async def scenario(beats: Beats) -> None:
        for _ in range(4):
            await beats.next()

    listen(AgentTransport("/agent.sock", 0.1), scenario)
    shortest = min(later - sooner for sooner, later in zip(asked, asked[1:]))
    assert shortest < 0.175, "the interval, not the interval and the answer (a busy machine may delay one, not all)"
