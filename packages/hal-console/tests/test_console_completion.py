"""Shell completion offers the verbs and options that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hal_console.main import PROGRAM
from hal_core.testing import completion

COMPLETION = Path(__file__).resolve().parents[1] / "completion/hal-console.bash"


def completed(*words: str) -> set[str]:
    return completion.completed(COMPLETION, *words)


def test_verbs() -> None:
    assert completed("") == {*PROGRAM.verbs, "--attach", "--help"}
    assert completed("p") == {"plan"}


@pytest.mark.parametrize("verb", PROGRAM.verbs)
def test_options_are_those_of_the_verbs_own_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    PROGRAM.main([verb, "--help"])
    options = set(re.findall(r"(?<![\w`-])--[a-z][a-z-]*", capsys.readouterr().out)) - {"--attach"} | {"--help"}
    assert completed(verb, "--") == options


def test_values() -> None:
    assert completed("attach", "--serial", "") == {"com1", "com2", "com3", "com4"}
    assert completed("--attach", "--serial", "com2") == {"com2"}
    assert completed("restore", "--tty", "") == {"FILES"}
