"""The hal command: finds hal-X, refuses everything else, and starts nothing slow."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

HAL = Path(__file__).resolve().parents[1] / "bin/hal"


@pytest.fixture
def bin_dir(tmp_path: Path) -> Path:
    """A directory with hal and two commands; the second has no summary, the third is not executable."""
    directory = tmp_path / "bin dir"
    directory.mkdir()
    (directory / "hal").write_bytes(HAL.read_bytes())
    (directory / "hal-show").write_text('#!/bin/sh\n# hal-summary: show the arguments\nprintf "<%s>" "$@"\nexit 7\n')
    (directory / "hal-inner").write_text("#!/bin/sh\necho inner\n")
    (directory / "hal-data").write_text("# hal-summary: not a program\n")
    for name in ("hal", "hal-show", "hal-inner"):
        (directory / name).chmod(0o755)
    return directory


def hal(directory: Path, *arguments: str, path: str = "/usr/bin:/bin") -> tuple[int, str, str]:
    run = subprocess.run(
        [str(directory / "hal"), *arguments], capture_output=True, text=True, env={"PATH": path}, cwd=directory
    )
    return run.returncode, run.stdout, run.stderr


def test_a_command_gets_its_arguments_and_gives_its_status(bin_dir: Path) -> None:
    assert hal(bin_dir, "show", "a b", "", "--help", "*") == (7, "<a b><><--help><*>", "")
    assert hal(bin_dir, "inner") == (0, "inner\n", "")


def test_a_command_elsewhere_on_the_path(bin_dir: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (bin_dir / "hal-show").rename(other / "hal-show")
    assert hal(bin_dir, "show", "x", path=f"/nonexistent:{other}:/usr/bin:/bin")[:2] == (7, "<x>")


def test_nothing_is_run_from_a_relative_directory_of_the_path(bin_dir: Path) -> None:
    (bin_dir / "here").mkdir()
    (bin_dir / "hal-show").rename(bin_dir / "here/hal-show")
    status, out, _ = hal(bin_dir, "show", path="here:.::/usr/bin:/bin")
    assert (status, out) == (2, "")


def test_hal_by_a_symbolic_link_finds_what_is_beside_it(bin_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "hal").symlink_to(bin_dir / "hal")
    assert hal(tmp_path, "help", "show")[0] == 7


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"], ["help", "--help"]])
def test_help_lists_the_commands_with_their_summaries(bin_dir: Path, arguments: list[str]) -> None:
    status, out, err = hal(bin_dir, *arguments)
    assert (status, err) == (0, "")
    assert "  show       show the arguments\n" in out
    assert "inner" not in out
    assert "data" not in out


def test_without_arguments_it_is_a_usage_error(bin_dir: Path) -> None:
    status, out, err = hal(bin_dir)
    assert (status, out) == (2, "")
    assert err.startswith("Usage: hal COMMAND")


def test_help_for_a_command_asks_the_command(bin_dir: Path) -> None:
    assert hal(bin_dir, "help", "show") == (7, "<--help>", "")


@pytest.mark.parametrize(
    "name", ["bogus", "../hal-show", "/bin/sh", "a/b", "data", "sh*w", "Show", "a b", "a\nb", ";ls", "$(ls)", "ü"]
)
@pytest.mark.parametrize("ask", [[], ["help"]])
def test_an_unknown_command_is_one_line_that_says_what_exists(bin_dir: Path, name: str, ask: list[str]) -> None:
    status, out, err = hal(bin_dir, *ask, name)
    assert (status, out) == (2, "")
    assert err.startswith('hal: no command "')
    assert err.endswith('"; there are: show \n')
    assert err.count("\n") == 1


def test_an_unknown_option_and_the_version(bin_dir: Path) -> None:
    assert hal(bin_dir, "--bogus") == (2, "", "hal: no option --bogus; see hal --help\n")
    assert hal(bin_dir, "--version")[1].startswith("hal 0.")


def test_every_command_of_this_package_has_a_summary() -> None:
    for script in HAL.parent.glob("hal-*"):
        lines = script.read_text().splitlines()[:10]
        assert sum(line.startswith("# hal-summary: ") for line in lines) == 1, script
