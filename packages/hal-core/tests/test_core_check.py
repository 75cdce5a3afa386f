"""hal check, with the tables of made-up packages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hal_core import check_command, config_files
from hal_core.config import numbered, option
from hal_core.errors import ConfigError


@dataclass(frozen=True)
class Console:
    """The console."""

    tty: int = option(1, "Which one.", low=1, high=63)


@dataclass(frozen=True)
class Udev:
    """Hot-swap."""

    usb: bool = option(True, "Whether.")
    hub: Mapping[int, Console] = numbered(Console, "One hub.", low=1, high=8)


class Entry:
    """As importlib.metadata.EntryPoint is, as far as it is used."""

    def __init__(self, name: str, loaded: Any) -> None:
        self.name = name
        self.value = f"made.up:{name}"
        self._loaded = loaded

    def load(self) -> Any:
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


@pytest.fixture(autouse=True)
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HAL_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("HAL_DEFAULTS_DIR", str(tmp_path / "none"))
    monkeypatch.setattr(check_command, "_entry_points", lambda: [Entry("udev", Udev), Entry("console", Console)])
    return tmp_path


def test_no_problems(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_command.main([]) == 0
    assert capsys.readouterr().out == "0 files, 2 tables: no problems\n"
    (etc / "hal.toml").write_text("[console]\ntty = 2\n[netcfg]\nx = 1\n")
    assert check_command.main([]) == 0
    assert capsys.readouterr().out == (
        "[netcfg] is not checked: its package is not installed here\n1 file, 2 tables: no problems\n"
    )


def test_every_problem_is_one_line_and_comes_once(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (etc / "hal.toml").write_text("[console]\ntty = 99\n[udev]\nusb = 1\n[bogus]\n")
    assert check_command.main([]) == 78
    assert capsys.readouterr().out.splitlines() == [
        f"{etc}/hal.toml: [bogus]: no such table; allowed are core, vmm, console, udev, netcfg, snmpd, syslog, access, "
        "collectd, installer",
        f"{etc}/hal.toml: console.tty = 99: allowed is a whole number from 1 to 63",
        f"{etc}/hal.toml: udev.usb = 1: allowed is true or false",
    ]


def test_numbered_tables(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (etc / "hal.toml").write_text("[udev.hub.8]\ntty = 2\n[udev.hub.9]\n[udev.hub.1]\ntty = 0\n")
    assert check_command.main([]) == 78
    assert capsys.readouterr().out.splitlines() == [
        f"{etc}/hal.toml: udev.hub.9: no such number; allowed are 1 to 8",
        f"{etc}/hal.toml: udev.hub.1.tty = 0: allowed is a whole number from 1 to 63",
    ]


def test_json(etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (etc / "hal.toml").write_text("[console]\nttty = 1\n[vmm]\n")
    assert check_command.main(["--json"]) == 78
    assert json.loads(capsys.readouterr().out) == {
        "files": [f"{etc}/hal.toml"],
        "tables": ["console", "udev"],
        "unchecked": ["vmm"],
        "problems": [
            {"message": f"{etc}/hal.toml: console.ttty: no such key; allowed are tty", "hint": 'did you mean "tty"?'}
        ],
    }


def test_defaults_are_a_valid_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_command.main(["--defaults"]) == 0
    assert config_files.parse(capsys.readouterr().out.encode()) == {"console": {"tty": 1}, "udev": {"usb": True}}


def test_a_package_that_cannot_be_loaded_is_a_problem_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check_command, "_entry_points", lambda: [Entry("console", ImportError("gone"))])
    assert check_command.main([]) == 78
    assert capsys.readouterr().out == "table console: made.up:console cannot be loaded: gone (reinstall it)\n"
    with pytest.raises(ConfigError, match="cannot be loaded"):
        check_command.main(["--defaults"])


def test_the_installed_packages_are_found_by_their_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    (tmp_path / "made_up.py").write_text("class Table:\n    pass\n")
    info = tmp_path / "made_up-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[hal.config]\nsnmpd = made_up:Table\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    tables, problems = check_command.installed_tables()
    assert tables["snmpd"].__module__ == "made_up"
    assert problems == []
