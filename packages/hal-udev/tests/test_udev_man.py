"""The manual page says what the code does: verbs, options, keys, states, times, files."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hal_core import tokens
from hal_core.config import declared
from hal_core.patience import FIRST_SECONDS
from hal_core.testing import manpage
from hal_udev import hardware, main, pins
from hal_udev.commands.status_command import STATES
from hal_udev.config import CLASSES, KeepConfig
from hal_udev.plan import planfile, product, udevrules
from hal_udev.resident.loop import LONGEST_REST_SECONDS, UDEV_SECONDS
from hal_udev.resident.plugger import LONGEST_SECONDS
from hal_udev.statusfile import STATUS

PAGE = Path(__file__).resolve().parents[1] / "man/hal-udev.1"


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
    options = set(re.findall(manpage.OPTION, capsys.readouterr().out)) - {"--help"}
    synopsis = next(line for line in manpage.section(page, "SYNOPSIS").splitlines() if f"hal udev {verb}" in line)
    assert options == set(re.findall(manpage.OPTION, synopsis)), "neither more nor fewer than --help has"


def test_every_state_is_explained_in_the_order_of_the_code(page: str) -> None:
    text = described(page)["status"]
    assert [line for line in text.splitlines() if line in STATES] == list(STATES)


def test_the_keys_and_classes_are_those_of_the_code(page: str) -> None:
    rules = manpage.section(page, "RULES")
    assert set(declared(KeepConfig)) == {"class", "id", "serial", "port", "give"}
    assert [key for key in declared(KeepConfig) if not re.search(rf"^\s*{key} = ", rules, re.MULTILINE)] == []
    assert [name for name in CLASSES if not re.search(rf"[ #]{re.escape(name)}\b", rules)] == []


def test_the_times_are_those_of_the_code(page: str) -> None:
    text = " ".join(page.split())
    assert (LONGEST_REST_SECONDS, UDEV_SECONDS, FIRST_SECONDS, LONGEST_SECONDS) == (5, 2, 0.5, 300)
    assert "and every 5 seconds" in text
    assert "after 2 seconds they are not waited for any longer" in text
    assert "after half a second, then after twice as long each time, 300 seconds at most" in text


def test_the_ports_are_those_of_the_plans(page: str) -> None:
    assert f"has {sum(bus.ports for bus in product.USUAL.buses)} ports, on three xHCI controllers" in page


def test_every_file_that_the_page_names_is_one_of_ours(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAL_STATE_DIR", "/var/lib/hal")
    monkeypatch.setattr(udevrules, "DIRECTORY", "/etc/udev/rules.d")
    text = manpage.section(page, "FILES")
    for path in (planfile.path("/run/hal"), STATUS.path("/run/hal"), pins.path(), udevrules.path()):
        assert path in text, path
    assert tokens.path("/run/hal") in text
    assert hardware.KEYBOARD.join(("/run/hal/", "")) in text


@pytest.mark.component
@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed (ci/test installs it)")
def test_mandoc_finds_nothing_wrong() -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", PAGE], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
