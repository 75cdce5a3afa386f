"""A resident asks for a new plan: at once, then each time after twice as long, and says when nothing comes of it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from hal_core import replan
from hal_core.replan import Planning


@pytest.fixture(name="planning")
def new_planning(tmp_path: Path) -> Planning:
    return Planning(str(tmp_path), "netcfg")


@pytest.fixture(name="asked")
def asked_for(tmp_path: Path) -> Path:
    return Path(replan.path(str(tmp_path), "netcfg"))


def test_nobody_is_asked_without_a_reason(planning: Planning, asked: Path) -> None:
    planning.follow("", True, 0.0)
    assert not asked.exists()
    assert planning.next_time(0.0) == float("inf")


def test_it_is_asked_for_once_and_again_when_it_does_not_come(
    planning: Planning, asked: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    now, times = 0.0, []
    while now < 1500:
        asked.unlink(missing_ok=True)
        planning.follow("eno9 is new", True, now)
        if asked.exists():
            assert asked.read_text() == "eno9 is new\n"
            times.append(now)
        now = planning.next_time(now)
    pauses = [after - before for before, after in zip(times, times[1:])]
    assert pauses == [min(300.0, 0.5 * 2**n) for n in range(len(pauses))]
    assert [record.getMessage() for record in caplog.records] == ["eno9 is new: asking hal-vmm for a new plan"]
    assert planning.problem() == "eno9 is new, and hal-vmm has not planned anew: journalctl -b -u hal-qemu-plan"
    planning.follow("", True, now)
    assert planning.problem() == ""


def test_planning_takes_its_time(planning: Planning) -> None:
    for now in range(5):
        planning.follow("eno9 is new", True, float(now))
    assert planning.problem() == ""


def test_a_moment_at_which_not_to_ask(planning: Planning, asked: Path) -> None:
    planning.follow("eno9 is new", False, 0.0)
    assert (planning.reason, asked.exists()) == ("eno9 is new", False)


def test_each_resident_has_a_file_of_its_own(tmp_path: Path, planning: Planning, asked: Path) -> None:
    planning.follow("eno9 is new", True, 0.0)
    other = Planning(str(tmp_path), "udev")
    other.follow("/dev/sdb is gone", True, 0.0)
    assert asked.read_text() == "eno9 is new\n"
    assert (tmp_path / "udev/replan").read_text() == "/dev/sdb is gone\n"


def test_what_cannot_be_written_is_said(tmp_path: Path, planning: Planning, asked: Path) -> None:
    asked.mkdir(parents=True)
    for now in (0.0, 0.1, 0.6, 0.7, 50.0, 50.1):  # due, and not, in turn
        planning.follow("eno9 is new", True, now)
        assert planning.problem() == f"{asked}: Is a directory"
    asked.rmdir()
    planning.follow("eno9 is new", True, 200.0)
    assert planning.problem() == ""
    assert asked.read_text() == "eno9 is new\n"


def test_for_another_reason_it_is_asked_for_at_once(planning: Planning, asked: Path) -> None:
    for now in (0.0, 0.5, 1.5, 3.5, 7.5, 15.5):
        planning.follow("eno9 is new", True, now)
    assert planning.problem()
    asked.unlink()
    planning.follow("eno9, eno10 are new", True, 15.6)
    assert (planning.problem(), asked.read_text()) == ("", "eno9, eno10 are new\n")
