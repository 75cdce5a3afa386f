"""What is made from the code and checked in is up to date, and the defaults file says what the code does."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hal_core import config, config_files

ROOT = Path(__file__).resolve().parents[2]


def load_generate() -> ModuleType:
    """ci/lib is no package: it belongs to the commands in ci/."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "ci/lib/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load_generate()
TABLES: dict[str, type[Any]] = generate.tables()


@pytest.mark.parametrize("path", generate.generated(), ids=lambda path: str(path.relative_to(ROOT)))
def test_generated_files_are_up_to_date(path: Path) -> None:
    assert path.read_text() == generate.generated()[path], "run ci/generate"


def test_every_package_with_a_config_module_announces_its_table() -> None:
    modules = {path.parent.name for path in ROOT.glob("packages/*/src/*/config.py")} - {"hal_core"}
    assert {cls.__module__.split(".")[0] for cls in TABLES.values()} == modules


@pytest.mark.parametrize("table", TABLES)
def test_the_defaults_file_is_valid_and_changes_nothing(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So every default is itself allowed."""
    monkeypatch.setenv("HAL_DEFAULTS_DIR", str(ROOT / "packages/hal-core/etc"))
    monkeypatch.setenv("HAL_CONFIG_DIR", "/nonexistent")
    assert [str(problem) for problem in config.problems(TABLES[table], table)] == []
    assert config.load(TABLES[table], table) == TABLES[table]()
    assert len(config_files.read()) == 1


def test_every_command_in_ci_has_help() -> None:
    commands = [path for path in (ROOT / "ci").iterdir() if path.is_file() and not path.suffix and path.name != "hal"]
    for command in commands:
        shown = subprocess.run([str(command), "--help"], capture_output=True, text=True, check=True).stdout
        assert shown.lower().startswith(f"usage: ci/{command.name}"), command
