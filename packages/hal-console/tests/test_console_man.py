"""The manual page says what the code does: verbs, options, keys, times, files."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hal_console import main, notice
from hal_console.config import ConsoleConfig
from hal_console.remote import serialport
from hal_console.statusfile import STATUS
from hal_core.config import declared
from hal_core.testing import manpage

PAGE = Path(__file__).resolve().parents[1] / "man/hal-console.1"


@pytest.fixture(scope="module")
def page() -> str:
    return manpage.words(PAGE)


def described(page: str) -> dict[str, str]:
    return manpage.described(page, main.PROGRAM.verbs)


def test_every_verb_is_there(page: str) -> None:
    assert list(described(page)) == list(main.PROGRAM.verbs)


@pytest.mark.parametrize("verb", main.PROGRAM.verbs)
def test_every_option_of_its_help_is_there(verb: str, page: str, capsys: pytest.CaptureFixture[str]) -> None:
    main.PROGRAM.main([verb, "--help"])
    options = set(re.findall(manpage.OPTION, capsys.readouterr().out)) - {"--help", "--attach"}
    assert options == set(re.findall(manpage.OPTION, described(page)[verb])) - {"--attach"}, "neither more nor fewer"


def test_every_key_of_the_table_is_named(page: str) -> None:
    assert set(re.findall(r"(?<![\w-])console\.([a-z]+)\b", page)) == set(declared(ConsoleConfig))


def test_the_exit_statuses_are_those_of_the_code(page: str) -> None:
    assert {"0", "1", "2", "3", "78"} == set(re.findall(r"^\d+$", manpage.section(page, "EXIT STATUS"), re.MULTILINE))


def test_the_times_are_those_of_the_code(page: str) -> None:
    assert f"or for {notice.PATIENCE:g} seconds" in " ".join(page.split())


def test_every_file_is_one_of_ours(page: str) -> None:
    text = manpage.section(page, "FILES")
    for path in (STATUS.path("/run/hal"), serialport.log_path("/run/hal", 0)):
        assert path in text, path


@pytest.mark.component
@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed (ci/test installs it)")
def test_mandoc_finds_nothing_wrong() -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", PAGE], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
