"""Shell completion offers the verbs and options that there are."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest

from hal_core.testing import completion
from hal_vmm import main

COMPLETION = Path(__file__).resolve().parents[1] / "completion/hal-vmm.bash"


def completed(*words: str) -> set[str]:
    return completion.completed(COMPLETION, *words)


def test_verbs() -> None:
    assert completed("") == {*main.VERBS, "--help"}
    assert completed("st") == {"status", "start", "stop"}


@pytest.mark.parametrize("verb", main.VERBS)
def test_options_are_those_of_the_verbs_own_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):  # argparse leaves by an exception
        main.PROGRAM.main([verb, "--help"])
    options = set(re.findall(r"(?<![\w`-])--[a-z][a-z-]*", capsys.readouterr().out)) | {"--help"}
    assert completed(verb, "on" if verb == "maintenance" else "", "--") == options


def test_arguments() -> None:
    assert completed("maintenance", "o") == {"on", "off"}
    assert completed("plan", "--root", "") == {"FILES"}
    assert "el9" in completed("preflight", "--assume", "")
