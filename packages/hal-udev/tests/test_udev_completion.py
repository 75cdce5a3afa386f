"""Shell completion offers the verbs and options that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hal_core.testing import completion
from hal_udev.main import PROGRAM

COMPLETION = Path(__file__).resolve().parents[1] / "completion/hal-udev.bash"


def completed(*words: str) -> set[str]:
    return completion.completed(COMPLETION, *words)


def test_verbs() -> None:
    assert completed("") == {*PROGRAM.verbs, "--help"}
    assert completed("p") == {"plan"}


@pytest.mark.parametrize("verb", PROGRAM.verbs)
def test_options_are_those_of_the_verbs_own_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    PROGRAM.main([verb, "--help"])
    options = set(re.findall(r"(?<![\w`-])--[a-z][a-z-]*", capsys.readouterr().out)) | {"--help"}
    assert completed(verb, "--") == options
    assert completed(verb, "--json", "") == options, "one may follow another"


def test_a_recorded_server_is_a_file() -> None:
    assert completed("plan", "--root", "") == completed("facts", "--json", "--root", "") == {"FILES"}
