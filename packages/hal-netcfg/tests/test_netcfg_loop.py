"""The resident's loop, with a FAKE engine and a FAKE clock: when it looks, rests, waits and tells, over minutes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import selectors
import socket
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest

from hal_core import config, replan
from hal_core.errors import ConfigError, HostError, QmpRefused, QmpTimeout
from hal_netcfg.config import NetcfgConfig
from hal_netcfg.engine import Sight
from hal_netcfg.links.apply import Outcome
from hal_netcfg.links.link import Group, Link
from hal_netcfg.plan.network import HostLink, Lan, Network, Port
from hal_netcfg.resident import events, loop, process
from hal_netcfg.resident.loop import LONGEST_REST_SECONDS, Loop

PORT = Port("eno1", "00:1b:21:00:00:01", "02:1b:21:00:00:01")
NETWORK = Network((Lan(0, PORT.mac, "bridge", (PORT,)),), HostLink())
WRONG = "hal.toml: /etc/hal/hal.toml: wrong; what was configured before holds"
NIC = Link("eno1", 1, master="hallan0", up=True, carrier=True)
SIGHT = Sight({"eno1": NIC}, NETWORK)


class FakeTime(asyncio.SelectorEventLoop):
    """Where nothing happens, time jumps to what is waited for."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.now


class _Jumping(selectors.DefaultSelector):
    def __init__(self, clock: FakeTime) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: Optional[float] = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "it waits for ever"
            if timeout > 0:
                self._clock.now = round(self._clock.now + max(1e-6, timeout), 6)  # it passes, however short the wait
        return ready


class AtOnce(Executor):
    """In place of a thread, which would take real time."""

    def __init__(self, *_: object) -> None:
        super().__init__()

    def submit(self, what: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(what(*arguments, **options))
        except Exception as error:  # noqa: BLE001 - as every executor
            done.set_exception(error)
        return done


class FakeEngine:
    """Answers what a test wants, and remembers what it was asked."""

    def __init__(self, clock: FakeTime) -> None:
        self._clock = clock
        self.looks: list[float] = []
        self.applied: list[tuple[float, frozenset[str]]] = []
        self.guarded: list[bool] = []
        self.configured: list[NetcfgConfig] = []
        self.sight: Callable[[], Sight] = lambda: SIGHT
        self.outcomes: Callable[[], tuple[Outcome, ...]] = lambda: (Outcome("LAN 0"),)
        self.firewall: Callable[[], bool] = lambda: False

    def look(self) -> Sight:
        self.looks.append(self._clock.now)
        return self.sight()

    def groups(self, sight: Sight) -> tuple[Group, ...]:
        return tuple(Group(f"LAN {lan.number}", ()) for lan in sight.network.lans)

    def guard(self, sight: Sight, touched: bool) -> bool:
        self.guarded.append(touched)
        return self.firewall()

    def apply(self, sight: Sight, skipped: frozenset[str]) -> tuple[Outcome, ...]:
        self.applied.append((self._clock.now, skipped))
        return tuple(outcome for outcome in self.outcomes() if outcome.group not in skipped)

    def configure(self, to: NetcfgConfig) -> None:
        self.configured.append(to)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        yield


class FakeSession:
    """QMP with a QEMU that comes and goes: see :class:`hal_core.qmp.Session`."""

    name = "netcfg"

    def __init__(self) -> None:
        self.connected = False
        self.told: list[tuple[str, bool]] = []
        self.answer: Callable[[], None] = lambda: None
        self._changed = asyncio.Condition()

    async def switch(self, connected: bool) -> None:
        async with self._changed:
            self.connected = connected
            self._changed.notify_all()

    async def reconnect(self, deadline: float = 3.0, longest_pause: float = 10.0) -> None:
        await self._wait(True)

    async def lost(self) -> None:
        await self._wait(False)

    async def close(self) -> None:
        self.connected = False

    async def execute(self, command: str, arguments: dict[str, Any]) -> object:
        assert command == "set_link"
        self.answer()
        self.told.append((arguments["name"], arguments["up"]))
        return {}

    async def _wait(self, connected: bool) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self.connected == connected)


class Rig:
    """A loop that runs."""

    def __init__(self, directory: Path, clock: FakeTime) -> None:
        self.clock = clock
        self.engine = FakeEngine(clock)
        self.told: list[tuple[float, str]] = []
        self.loop = Loop(self.engine, str(directory), self._tell)  # type: ignore[arg-type]
        self.qemu = FakeSession()
        self.loop._session = self.qemu  # type: ignore[assignment]
        self._file = directory / "netcfg/status.json"

    def _tell(self, what: str) -> None:
        self.told.append((self.clock.now, what))

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self._file.read_text())
        return status

    def problems(self) -> list[str]:
        return [f"{one['what']}: {one['message']}" for one in self.status()["problems"]]


@pytest.fixture(name="kernel")
def new_kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, socket.socket]]:
    """The other ends of what the loop hears the kernel's events by."""
    ends = {}
    with contextlib.ExitStack() as stack:
        for name in ("interfaces", "firewall"):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            theirs.setblocking(False)
            stack.callback(ours.close)
            stack.callback(theirs.close)  # where no loop has been run to do it
            monkeypatch.setattr(events, name, lambda theirs=theirs: theirs)
            ends[name] = ours
        monkeypatch.setattr(loop, "ThreadPoolExecutor", AtOnce)
        yield ends


Story = Callable[[Rig], Awaitable[None]]
Run = Callable[[Story], Rig]


@pytest.fixture(name="run")
def new_run(tmp_path: Path, kernel: dict[str, socket.socket]) -> Iterator[Run]:
    clock = FakeTime()

    def run(story: Story) -> Rig:
        async def told() -> Rig:
            rig = Rig(tmp_path, clock)
            running = asyncio.create_task(rig.loop.run())
            await story(rig)
            rig.loop.stop()
            await running
            return rig

        return clock.run_until_complete(told())

    yield run
    clock.close()


async def a_minute(rig: Rig) -> None:
    await asyncio.sleep(60)


async def five_minutes(rig: Rig) -> None:
    await asyncio.sleep(300)


def test_when_nothing_happens_it_looks_now_and_then(run: Run) -> None:
    rig = run(five_minutes)
    gaps = {later - earlier for earlier, later in zip(rig.engine.looks[:-1], rig.engine.looks[1:-1])}
    assert gaps == {LONGEST_REST_SECONDS}
    assert rig.told[0] == (1000.0, "READY=1")
    assert {what for _, what in rig.told[1:]} == {"WATCHDOG=1"}
    assert len(rig.told) == 10
    assert rig.engine.guarded[:3] == [True, False, False], "the firewall is looked at once, and then when it is touched"


def test_a_new_file_is_seen_within_seconds(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAL_CONFIG_DIR", str(tmp_path / "etc"))
    monkeypatch.setenv("HAL_DEFAULTS_DIR", str(tmp_path / "none"))
    declared = tmp_path / "etc/ports.d/syslog.toml"

    async def story(rig: Rig) -> None:
        await asyncio.sleep(1)
        (tmp_path / "plan.json").write_text("{}")
        await asyncio.sleep(7)
        declared.parent.mkdir(parents=True)
        declared.write_text("")
        await asyncio.sleep(10)
        declared.unlink()
        await asyncio.sleep(10)

    rig = run(story)
    assert rig.engine.looks[:4] == [1000.0, 1005.0, 1010.0, 1020.0]


def test_events_wake_it_and_say_nothing_more(run: Run, kernel: dict[str, socket.socket]) -> None:
    async def story(rig: Rig) -> None:
        await asyncio.sleep(1)
        for _ in range(3):
            kernel["interfaces"].send(b"whatever")
        await asyncio.sleep(1)
        kernel["firewall"].send(b"x")
        await asyncio.sleep(1)

    rig = run(story)
    assert rig.engine.looks[:3] == [1000.0, 1001.0, 1002.0], "events that come together are one"
    assert rig.engine.guarded[:3] == [True, False, True]


def test_what_fails_is_waited_out_and_the_rest_is_not(run: Run) -> None:
    async def story(rig: Rig) -> None:
        rig.engine.outcomes = lambda: (Outcome("LAN 0"), Outcome("LAN 1", problem="busy"))
        await asyncio.sleep(20)
        assert rig.problems() == ["LAN 1: busy"]
        rig.engine.outcomes = lambda: (Outcome("LAN 0"), Outcome("LAN 1"))
        await asyncio.sleep(60)

    rig = run(story)
    tried = [moment - 1000 for moment, skipped in rig.engine.applied if "LAN 1" not in skipped]
    assert tried[:6] == [0, 0.5, 1.5, 3.5, 7.5, 15.5]
    assert len(rig.engine.looks) < 35
    assert rig.problems() == []


def test_a_lan_that_waits_for_the_products_end_is_looked_at_as_usual(run: Run) -> None:
    async def story(rig: Rig) -> None:
        rig.engine.outcomes = lambda: (Outcome("LAN 0", problem="at its next start", postponed=True),)
        await a_minute(rig)

    rig = run(story)
    assert {skipped for _, skipped in rig.engine.applied} == {frozenset()}
    assert len(rig.engine.looks) < 15
    assert rig.problems() == ["LAN 0: at its next start"]


def test_it_rests_when_what_has_failed_is_no_more(run: Run) -> None:
    async def story(rig: Rig) -> None:
        rig.engine.outcomes = lambda: (Outcome("LAN 0", problem="busy"),)
        await asyncio.sleep(2)
        rig.engine.sight = lambda: Sight({}, replace(NETWORK, lans=()))
        rig.engine.outcomes = tuple
        await a_minute(rig)

    rig = run(story)
    assert len(rig.engine.looks) < 20
    assert rig.problems() == []


def no(*_: object) -> Any:
    raise HostError("no")


def no_room(*_: object) -> Any:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("part", "failure"),
    [("sight", no), ("firewall", no), ("firewall", no_room), ("outcomes", no), ("outcomes", no_room)],
)
def test_a_part_that_fails_is_said_once_and_tried_again(
    run: Run, part: str, failure: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:

    async def story(rig: Rig) -> None:
        works = getattr(rig.engine, part)
        await asyncio.sleep(1)
        setattr(rig.engine, part, failure)
        await a_minute(rig)
        assert len(rig.problems()) == 1
        setattr(rig.engine, part, works)
        await a_minute(rig)

    with caplog.at_level("INFO", "hal_netcfg"):
        rig = run(story)
    assert rig.problems() == []
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("hal_netcfg")]
    assert len([line for line in lines if "it is tried again" in line]) == 1
    assert len([line for line in lines if "is as it ought to be again" in line]) == 1
    assert len(rig.engine.looks) < 50


def test_without_a_firewall_nothing_comes_up(run: Run) -> None:
    async def story(rig: Rig) -> None:
        rig.engine.firewall = no
        await a_minute(rig)
        assert rig.engine.applied == []
        rig.engine.firewall = lambda: True
        await asyncio.sleep(31)

    rig = run(story)
    assert rig.engine.applied
    assert rig.engine.guarded[:7] == [True] * 7, "until it is loaded, it has to be"


def cable(plugged: bool) -> Callable[[], Sight]:
    return lambda: Sight({"eno1": replace(NIC, carrier=plugged)}, NETWORK)


def test_a_qemu_that_comes_is_told_of_the_cables_and_then_of_each_change(
    run: Run, kernel: dict[str, socket.socket]
) -> None:
    async def story(rig: Rig) -> None:
        await asyncio.sleep(1)
        await rig.qemu.switch(True)
        await asyncio.sleep(1)
        assert rig.qemu.told == [("lan-0", True)]
        assert rig.status()["product_links"] == {"0": True}
        for plugged in (False, True, False, True, False):
            rig.engine.sight = cable(plugged)
            kernel["interfaces"].send(b"x")
            await asyncio.sleep(0.01)
        assert rig.qemu.told[1:] == [("lan-0", False)], "at once, and the rest when it has settled"
        await asyncio.sleep(0.15)
        rig.engine.sight = cable(True)
        kernel["interfaces"].send(b"x")
        await asyncio.sleep(0.05)
        assert rig.qemu.told[2:] == [("lan-0", True)]
        await rig.qemu.switch(False)
        await asyncio.sleep(2)
        assert rig.status()["product_links"] == {}
        await rig.qemu.switch(True)
        await asyncio.sleep(1)

    rig = run(story)
    assert rig.qemu.told[3:] == [("lan-0", True)], "a new one knows nothing"


def refuse() -> None:
    raise QmpRefused("set_link: Device 'lan-0' not found", "DeviceNotFound")


def hang() -> None:
    raise QmpTimeout("no answer")


@pytest.mark.parametrize(("answer", "told"), [(refuse, []), (hang, [("lan-0", True)])])
def test_a_qemu_without_such_a_nic_is_not_asked_again_and_one_that_hangs_is(
    run: Run, answer: Callable[[], None], told: list[tuple[str, bool]]
) -> None:
    async def story(rig: Rig) -> None:
        rig.qemu.answer = answer
        await rig.qemu.switch(True)
        await a_minute(rig)
        assert rig.status()["product_links"] == ({"0": None} if answer is refuse else {})
        rig.qemu.answer = lambda: None
        await a_minute(rig)

    rig = run(story)
    assert rig.qemu.told == told
    assert len(rig.engine.looks) < 50


def test_another_configuration_is_read_when_it_is_told_to(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = [ConfigError("/etc/hal/hal.toml: wrong")]

    def load(*_: object) -> NetcfgConfig:
        if wrong:
            raise wrong.pop()
        return NetcfgConfig(mtu=9000)

    monkeypatch.setattr(config, "load", load)

    async def story(rig: Rig) -> None:
        await asyncio.sleep(1)
        assert rig.engine.configured == []
        rig.loop.reload()
        await asyncio.sleep(1)
        assert rig.problems() == [WRONG]
        await asyncio.sleep(LONGEST_REST_SECONDS)
        assert rig.problems() == []
        await a_minute(rig)

    rig = run(story)
    assert rig.engine.configured == [NetcfgConfig(mtu=9000)], "and not again"


def test_a_mistake_in_hal_toml_stops_neither_mirroring_nor_repair(
    run: Run, kernel: dict[str, socket.socket], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right: list[NetcfgConfig] = []

    def load(*_: object) -> NetcfgConfig:
        if not right:
            raise ConfigError("/etc/hal/hal.toml: wrong")
        return right[0]

    monkeypatch.setattr(config, "load", load)

    async def story(rig: Rig) -> None:
        await rig.qemu.switch(True)
        await asyncio.sleep(1)
        rig.loop.reload()
        await asyncio.sleep(1)
        before = len(rig.engine.applied)
        rig.engine.sight = cable(False)
        kernel["interfaces"].send(b"x")
        await asyncio.sleep(1)
        assert rig.qemu.told == [("lan-0", True), ("lan-0", False)]
        assert rig.status()["product_links"] == {"0": False}
        assert len(rig.engine.applied) == before + 1, "what is to be put right is"
        rig.engine.firewall = lambda: True
        kernel["firewall"].send(b"x")
        await a_minute(rig)
        assert rig.engine.guarded.count(True) == 2
        assert rig.problems() == [WRONG]
        right.append(NetcfgConfig(mtu=9000))
        await asyncio.sleep(LONGEST_REST_SECONDS)
        assert rig.problems() == []

    with caplog.at_level("INFO", "hal_netcfg"):
        rig = run(story)
    assert rig.engine.configured == right
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("hal.toml")]
    assert lines == [f"{WRONG}; it is tried again", "hal.toml: is as it ought to be again", "hal.toml: read again"]


@pytest.mark.parametrize("mistakes", [0, 2])
def test_what_was_seen_before_hal_toml_is_to_be_read_again_is_not_brought_about(
    run: Run, monkeypatch: pytest.MonkeyPatch, mistakes: int
) -> None:
    """Somebody has applied another hal.toml meanwhile: putting right what has been seen would take that back."""
    wrong = [ConfigError("/etc/hal/hal.toml: wrong")] * mistakes

    def load(*_: object) -> NetcfgConfig:
        if wrong:
            raise wrong.pop()
        return NetcfgConfig()

    monkeypatch.setattr(config, "load", load)

    async def story(rig: Rig) -> None:
        await asyncio.sleep(1)
        if mistakes:
            rig.loop.reload()
            await asyncio.sleep(1)

        def while_it_is_looked_at() -> Sight:
            rig.engine.sight = lambda: SIGHT
            rig.loop.reload()
            return SIGHT

        rig.engine.sight = while_it_is_looked_at
        looked, applied = len(rig.engine.looks), len(rig.engine.applied)
        rig.loop._again.set()
        await asyncio.sleep(1)
        assert (len(rig.engine.looks) - looked, len(rig.engine.applied) - applied) == (2, 1)

    run(story)


def test_a_nic_that_hal_vmm_does_not_know_is_planned(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = Path(replan.path(str(tmp_path), "netcfg"))

    async def story(rig: Rig) -> None:
        await a_minute(rig)
        assert not asked.exists()
        rig.engine.sight = lambda: Sight({"eno1": NIC}, replace(NETWORK, unplanned=("eno8", "eno9")))
        await asyncio.sleep(31)
        assert asked.read_text() == "new NICs: eno8, eno9\n"
        asked.unlink()
        await five_minutes(rig)
        assert asked.exists(), "it asks again"
        assert rig.problems() == [
            "the plan: new NICs: eno8, eno9, and hal-vmm has not planned anew: journalctl -b -u hal-qemu-plan"
        ]
        rig.engine.sight = lambda: SIGHT
        await a_minute(rig)

    with caplog.at_level("INFO"):
        rig = run(story)
    assert rig.problems() == []
    assert len(rig.engine.looks) < 60
    lines = [record.getMessage() for record in caplog.records]
    assert [line for line in lines if "asking" in line] == ["new NICs: eno8, eno9: asking hal-vmm for a new plan"]
    assert len([line for line in lines if line.startswith("the plan: ")]) == 2, "wrong, and right again"


def test_what_cannot_be_asked_for_is_said_and_stops_nothing(
    run: Run, tmp_path: Path, kernel: dict[str, socket.socket]
) -> None:
    async def story(rig: Rig) -> None:
        Path(replan.path(str(tmp_path), "netcfg")).mkdir(parents=True)
        rig.engine.sight = lambda: Sight({"eno1": NIC}, replace(NETWORK, unplanned=("eno9",)))
        await a_minute(rig)
        for _ in range(3):
            kernel["interfaces"].send(b"something has changed")
            await asyncio.sleep(0.1)
            assert [line.partition(": /")[0] for line in rig.problems()] == ["the plan"]
        assert rig.engine.applied

    run(story)


def test_its_parts_are_made_within_the_event_loop_that_they_are_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Python 3.9 binds an asyncio.Event to the loop that there is when it is made."""
    made = []

    class Nothing:
        def __init__(self, *_: object) -> None:
            made.append(asyncio.get_running_loop())

        def stop(self) -> None: ...

        reload = stop

        async def run(self) -> None:
            assert made == [asyncio.get_running_loop()]

    monkeypatch.setattr(process, "Loop", Nothing)
    asyncio.run(process._run(None, str(tmp_path)))  # type: ignore[arg-type]
    assert made
