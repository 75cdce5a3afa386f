"""QMP sessions, the resident's and the one-shot command's, against a peer that misbehaves; and against a real QEMU."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from hal_core.errors import HostError, QmpDisconnected, QmpError, QmpRefused, QmpTimeout
from hal_core.qmp import Event, Session, keep
from hal_core.qmp_once import Once
from hal_core.testing.fakeqmp import HANG_UP, LATE, SILENCE, FakeQmp, Raw, Refusal

SOON = 0.05  # a deadline that is meant to be missed


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "qmp")


@pytest.fixture
def qemu(path: str) -> Iterator[FakeQmp]:
    with FakeQmp(path) as fake:
        yield fake


def with_session(path: str, test: Callable[[Session], Awaitable[None]]) -> None:
    """Run a test on a connected session, and see that it leaves no task and no socket behind."""

    async def run() -> None:
        session = Session(path, "test")
        await session.connect()
        try:
            await test(session)
        finally:
            await session.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not session.connected

    asyncio.run(run())


def test_a_command_is_answered(qemu: FakeQmp) -> None:
    qemu.on("query-status", lambda arguments: {"asked": arguments})

    async def test(session: Session) -> None:
        assert await session.execute("query-status", {"a": 1}) == {"asked": {"a": 1}}
        assert session.peer_pid == os.getpid()

    with_session(qemu.path, test)


def test_answers_find_their_commands_in_any_order(qemu: FakeQmp) -> None:
    qemu.on("slow", LATE)

    async def test(session: Session) -> None:
        slow = asyncio.ensure_future(session.execute("slow"))
        await asyncio.to_thread(qemu.wait_for, "slow")
        assert await session.execute("quick") == {}
        qemu.release()
        assert await slow == {"late": True}

    with_session(qemu.path, test)


def test_a_late_answer_is_dropped_and_the_session_stays_usable(qemu: FakeQmp) -> None:
    qemu.on("slow", LATE)

    async def test(session: Session) -> None:
        with pytest.raises(QmpTimeout, match=r"no answer to slow within 0\.05 s"):
            await session.execute("slow", deadline=SOON)
        assert await session.execute("next") == {}
        qemu.release()
        assert await session.execute("next") == {}

    with_session(qemu.path, test)


def test_a_refusal_carries_qemus_words_but_no_control_characters(qemu: FakeQmp) -> None:
    qemu.on("device_add", Refusal("DeviceNotFound", "no\x1b[2J bus\n'x'"))

    async def test(session: Session) -> None:
        with pytest.raises(QmpRefused) as refused:
            await session.execute("device_add")
        assert refused.value.message == "device_add was refused: no [2J bus 'x'"
        assert refused.value.error_class == "DeviceNotFound"

    with_session(qemu.path, test)


def test_commands_without_an_answer_are_bounded(qemu: FakeQmp) -> None:
    qemu.on("void", SILENCE)

    async def test(session: Session) -> None:
        results = await asyncio.gather(
            *(session.execute("void", deadline=SOON) for _ in range(70)), return_exceptions=True
        )
        assert all(isinstance(result, QmpTimeout) for result in results)
        assert sum("not sent" in str(result) for result in results) == 6

    with_session(qemu.path, test)


def test_a_peer_that_hangs_up_ends_the_command_and_the_events(qemu: FakeQmp) -> None:
    qemu.on("quit", HANG_UP)

    async def test(session: Session) -> None:
        with pytest.raises(QmpDisconnected, match="during quit"):
            await session.execute("quit")
        assert [event async for event in session.events()] == []
        await session.lost()
        assert session.again.is_set()
        with pytest.raises(QmpDisconnected, match="not connected"):
            await session.execute("query-status")
        await session.connect()
        assert await session.execute("query-status") == {}

    with_session(qemu.path, test)


@pytest.mark.parametrize("garbage", [b"garbage\n", b"[1]\n", b'{"error": 5}\n', b"[" * 100_000 + b"\n", b"\xff\xfe\n"])
def test_garbage_ends_the_session_and_nothing_else(
    qemu: FakeQmp, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    qemu.on("query-status", Raw(garbage))

    async def test(session: Session) -> None:
        with pytest.raises(QmpDisconnected):
            await session.execute("query-status")
        await session.lost()
        assert not session.connected

    with_session(qemu.path, test)
    assert all(len(record.getMessage().splitlines()) == 1 for record in caplog.records)


def test_events_arrive_in_order_and_only_the_newest_are_kept(qemu: FakeQmp) -> None:
    seen: list[Event] = []

    def count_to_300() -> None:
        for number in range(300):
            qemu.event("COUNT", {"number": number})

    async def run() -> None:
        session = Session(qemu.path, "test", on_event=seen.append)
        await session.connect()
        await asyncio.to_thread(count_to_300)  # in a thread: it waits for the reader, which is us
        await session.execute("query-status")  # its answer comes after all of them
        assert session.again.is_set()
        await session.close()
        kept = [event.data["number"] async for event in session.events()]
        assert kept == list(range(300 - 256, 300))

    asyncio.run(run())
    assert [event.data["number"] for event in seen] == list(range(300))
    assert seen[0] == Event("COUNT", {"number": 0}, 1700000000.0)


def test_events_wake_a_reader_that_waits(qemu: FakeQmp) -> None:
    async def test(session: Session) -> None:
        stream = session.events()
        waiting = asyncio.ensure_future(stream.__anext__())
        await asyncio.sleep(0)
        qemu.event("RESET")
        assert (await asyncio.wait_for(waiting, 5)).name == "RESET"

    with_session(qemu.path, test)


@pytest.mark.parametrize("event", [{"event": 5}, {"event": "X", "data": 3, "timestamp": []}, {"event": None}])
def test_malformed_events_do_no_harm(qemu: FakeQmp, event: dict[str, object]) -> None:
    async def test(session: Session) -> None:
        qemu.send(event)
        assert await session.execute("query-status") == {}
        assert (await session.events().__anext__()).data == {}

    with_session(qemu.path, test)


def test_a_file_descriptor_is_handed_over(qemu: FakeQmp, tmp_path: Path) -> None:
    (tmp_path / "disk").write_text("hello")
    with (tmp_path / "disk").open() as file:

        async def test(session: Session) -> None:
            assert await session.execute_with_fd("add-fd", {"fdset-id": 1}, file.fileno()) == {}

        with_session(qemu.path, test)
    assert qemu.received == [("add-fd", {"fdset-id": 1})]
    assert [os.pread(fd, 5, 0) for fd in qemu.fds] == [b"hello"]


def test_no_file_descriptor_is_sent_while_an_answer_is_overdue(qemu: FakeQmp) -> None:
    qemu.on("slow", LATE)

    async def test(session: Session) -> None:
        with pytest.raises(QmpTimeout):
            await session.execute("slow", deadline=SOON)
        with pytest.raises(QmpTimeout, match="add-fd not sent"):
            await session.execute_with_fd("add-fd", None, 0)
        assert qemu.fds == []
        qemu.release()
        await session.execute("query-status")  # answered after it
        assert await session.execute_with_fd("add-fd", None, 0) == {}

    with_session(qemu.path, test)


def test_a_held_socket_is_a_timeout_with_a_hint(qemu: FakeQmp) -> None:
    async def test(_: Session) -> None:
        second = Session(qemu.path, "second")
        with pytest.raises(QmpTimeout, match="no greeting") as timeout:
            await second.connect(deadline=SOON)
        assert "one client" in timeout.value.hint
        await second.close()

    with_session(qemu.path, test)
    with Once(qemu.path) as first:
        assert first.execute("query-status") == {}
        with pytest.raises(QmpTimeout, match="no greeting") as blocking:
            Once(qemu.path, deadline=SOON)
        assert "one client" in blocking.value.hint


def test_a_full_backlog_is_not_taken_for_a_connection(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(path)
        listener.listen(0)
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
        waiting.connect(path)
        with pytest.raises(QmpTimeout, match="waiting in the queue"):
            asyncio.run(connect_once(path))


async def connect_once(path: str) -> None:
    await Session(path, "test").connect(deadline=SOON)


@pytest.mark.parametrize("connect", [lambda path: asyncio.run(connect_once(path)), lambda path: Once(path, SOON)])
def test_connecting_to_nothing(path: str, connect: Callable[[str], object]) -> None:
    with pytest.raises(QmpDisconnected, match="nobody listens"):
        connect(path)
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(path)
    with pytest.raises(QmpDisconnected, match="nobody listens"):
        connect(path)
    with pytest.raises(QmpDisconnected, match="path too long"):
        connect("/" + "x" * 200)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may connect to everything")
def test_connecting_without_permission(qemu: FakeQmp) -> None:
    os.chmod(qemu.path, 0)
    with pytest.raises(HostError, match="no permission"):
        Once(qemu.path, SOON)


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH\r\n", b"{}\n", b"[]\n"])
@pytest.mark.parametrize("connect", [lambda path: asyncio.run(connect_once(path)), lambda path: Once(path, 5)])
def test_connecting_to_something_else(path: str, greeting: bytes, connect: Callable[[str], object]) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        with socket.socket(socket.AF_UNIX) as early:  # fills the queue's first place, and is answered like the other
            early.connect(path)
        listener.accept()[0].close()
        with ThreadedGreeting(listener, greeting), pytest.raises(QmpError, match="not"):
            connect(path)


class ThreadedGreeting(contextlib.AbstractContextManager["ThreadedGreeting"]):
    """Accepts one client and says just one thing to it."""

    def __init__(self, listener: socket.socket, greeting: bytes) -> None:
        import threading

        def greet() -> None:
            client, _ = listener.accept()
            with client:
                client.sendall(greeting)
                client.recv(1)  # until the other side hangs up

        self._thread = threading.Thread(target=greet)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()


def test_closing_does_not_wait_for_a_peer_that_never_reads(path: str) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1)
            listener.setblocking(False)
            session = Session(path, "test")
            connecting = asyncio.ensure_future(session.connect())
            peer, _ = await loop.sock_accept(listener)
            with peer:
                await loop.sock_sendall(peer, b'{"QMP": {"version": {}, "capabilities": []}}\n')
                await loop.sock_recv(peer, 1000)
                await loop.sock_sendall(peer, b'{"return": {}}\n')
                await connecting
                with pytest.raises(QmpTimeout):
                    await session.execute("human-monitor-command", {"x": "y" * 2_000_000}, deadline=SOON)
                await asyncio.wait_for(session.close(), 5)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_a_caller_that_is_cancelled_leaves_the_session_usable(qemu: FakeQmp) -> None:
    qemu.on("slow", LATE)

    async def test(session: Session) -> None:
        call = asyncio.ensure_future(session.execute("slow"))
        await asyncio.to_thread(qemu.wait_for, "slow")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        qemu.release()
        assert await session.execute("query-status") == {}

    with_session(qemu.path, test)


def test_keep_connects_again_until_its_work_is_done(qemu: FakeQmp) -> None:
    rounds: list[object] = []

    async def use(session: Session) -> None:
        rounds.append(await session.execute("query-status"))
        if len(rounds) < 2:
            qemu.hang_up()
            await session.lost()

    async def run() -> None:
        await asyncio.wait_for(keep(Session(qemu.path, "test"), use), 10)

    asyncio.run(run())
    assert rounds == [{}, {}]


def test_reconnect_waits_for_a_qemu_that_is_not_there_yet(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        session = Session(path, "test")
        connecting = asyncio.ensure_future(session.reconnect(longest_pause=0.05))
        while not caplog.records:
            await asyncio.sleep(0)
        with FakeQmp(path):
            await asyncio.wait_for(connecting, 10)
            assert session.connected
            await session.close()

    with caplog.at_level("INFO"):
        asyncio.run(run())
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_once_answers_events_and_refusals(qemu: FakeQmp) -> None:
    qemu.on("device_add", Refusal("DeviceNotFound", "nothing there"))
    qemu.on("slow", LATE)
    with Once(qemu.path) as qmp:
        qemu.event("RESET")
        assert qmp.execute("query-status") == {}
        with pytest.raises(QmpRefused, match="device_add was refused: nothing there") as refused:
            qmp.execute("device_add", {"driver": "x"})
        assert refused.value.error_class == "DeviceNotFound"
        with pytest.raises(QmpTimeout, match="no answer to slow in time"):
            qmp.execute("slow", deadline=SOON)
        qemu.release()
        assert qmp.execute("query-status") == {}
        qemu.event("STOP")
        qemu.event("SHUTDOWN", {"reason": "guest-reset"})
        assert qmp.wait_event(("SHUTDOWN",), 5)["data"] == {"reason": "guest-reset"}
        with pytest.raises(QmpTimeout, match="no RESET in time"):
            qmp.wait_event(("RESET",), SOON)


def test_once_hands_over_a_file_descriptor(qemu: FakeQmp) -> None:
    with Once(qemu.path) as qmp:
        qmp.execute("add-fd", {"fdset-id": 3}, fd=0)
    assert len(qemu.fds) == 1


@pytest.mark.parametrize("garbage", [b"garbage\n", b"[1]\n", b"[" * 100_000 + b"\n", b"\xff\n"])
def test_once_and_garbage(qemu: FakeQmp, garbage: bytes) -> None:
    qemu.on("query-status", Raw(garbage))
    with Once(qemu.path) as qmp, pytest.raises(QmpError, match=r"not JSON|not QMP"):
        qmp.execute("query-status")


def test_once_and_a_peer_that_hangs_up(qemu: FakeQmp) -> None:
    qemu.on("quit", HANG_UP)
    with Once(qemu.path) as qmp:
        with pytest.raises(QmpDisconnected, match="QEMU hung up"):
            qmp.execute("quit")
        with pytest.raises(QmpDisconnected):
            qmp.execute("query-status")


needs_qemu = pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="no qemu-system-x86_64 here")
NOTHING = ("qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none", "-S")


@pytest.mark.component
@needs_qemu
def test_a_real_qemu_over_a_socket_pair() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [*NOTHING, "-chardev", f"socket,id=q,fd={theirs.fileno()}", "-mon", "chardev=q,mode=control"],
            pass_fds=[theirs.fileno()],
        )
    with Once.over(ours, deadline=30) as qmp:
        assert qmp.execute("query-status")["running"] is False
        assert len(qmp.execute("query-qmp-schema")) > 100
        with pytest.raises(QmpRefused) as refused:
            qmp.execute("no-such-command")
        assert refused.value.error_class == "CommandNotFound"
        qmp.execute("quit")
        assert qmp.wait_event(("SHUTDOWN",), 10)["data"]["reason"] == "host-qmp-quit"
    assert process.wait(10) == 0


@pytest.mark.component
@needs_qemu
def test_a_real_qemu_and_a_session(path: str, tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    listening = tmp_path / "ready"
    process = subprocess.Popen([*NOTHING, "-qmp", f"unix:{path},server=on,wait=off", "-pidfile", str(listening)])

    async def test() -> None:
        session = Session(path, "test")
        await asyncio.wait_for(session.reconnect(longest_pause=0.1), 30)
        assert session.peer_pid == process.pid
        with (tmp_path / "disk").open("rb+") as disk:
            added = await session.execute_with_fd("add-fd", {"fdset-id": 7}, disk.fileno())
            assert isinstance(added, dict)
            assert added["fdset-id"] == 7
        with pytest.raises(QmpTimeout, match="no greeting"):
            await Session(path, "second").connect(deadline=0.3)
        await session.execute("quit")
        assert [event.name async for event in session.events()] == ["SHUTDOWN"]
        await session.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    try:
        asyncio.run(test())
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
