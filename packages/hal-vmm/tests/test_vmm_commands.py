"""The verbs of `hal-vmm`: what they take, what they refuse, and what they do while nothing runs."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import math
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_core import guestagent, qmp_once
from hal_core.errors import HalError, HostError, QmpDisconnected, UsageError
from hal_core.testing.fakeqmp import SILENCE, FakeQmp
from hal_vmm import main
from hal_vmm.commands import control_command, stop_command
from hal_vmm.commands.control_command import parse_duration
from hal_vmm.config import HeartbeatConfig, StopConfig
from hal_vmm.manager import resident, state
from hal_vmm.manager.markers import Markers
from hal_vmm.manager.qemulock import lock_path
from hal_vmm.manager.state import State
from hal_vmm.manager.verdict import Signals, Verdict, judge

NO_PROCESS = 1 << 22  # PID_MAX_LIMIT (proc(5))


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A host on which nothing runs, without configuration."""
    for name in ("RUN", "STATE", "CONFIG", "DEFAULTS"):
        directory = tmp_path / name.lower()
        directory.mkdir()
        monkeypatch.setenv(f"HAL_{name}_DIR", str(directory))
    return str(tmp_path / "run")


def manager_runs(run_dir: str, qemu_pid: Optional[int] = None) -> None:
    """This process passes for the guest manager."""
    saved = State(boot_id=state.boot_id(), manager_pid=os.getpid(), qemu_pid=qemu_pid)
    state.save(run_dir, state.to_text(saved))


@contextlib.contextmanager
def qemu_runs(run_dir: str) -> Iterator[int]:
    """A process that passes for QEMU: its id. It does nothing, and ends by SIGKILL or SIGTERM."""
    sleep = shutil.which("sleep") or "/bin/sleep"
    pid = os.posix_spawn(sleep, [sleep, "600"], {})
    fd = os.open(lock_path(run_dir), os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, fcntl.F_WRLCK.to_bytes(2, sys.byteorder) + bytes(30))
    os.write(fd, f"{pid}\n".encode())
    try:
        yield pid
    finally:
        os.close(fd)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


# --- hal-vmm itself --------------------------------------------------------------------------------------------------


def test_every_verb_is_a_module_with_a_main() -> None:
    for verb, (module, text) in main.VERBS.items():
        assert callable(importlib.import_module(f"hal_vmm.commands.{module}").main), verb
        assert f"  {verb:<12} {text}\n" in main.PROGRAM.usage()


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["-h"], 0), (["--help"], 0), (["help"], 0)])
def test_usage(arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.PROGRAM.main(arguments) == status
    assert capsys.readouterr().out == main.PROGRAM.usage()


@pytest.mark.parametrize("verb", ["", "strat", "--verbose", "../status", "stop_command", "os"])
def test_an_unknown_verb_is_one_line_with_the_known_ones(verb: str) -> None:
    with pytest.raises(UsageError, match="unknown verb ") as raised:
        main.PROGRAM.main([verb])
    assert all(known in raised.value.hint for known in main.VERBS)


@pytest.mark.parametrize("verb", ["status", "start", "stop", "reset", "dump", "maintenance", "run"])
def test_help_of_each_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = 0
    try:
        status = main.PROGRAM.main([verb, "--help"])
    except SystemExit as done:  # as argparse does it
        status = int(done.code or 0)
    assert status == 0
    assert capsys.readouterr().out.startswith(f"usage: hal-vmm {verb}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["maintenance"],
        ["maintenance", "maybe"],
        ["maintenance", "on", "--for"],
        ["start", "now"],
        ["reset", "--force"],
        ["stop", "please"],
    ],
)
def test_wrong_arguments_are_a_usage_error_and_do_nothing(run_dir: str, arguments: list[str]) -> None:
    manager_runs(run_dir)
    markers = Markers(run_dir)
    markers.set_rescue("crashed")
    try:
        main.PROGRAM.main(arguments)
    except UsageError as error:
        status = error.exit_status
    except SystemExit as done:  # as argparse does it
        status = int(done.code or 0)
    assert status == 2
    assert sorted(os.listdir(os.path.join(run_dir, "vmm"))) == ["rescue", "state.json"]


# --- nothing runs ----------------------------------------------------------------------------------------------------


def test_stop_without_a_product_only_remembers_it(run_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.PROGRAM.main(["stop"]) == 0
    assert capsys.readouterr().out == "the product is not running; it will not be started until: hal vmm start\n"
    assert Markers(run_dir).stopped(None)


def test_stop_as_execstop_of_a_qemu_that_has_ended_does_nothing(run_dir: str) -> None:
    """ExecStop= is run too when QEMU has ended by itself (systemd.service(5)): nobody wanted a stop then."""
    assert main.PROGRAM.main(["stop", "--if-running"]) == 0
    assert not Markers(run_dir).stopped(None)


@pytest.mark.parametrize("verb", ["start", "reset"])
def test_without_a_manager_nobody_would_do_it(run_dir: str, verb: str) -> None:
    with pytest.raises(HostError, match="the guest manager is not running"):
        main.PROGRAM.main([verb])


def test_a_manager_that_has_died_is_none(run_dir: str) -> None:
    state.save(run_dir, state.to_text(State(boot_id=state.boot_id(), manager_pid=NO_PROCESS)))
    with pytest.raises(HostError, match="the guest manager is not running"):
        main.PROGRAM.main(["start"])


@pytest.mark.parametrize("verb", ["reset", "dump"])
def test_without_a_product_there_is_nothing_to_do_it_to(run_dir: str, verb: str) -> None:
    manager_runs(run_dir)
    with pytest.raises(HostError, match="the product is not running"):
        main.PROGRAM.main([verb])


def test_start_forgives_everything(run_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    manager_runs(run_dir)
    markers = Markers(run_dir)
    markers.set_stopped(None)
    markers.set_rescue("The product has crashed 5 times")
    assert main.PROGRAM.main(["start"]) == 0
    assert not markers.stopped(None)
    assert markers.rescue() is None
    assert "the guest manager starts the product now" in capsys.readouterr().out


def test_start_of_a_product_that_runs_says_so(run_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    with qemu_runs(run_dir) as pid:
        manager_runs(run_dir, pid)
        assert main.PROGRAM.main(["start"]) == 0
    assert capsys.readouterr().out == "the product is running already\n"


# --- maintenance -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1s", 1), ("30min", 1800), ("30m", 1800), ("2h", 7200), ("2 h", 7200), ("1d", 86_400)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "90", "h", "0s", "-1h", "+1h", "1.5h", "1w", "2H", "1h30min", " 1h", "1h\n", "1  h", "²h", "1e3s", "٣h"],
)
def test_what_is_no_duration_says_what_is_one(text: str) -> None:
    with pytest.raises(UsageError, match="not a time") as raised:
        parse_duration(text)
    assert "90s, 30min, 2h, 1d" in raised.value.hint


@given(st.text())
def test_any_text_is_a_positive_finite_time_or_refused(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except UsageError:
        return
    assert 0 < seconds < math.inf


@given(st.integers(1, 999_999), st.sampled_from(["s", "min", "m", "h", "d"]))
def test_every_number_with_a_unit_is_a_time(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") == number * {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86_400}[unit]


def test_maintenance_for_a_while_and_without_end(run_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    markers = Markers(run_dir)
    before = time.monotonic()
    assert main.PROGRAM.main(["maintenance", "on", "--for", "2h"]) == 0
    until = markers.maintenance_until()
    assert until is not None
    assert before + 7200 <= until <= time.monotonic() + 7200
    assert main.PROGRAM.main(["maintenance", "on"]) == 0
    assert markers.maintenance_until() == math.inf
    assert capsys.readouterr().out.splitlines() == [
        "maintenance mode is on for 2h",
        "maintenance mode is on until: maintenance off",
    ]


@pytest.mark.parametrize(
    "arguments", [["on", "--for", "soon"], ["on", "--for", ""], ["off", "--for", "2h"], ["off", "--for", ""]]
)
def test_a_wrong_time_changes_nothing(run_dir: str, arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        main.PROGRAM.main(["maintenance", *arguments])
    assert Markers(run_dir).maintenance_until() is None


def test_a_product_leaving_maintenance_is_not_restarted_at_once(run_dir: str) -> None:
    """It was silent for hours while somebody worked on it: its heartbeats count from the end of that."""
    config = HeartbeatConfig(transport="agent")

    def verdict_at(now: float) -> Verdict:
        signals = Signals(
            now=now,
            status="running",
            answered=now,
            running_since=0.0,
            started=0.0,
            last_beat=10.0,
            unclean=False,
            maintenance_until=Markers(run_dir).maintenance_until(),
            dumping=False,
            panicked=False,
        )
        return judge(signals, config, hung_after=60).verdict

    # The monotonic clock of a machine that has just booted may be small: count from then on.
    later = time.monotonic() + 100_000
    assert verdict_at(later) is Verdict.DEAD, "or this test proves nothing"
    main.PROGRAM.main(["maintenance", "on"])
    assert verdict_at(later) is Verdict.EXCUSED
    main.PROGRAM.main(["maintenance", "off"])
    ended = Markers(run_dir).maintenance_until()
    assert ended is not None
    assert ended <= time.monotonic(), "it is over"
    demanded = (config.missed + 0.5) * config.interval
    if ended > config.boot_grace:
        assert verdict_at(ended + demanded - 1) is Verdict.MISSING
    assert verdict_at(ended + config.boot_grace + demanded) is Verdict.DEAD


# --- stop, with a QEMU in the test's hands ---------------------------------------------------------------------------

QUICKLY = StopConfig(agent=0, acpi=20)
A_MOMENT = StopConfig(agent=0, acpi=cast(int, 0.3))  # hal.toml has whole seconds; the code does not care


@pytest.fixture
def qmp_path(run_dir: str) -> str:
    os.mkdir(os.path.join(run_dir, "qmp"))
    return os.path.join(run_dir, "qmp", "cli")


def powers_off(qemu: FakeQmp) -> Callable[[object], object]:
    """What a product does when its power button is pressed."""

    def answer(_: object) -> object:
        qemu.event("SHUTDOWN", {"guest": True, "reason": "guest-shutdown"})
        return {}

    return answer


def ends(pid: int) -> Callable[[object], object]:
    """What QEMU does when it is told to quit; SIGTERM, so that a test can tell it from being killed."""

    def answer(_: object) -> object:
        os.kill(pid, signal.SIGTERM)
        return {}

    return answer


def ended_by(pid: int) -> int:
    """The signal that ended our child; it stays to be reaped."""
    result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert result is not None
    return result.si_status


def test_a_qemu_that_has_gone_meanwhile_has_ended_by_itself(run_dir: str) -> None:
    assert stop_command.end(run_dir, NO_PROCESS, QUICKLY, force=False) == "it ended by itself"


def test_the_power_button_ends_the_product(run_dir: str, qmp_path: str) -> None:
    with qemu_runs(run_dir) as pid, FakeQmp(qmp_path) as qemu:
        qemu.on("query-status", {"status": "running"})
        qemu.on("system_powerdown", powers_off(qemu))
        qemu.on("quit", ends(pid))
        assert stop_command.end(run_dir, pid, QUICKLY, force=False) == "ACPI power button"
        assert [name for name, _ in qemu.received] == ["query-status", "system_powerdown", "quit"]
        assert ended_by(pid) == signal.SIGTERM


def test_how_it_ended_is_not_forgotten_when_the_manager_quits_qemu_first(run_dir: str, qmp_path: str) -> None:
    """The guest manager sees the SHUTDOWN too, and lets QEMU go: our own `quit` finds nobody."""
    with qemu_runs(run_dir) as pid, FakeQmp(qmp_path) as qemu:
        qemu.on("query-status", {"status": "running"})

        def quit_already(_: object) -> object:
            os.kill(pid, signal.SIGTERM)
            qemu.hang_up()
            return SILENCE

        qemu.on("system_powerdown", powers_off(qemu))
        qemu.on("quit", quit_already)
        assert stop_command.end(run_dir, pid, QUICKLY, force=False) == "ACPI power button"


def test_force_asks_nobody(run_dir: str, qmp_path: str) -> None:
    with qemu_runs(run_dir) as pid, FakeQmp(qmp_path) as qemu:
        qemu.on("quit", ends(pid))
        assert stop_command.end(run_dir, pid, QUICKLY, force=True) == "by force"
        assert [name for name, _ in qemu.received] == ["quit"]


def test_the_agent_is_asked_first(run_dir: str, qmp_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with qemu_runs(run_dir) as pid, FakeQmp(qmp_path) as qemu:

        def shutdown(path: str, mode: str, deadline: float) -> None:
            assert (path, mode) == (os.path.join(run_dir, "agent.sock"), "powerdown")
            qemu.event("SHUTDOWN", {"reason": "guest-shutdown"})

        monkeypatch.setattr(guestagent, "shutdown", shutdown)
        qemu.on("query-status", {"status": "running"})
        qemu.on("quit", ends(pid))
        assert stop_command.end(run_dir, pid, StopConfig(agent=20, acpi=0), force=False) == "guest agent"
        assert [name for name, _ in qemu.received] == ["query-status", "quit"]


def test_without_an_agent_the_button_is_pressed_at_once(
    run_dir: str, qmp_path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nobody(path: str, mode: str, deadline: float) -> None:
        raise QmpDisconnected(f"{path}: nobody listens there")

    monkeypatch.setattr(guestagent, "shutdown", nobody)
    with qemu_runs(run_dir) as pid, FakeQmp(qmp_path) as qemu:
        qemu.on("query-status", {"status": "running"})
        qemu.on("system_powerdown", powers_off(qemu))
        qemu.on("quit", ends(pid))
        assert stop_command.end(run_dir, pid, StopConfig(agent=600, acpi=20), force=False) == "ACPI power button"
    assert "no guest agent: " in capsys.readouterr().err


def test_a_product_that_ignores_everything_is_ended_at_the_deadline(
    run_dir: str, qmp_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop_command, "PRESS_EVERY", 0.1)
    with qemu_runs(run_dir) as pid, FakeQmp(qmp_path) as qemu:
        qemu.on("query-status", {"status": "running"})
        qemu.on("quit", ends(pid))
        assert stop_command.end(run_dir, pid, A_MOMENT, force=False) == "by force"
        pressed = [name for name, _ in qemu.received].count("system_powerdown")
        assert pressed >= 2, "a product that boots loses a press"


def test_a_qemu_that_does_not_quit_is_killed(run_dir: str, qmp_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_command, "QUIT_SECONDS", 0.1)
    with qemu_runs(run_dir) as pid, FakeQmp(qmp_path) as qemu:
        qemu.on("quit", {})
        assert stop_command.end(run_dir, pid, QUICKLY, force=True) == "killed, QEMU did not quit"
        assert ended_by(pid) == signal.SIGKILL


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up on a connection after a moment instead of three seconds."""
    real = qmp_once.Once
    monkeypatch.setattr(stop_command, "Once", lambda path: real(path, deadline=0.1))
    monkeypatch.setattr(stop_command, "RETRY_SECONDS", 0.05)


@pytest.mark.usefixtures("impatient")
def test_a_hung_qemu_is_killed_at_once_by_force_and_else_at_the_deadline(run_dir: str, qmp_path: str) -> None:
    for force, patience in ((True, 600), (False, A_MOMENT.acpi)):
        with qemu_runs(run_dir) as pid, FakeQmp(qmp_path, greets=False):
            begun = time.monotonic()
            how = stop_command.end(run_dir, pid, StopConfig(agent=0, acpi=patience), force)
            assert how == "killed, QEMU did not answer"
            assert ended_by(pid) == signal.SIGKILL
            assert force or time.monotonic() - begun >= patience


@pytest.mark.usefixtures("impatient")
def test_a_product_is_not_killed_because_another_command_talks_to_qemu(
    run_dir: str, qmp_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """QEMU serves one client per socket, and a second `stop`, or a dump, is no sign that it hangs."""
    with qemu_runs(run_dir) as pid, FakeQmp(qmp_path) as qemu:
        qemu.on("query-status", {"status": "running"})
        qemu.on("system_powerdown", powers_off(qemu))
        qemu.on("quit", ends(pid))
        other = qmp_once.Once(qmp_path)
        timer = threading.Timer(0.3, other.close)
        timer.start()
        assert stop_command.end(run_dir, pid, QUICKLY, force=False) == "ACPI power button"
        timer.join()
        assert ended_by(pid) == signal.SIGTERM
    assert capsys.readouterr().err.count("hal-vmm stop: waiting up to 20 s: ") == 1


def test_reset_presses_the_button(run_dir: str, qmp_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    manager_runs(run_dir)
    with qemu_runs(run_dir), FakeQmp(qmp_path) as qemu:
        assert control_command.main(["reset"]) == 0
        assert qemu.received == [("system_reset", {})]
    assert capsys.readouterr().out == "reset: the product starts anew\n"


def test_stop_marks_this_qemu_before_it_is_asked_to_end(run_dir: str, qmp_path: str) -> None:
    """Or the guest manager would take the product's power-off for one of the server."""
    with qemu_runs(run_dir) as pid, FakeQmp(qmp_path) as qemu:
        marked: list[bool] = []

        def end(_: object) -> dict[str, object]:
            marked.append(Markers(run_dir).stopped(pid) and not Markers(run_dir).stopped(pid + 1))
            os.kill(pid, signal.SIGTERM)
            return {}

        qemu.on("quit", end)
        assert main.PROGRAM.main(["stop", "--force"]) == 0
        assert marked == [True]


def test_every_refusal_is_a_line(run_dir: str) -> None:
    for arguments in (["start"], ["reset"], ["dump"], ["maintenance", "on", "--for", "x"], ["nonsense"]):
        with pytest.raises(HalError) as raised:
            main.PROGRAM.main(arguments)
        assert raised.value.message
        assert raised.value.hint
        assert "\n" not in str(raised.value)


def test_a_manager_that_may_not_write_its_state_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAL_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("HAL_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr("os.access", lambda path, mode: path != str(tmp_path / "state"))
    with pytest.raises(HostError, match=r"state: no permission to write \(run this as root\)"):
        resident.run(announce=True, child=True, verbose=False)
