"""ci/pythons finds the interpreters that work, wherever they are, and says which it did not find."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import interpreters
import pythons
from interpreters import Interpreter

ROOT = Path(__file__).resolve().parents[2]
REAL = os.path.realpath(sys.executable)  # not the virtual environment that runs this
SERIES = f"3.{sys.version_info.minor}"


def fake_python(path: Path, answer: str, status: int = 0) -> str:
    """A fake interpreter: it says what it is told to say."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{answer}'\nexit {status}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent:relative")
    monkeypatch.delenv("HAL_PYTHONS", raising=False)


def test_a_real_interpreter_says_what_it_is() -> None:
    version = ".".join(map(str, sys.version_info[:3]))
    assert interpreters.ask(REAL) == Interpreter(SERIES, version, REAL)


@pytest.mark.parametrize("path", [sys.executable, "/bin/false", "/bin/echo", "/nonexistent/python3.9", "/etc"])
def test_what_is_none_or_does_not_start(path: str) -> None:
    assert path != REAL
    assert interpreters.ask(path) is None


def test_nothing_here_is_no_error() -> None:
    assert interpreters.find() == {}


def test_by_name_on_the_path_oldest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}/a:{tmp_path}/b")
    fake_python(tmp_path / "a/python3.10", "3.10 3.10.1")
    first = fake_python(tmp_path / "a/python3.9", "3.9 3.9.1")
    fake_python(tmp_path / "b/python3.9", "3.9 3.9.2")
    fake_python(tmp_path / "b/python3.12", "3.11 3.11.1")  # lies
    fake_python(tmp_path / "b/python3.13", "3.13 3.13.1", status=1)
    fake_python(tmp_path / "b/python3.8", "3.8 3.8.1")
    found = interpreters.find()
    assert list(found) == ["3.9", "3.10"]
    assert found["3.9"] == Interpreter("3.9", "3.9.1", first)


@pytest.mark.parametrize("layout", ["versions", "installs/python"])
def test_a_shim_that_refuses_leads_to_what_it_stands_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}/shims")
    fake_python(tmp_path / "shims/python3.9", "not chosen here", status=127)
    behind = fake_python(tmp_path / layout / "3.9.18/bin/python3.9", "3.9 3.9.18")
    assert interpreters.find() == {"3.9": Interpreter("3.9", "3.9.18", behind)}


def test_those_that_are_named_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_python(tmp_path / "python3.9", "3.9 3.9.1")
    named = [fake_python(tmp_path / "x", "3.9 3.9.2"), fake_python(tmp_path / "y", "3.14 3.14.0"), "/nonexistent/z"]
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HAL_PYTHONS", " ".join(named))
    assert {series: one.path for series, one in interpreters.find().items()} == {"3.9": named[0], "3.14": named[1]}


def test_the_table_names_what_is_missing() -> None:
    tested = {"3.10": Interpreter("3.10", "3.10.2", "/x"), "3.9": Interpreter("3.9", "3.9.18", "/y")}
    results = {
        "3.10": pythons.Result(False, "1 failed", 2.4, "log"),
        "3.9": pythons.Result(True, "5 passed", 2.6, "log"),
    }
    lines = pythons.render(tested, results, ["3.12"]).splitlines()
    assert [line.split()[0] for line in lines] == ["PYTHON", "3.9.18", "3.10.2", "3.12"]
    assert lines[1].split() == ["3.9.18", "EL9", "passed", "3", "s", "5", "passed"]
    assert "FAILED" in lines[2]
    assert "not found" in lines[3]


def test_only_the_systems_own_is_said_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pythons, "run_one", lambda root, interpreter: pythons.Result(True, "1 passed", 1.0, ""))
    monkeypatch.setenv("HAL_PYTHONS", REAL)
    assert pythons.main([str(tmp_path)]) == 0
    assert "Only the system's own Python is here: the others were NOT tested." in capsys.readouterr().out


def test_a_failure_shows_its_log_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pythons, "run_one", lambda root, interpreter: pythons.Result(False, "1 failed", 1.0, "why"))
    monkeypatch.setenv("HAL_PYTHONS", REAL)
    assert pythons.main([str(tmp_path), SERIES]) == 1
    assert "why\n" in capsys.readouterr().err


def test_one_that_is_not_here_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pythons.main([str(tmp_path), "3.9", "3.77"]) == 2
    assert capsys.readouterr().err == "ci/pythons: no Python 3.9, 3.77 here; found: none\n"


def test_an_environment_that_cannot_be_made_is_a_failure(tmp_path: Path) -> None:
    """pip's, or here venv's, own words are the log."""
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci/requirements.txt").write_text("")
    result = pythons.run_one(tmp_path, Interpreter("3.9", "3.9.1", fake_python(tmp_path / "python", "no venv", 1)))
    assert (result.passed, result.summary, result.log) == (False, "no environment", "no venv\n")


def test_the_command_lists_what_is_here() -> None:
    done = subprocess.run(
        [ROOT / "ci/pythons", "--list"], capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == ["PYTHON", "OF", "WHERE"]


@pytest.mark.parametrize(
    ("found", "chosen"),
    [(["3.9", "3.10", "3.11", "3.12", "3.13"], ["3.9", "3.12", "3.13"]), (["3.11"], ["3.11"]), (["3.14"], ["3.14"])],
)
def test_the_hosts_own_and_the_newest_are_tested(found: list[str], chosen: list[str]) -> None:
    assert pythons.by_default(found) == chosen
