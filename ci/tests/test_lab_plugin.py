"""A story during which the simulator itself hangs is told once more, and no other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFTEST = """
import pytest
from lab.plugin import HUNG, pytest_runtest_makereport, pytest_runtest_protocol

@pytest.fixture
def server(request):
    yield
    if hang in request.node.name:
        request.node.stash[HUNG] = True
"""
STORIES = """
import pathlib

def told(name):
    with open(name, "a") as file:
        file.write(".")
    return len(pathlib.Path(name).read_text())

def test_hangs_once(server):
    assert told("hangs_once") == 2

def test_hangs_always(server):
    told("hangs_always")
    assert False

def test_fails(server):
    told("fails")
    assert False

def test_is_well(server):
    told("is_well")
"""


@pytest.mark.component
def test_only_a_story_whose_simulator_hangs_is_told_again(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST.replace("hang in", "'hangs' in"))
    (tmp_path / "test_stories.py").write_text(STORIES)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", "."],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "ci/lib")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    results = {line.split("::")[1].split()[0]: line.split()[1] for line in done.stdout.splitlines() if "%]" in line}
    assert results == {
        "test_hangs_once": "PASSED",
        "test_hangs_always": "FAILED",
        "test_fails": "FAILED",
        "test_is_well": "PASSED",
    }
    times = {name: len((tmp_path / name).read_text()) for name in ("hangs_once", "hangs_always", "fails", "is_well")}
    assert times == {"hangs_once": 2, "hangs_always": 2, "fails": 1, "is_well": 1}
    assert "2 failed, 2 passed" in done.stdout
