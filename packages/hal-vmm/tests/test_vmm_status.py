"""`hal-vmm status`: the truth from files alone, whatever is alive, dead or damaged; and quickly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import hal_core
import hal_vmm
from hal_core.errors import FileFormatError, UsageError
from hal_vmm.commands import status
from hal_vmm.manager import state
from hal_vmm.manager.state import State

NOW = 100_000.0
GONE = 1 << 22  # PID_MAX_LIMIT on 64-bit kernels (proc(5)): no process has it
LAST_EXIT = {
    "reason": "qemu-died",
    "outcome": "restart, counted as a crash",
    "time": "2026-01-02T03:04:05Z",
    "uptime_seconds": 12.5,
    "detail": "Killed",
}


def saved(**changes: object) -> State:
    """A product that runs well, as its manager saved it. This very process plays manager and QEMU."""
    values: dict[str, Any] = {
        "boot_id": state.boot_id(),
        "manager_pid": os.getpid(),
        "qemu_pid": os.getpid(),
        "state": "running",
        "run_known": True,
        "started": NOW - 93_784,
        "last_beat": NOW - 12.3,
        "beats": {"agent": 1500},
        "qmp": "answering",
        "pinning": [{"vcpu": 0, "cpu": 2, "actual": [2]}, {"vcpu": 1, "cpu": 3, "actual": [3]}],
        "last_exit": LAST_EXIT,
        **changes,
    }
    return State(**values)


def collect(run_dir: Path, one: State) -> dict[str, Any]:
    state.save(str(run_dir), state.to_text(one))
    return status.collect(str(run_dir), NOW)


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(name))[15:]


def test_a_product_that_runs_well(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(
        json.dumps({"held_back": [{"what": "/dev/sdb", "reason": "HAL's own device"}, {"what": "a", "reason": "b"}]})
    )
    found = collect(tmp_path, saved())
    assert found["state"] == "running"
    assert found["uptime_seconds"] == 93_784
    assert status.render(found) == (
        "state          running\n"
        f"guest manager  running, pid {os.getpid()}\n"
        f"QEMU           pid {os.getpid()}, answering\n"
        "uptime         1 d 2 h\n"
        "heartbeats     1500 by agent, the last 12 s ago\n"
        "pinning        2 of 2 vCPUs on their cores\n"
        "crashes        0 that still count\n"
        "last exit      qemu-died → restart, counted as a crash, 2026-01-02T03:04:05Z (Killed)\n"
        "maintenance    off\n"
        "held back      /dev/sdb: HAL's own device\n"
        "               a: b\n"
    )


def test_before_the_first_manager_of_a_boot(tmp_path: Path) -> None:
    found = status.collect(str(tmp_path), NOW)
    assert status.render(found) == (
        "state          unknown (the guest manager has not run since this host booted)\n"
        "guest manager  not running\n"
        "maintenance    off\n"
        "held back      nothing\n"
    )


def test_the_product_runs_and_its_manager_is_dead(tmp_path: Path) -> None:
    found = collect(tmp_path, saved(manager_pid=GONE))
    assert found["state"] == "running"
    text = status.render(found)
    assert row(text, "state") == "running (as last seen by the guest manager, which is not running now)"
    assert row(text, "guest manager") == "not running"


def test_both_are_dead(tmp_path: Path) -> None:
    found = collect(tmp_path, saved(manager_pid=GONE, qemu_pid=GONE))
    assert found["state"] == "unknown"
    assert found["uptime_seconds"] is None
    assert row(status.render(found), "QEMU") == "not running"
    assert row(status.render(found), "uptime") == "-"


def test_running_is_never_said_of_a_qemu_that_has_gone(tmp_path: Path) -> None:
    assert collect(tmp_path, saved(qemu_pid=GONE))["state"] == "ended"
    assert collect(tmp_path, saved(qemu_pid=None))["state"] == "ended"


def test_the_rescue_state(tmp_path: Path) -> None:
    found = collect(
        tmp_path, saved(state="rescue", why="The product has crashed 5 times", qemu_pid=None, crashes=[1.0] * 5)
    )
    text = status.render(found)
    assert row(text, "state") == "rescue (The product has crashed 5 times)"
    assert row(text, "crashes") == "5 that still count"


def test_a_run_without_beats_pins_or_a_past(tmp_path: Path) -> None:
    text = status.render(collect(tmp_path, saved(beats={}, last_beat=None, pinning=[], last_exit={}, missed=3)))
    assert row(text, "heartbeats") == "none in this run, 3 missed"
    assert row(text, "pinning") == "no vCPU is pinned"
    assert row(text, "last exit") == "none known"


def test_a_vcpu_that_is_not_on_its_core_is_named(tmp_path: Path) -> None:
    pins = [{"vcpu": 0, "cpu": 2, "actual": [2]}, {"vcpu": 1, "cpu": 3, "actual": None}]
    assert row(status.render(collect(tmp_path, saved(pinning=pins))), "pinning") == (
        "1 of 2 vCPUs on their cores; not: [1]"
    )


def test_a_last_exit_of_another_version_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    text = status.render(collect(tmp_path, saved(last_exit={"reason": "guest-reset"}, pinning=[{"vcpu": 0}])))
    assert "guest-reset" in row(text, "last exit")


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (f"{NOW - 1}\n", "off"),
        (f"{NOW}\n", "off"),
        (f"{NOW + 5400}\n", "on for another 1 h 30 min"),
        ("inf\n", "on"),
        ("nan\n", "on"),
        ("until Tuesday\n", "on"),
        ("", "on"),
    ],
)
def test_maintenance(tmp_path: Path, content: str, shown: str) -> None:
    (tmp_path / "vmm").mkdir()
    (tmp_path / "vmm" / "maintenance").write_text(content)
    assert status.collect(str(tmp_path), NOW)["maintenance"] == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (86_400, "1 d"),
        (86_400 + 61, "1 d 1 min"),
        (400 * 86_400 + 7200, "400 d 2 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert status._duration(seconds) == text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vmm/state.json", ""),
        ("vmm/state.json", "{"),
        ("vmm/state.json", "[]"),
        ("vmm/state.json", '{"state": "running"}'),
        ("vmm/state.json", json.dumps({**asdict(saved()), "started": "yesterday"})),
        ("vmm/state.json", json.dumps({**asdict(saved()), "beats": None})),
        ("plan.json", '{"held_back": ['),
        ("plan.json", "null"),
    ],
)
def test_a_damaged_file_is_one_line_that_names_it(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / "vmm").mkdir()
    (tmp_path / name).write_text(content)
    with pytest.raises(FileFormatError) as raised:
        status.collect(str(tmp_path), NOW)
    assert raised.value.message.startswith(f"{tmp_path / name} is damaged: ")
    assert "\n" not in str(raised.value)


def test_the_checked_keys_are_those_of_the_state(tmp_path: Path) -> None:
    assert set(status._TYPES) <= set(asdict(State()))
    assert collect(tmp_path, State(boot_id=state.boot_id()))["state"] == "unknown", "a fresh state has the right types"


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--xml"], ["--json", "more"], ["now"]])
def test_unknown_arguments(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match=f"unknown argument {arguments[0]}"):
        status.main(arguments)


def run(run_dir: Path, *arguments: str, then: str = "pass") -> subprocess.CompletedProcess[str]:
    """`hal-vmm status …` with an interpreter that loads nothing by itself; ``then`` runs after it."""
    path = [os.path.dirname(package.__path__[0]) for package in (hal_core, hal_vmm)]
    script = (
        f"import sys; sys.path[:0] = {path!r}; from hal_vmm.main import run; status = run(); {then}; sys.exit(status)"
    )
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, "status", *arguments],
        env={"HAL_RUN_DIR": str(run_dir), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_exit_status_and_json(tmp_path: Path) -> None:
    absent = run(tmp_path, "--json")
    assert absent.returncode == status.NOT_RUNNING
    assert json.loads(absent.stdout)["state"] == "unknown"
    state.save(str(tmp_path), state.to_text(saved(started=0.0)))
    running = run(tmp_path, "--json")
    assert running.returncode == 0
    assert json.loads(running.stdout)["heartbeats"] == {"agent": 1500}


def test_a_damaged_file_gives_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "vmm").mkdir()
    (tmp_path / "vmm" / "state.json").write_text('{"version": 1, ')
    failed = run(tmp_path)
    assert failed.returncode == 1
    assert len(failed.stderr.splitlines()) == 2
    assert all(line.startswith("hal-vmm: ") for line in failed.stderr.splitlines())


def test_the_common_answer_costs_almost_no_imports(tmp_path: Path) -> None:
    state.save(str(tmp_path), state.to_text(saved(started=0.0)))
    done = run(tmp_path, then="sys.stderr.write(' '.join(sys.modules))")
    assert done.returncode == 0
    assert "running" in done.stdout
    heavy = {"json", "argparse", "asyncio", "re", "typing", "dataclasses", "subprocess", "socket", "logging", "site"}
    loaded = done.stderr.split()
    assert "hal_vmm.commands.status" in loaded
    assert heavy & set(loaded) == set()
