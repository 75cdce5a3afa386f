"""Shell completion of hal: its commands, and their own completions, without running any of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

COMPLETION = Path(__file__).resolve().parents[1] / "completion/hal.bash"


@pytest.fixture
def bin_dir(tmp_path: Path) -> Path:
    for name, text in (("hal-toy", "#!/bin/sh\n# hal-summary: a toy\nexit 1\n"), ("hal-inner", "#!/bin/sh\nexit 1\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def completed(directory: Path, *words: str) -> list[str]:
    """What is offered after these words, the last one of which is only begun."""
    script = (
        'complete() { :; }; compopt() { :; }; . "$0"; _hal_toy() { COMPREPLY=("${COMP_WORDS[@]}" "$COMP_CWORD"); }; '
        'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _hal; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    run = subprocess.run(
        ["bash", "-c", script, str(COMPLETION), "hal", *words],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": f"{directory}:/usr/bin:/bin"},
    )
    assert run.stderr == ""
    return run.stdout.split()


def test_commands_that_are_for_people(bin_dir: Path) -> None:
    assert completed(bin_dir, "") == ["toy", "help", "--help", "--version"]
    assert completed(bin_dir, "t") == ["toy"]
    assert completed(bin_dir, "help", "") == ["toy"]


def test_arguments_are_completed_by_the_commands_own_function(bin_dir: Path) -> None:
    assert completed(bin_dir, "toy", "a", "b") == ["hal-toy", "a", "b", "2"]
    assert completed(bin_dir, "check", "--d") == ["--defaults"]
    assert completed(bin_dir, "facts", "--") == ["--json", "--root", "--help"]


@pytest.mark.parametrize("name", ["nothing", "$(touch x)", "../x", ""])
def test_unknown_commands_offer_nothing(bin_dir: Path, name: str) -> None:
    assert completed(bin_dir, name, "") == []
