"""How mock is called. mock itself is not here: a fake takes its place, and records what it was asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from factory import mock, programs, target
from factory.errors import FactoryError

ROOT = Path(__file__).resolve().parents[2]


class FakeMock:
    """A fake of running programs."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def run(self, *argv: programs.Argument) -> str:
        self.asked = [os.fspath(argument) for argument in argv]
        return ""


@pytest.mark.parametrize("name", ["el9", "el10", "fc44", "fc45"])
@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_there_is_a_configuration_for_every_target(name: str, architecture: str) -> None:
    assert mock.configuration(ROOT / "mock-configs", target.parse(name), architecture).exists()


def test_without_a_configuration_it_says_which_there_are() -> None:
    with pytest.raises(FactoryError, match=r"hal-fedora-99-x86_64\.cfg: there is no such .*; there are: .*hal-el9"):
        mock.configuration(ROOT / "mock-configs", target.parse("fc99"), "x86_64")


def test_what_was_built_before_is_a_repository_for_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeMock()
    monkeypatch.setattr(programs, "run", fake.run)
    mock.rebuild(tmp_path / "hal.cfg", tmp_path / "hal-vmm.src.rpm", tmp_path / "result", [tmp_path / "own"])
    assert fake.asked == [
        *("mock", "--root", f"{tmp_path}/hal.cfg", "--resultdir", f"{tmp_path}/result"),
        *(f"--addrepo=file://{tmp_path}/own", "--rebuild", f"{tmp_path}/hal-vmm.src.rpm"),
    ]
