"""The manual page says what the code does: verbs, options, keys, modes, names, times, files."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hal_core.config import Section, declared
from hal_core.patience import FIRST_SECONDS, LONGEST_SECONDS
from hal_core.testing import manpage
from hal_netcfg import main, names, unmanaged
from hal_netcfg.config import BONDS, MODES, LanConfig, NetcfgConfig
from hal_netcfg.plan import product
from hal_netcfg.plan.network import HostLink
from hal_netcfg.resident.loop import GLANCE_SECONDS, LONGEST_REST_SECONDS
from hal_netcfg.resident.mirror import GAP_SECONDS
from hal_netcfg.statusfile import STATUS

PAGE = Path(__file__).resolve().parents[1] / "man/hal-netcfg.1"


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
    assert options == set(re.findall(manpage.OPTION, described(page)[verb])), "neither more nor fewer than --help has"


def test_every_key_that_the_page_names_exists(page: str) -> None:
    keys = {key for key, what in declared(NetcfgConfig).items() if not isinstance(what, Section)}
    keys |= {f"lan.N.{key}" for key in declared(LanConfig)}
    named = set(re.findall(r"(?<![\w-])netcfg\.((?:lan\.(?:N|\d+)\.)?[a-z_]+)\b", page))
    assert {"mtu", "down_with_product", "link_network"} <= named
    assert {re.sub(r"\d+", "N", key) for key in named} <= {*keys, "lan"}


def test_the_names_and_addresses_are_those_of_the_code(page: str) -> None:
    for name in (names.LAN_BRIDGE, names.LAN_TAP, names.BOND, names.HOST_LINK, names.HOST_TAP):
        assert name in page, name
    assert HostLink().host in page
    assert HostLink().product in page


def test_the_exit_statuses_are_those_of_the_code(page: str) -> None:
    text = manpage.section(page, "EXIT STATUS")
    assert {"0", "1", "2", "3", "78"} <= set(re.findall(r"^\d+", text, re.MULTILINE))


def test_the_modes_are_those_of_the_code(page: str) -> None:
    assert [mode for mode in (*MODES, *BONDS) if not re.search(rf"(?<![\w-]){re.escape(mode)}\b", page)] == []


def test_the_times_are_those_of_the_code(page: str) -> None:
    text = " ".join(page.split())
    assert (LONGEST_REST_SECONDS, FIRST_SECONDS, LONGEST_SECONDS, GAP_SECONDS) == (30, 0.5, 30, 0.2)
    assert "changes, and every 30 seconds" in text
    assert f"read again within {GLANCE_SECONDS:g} seconds" in text
    assert "tried again after half a second, then after twice as long each time, 30 seconds at most" in text
    assert "is shown 5 times a second at most, and its final state always" in text


def test_every_file_that_the_page_names_is_one_of_ours(page: str) -> None:
    text = manpage.section(page, "FILES")
    for path in (product.path("/run/hal"), STATUS.path("/run/hal"), f"{unmanaged.DIRECTORY}/{unmanaged.NAME}"):
        assert path in text, path
    shipped = re.findall(r"^/usr/lib/(?!hal/)\S+/([\w.-]+)$", text, re.MULTILINE)
    assert len(shipped) == 4
    for name in shipped:
        assert list(PAGE.parents[1].rglob(name)), name


@pytest.mark.component
@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed (ci/test installs it)")
def test_mandoc_finds_nothing_wrong() -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", PAGE], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
