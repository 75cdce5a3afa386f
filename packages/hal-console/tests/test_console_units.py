"""What hal-console gives to systemd."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from hal_console.resident.loop import LONGEST_REST_SECONDS
from hal_console.statusfile import STATUS
from hal_core.testing import unitfile

PACKAGE = Path(__file__).resolve().parents[1]
UNIT = PACKAGE / "systemd/hal-console.service"
MOST_EXPOSED = 3.0

needs_systemd = pytest.mark.skipif(not unitfile.HAS_SYSTEMD, reason="systemd is not installed")


def setting(key: str) -> str:
    return unitfile.setting(UNIT, key)


def test_nobody_waits_for_a_login_on_its_terminal() -> None:
    assert setting("Conflicts") == "getty@tty1.service"
    assert "getty@tty1.service" in setting("After").split()


def test_nothing_else_depends_on_it() -> None:
    for key in ("BindsTo", "Requires", "Requisite", "PartOf", "Upholds", "PropagatesStopTo", "Before", "WantedBy"):
        assert setting(key) == "", key


def test_the_terminal_is_its_controlling_one_and_is_restored_however_it_ends() -> None:
    assert (setting("StandardInput"), setting("TTYPath")) == ("tty", "/dev/tty1")
    assert (setting("TTYReset"), setting("TTYVHangup")) == ("yes", "yes")
    assert setting("ExecStopPost") == "/usr/bin/hal-console restore"
    assert {setting("StandardOutput"), setting("StandardError")} == {"journal"}


def test_it_comes_back() -> None:
    assert setting("Restart") == "always"
    assert setting("StartLimitIntervalSec") == "0"


def test_the_watchdog_is_longer_than_any_rest() -> None:
    assert setting("Type") == "notify"
    assert float(setting("WatchdogSec")) > 4 * LONGEST_REST_SECONDS


def test_the_code_and_the_unit_name_each_other() -> None:
    assert setting("ExecStart").split() == ["/usr/bin/hal-console", "run"]
    assert os.access(PACKAGE / "bin/hal-console", os.X_OK)


def test_every_page_that_the_unit_points_to_exists() -> None:
    assert re.findall(r"man:([\w.-]+)\((\d)\)", setting("Documentation")) == [("hal-console", "1")]
    assert (PACKAGE / "man/hal-console.1").exists()


def test_its_sandbox_has_what_it_needs_and_not_more() -> None:
    assert ("CapabilityBoundingSet", "") in unitfile.settings(UNIT)
    assert setting("ProtectSystem") == "strict"
    assert setting("ReadWritePaths") == "/run/hal"
    assert setting("RestrictAddressFamilies") == "AF_UNIX"
    assert (setting("DevicePolicy"), setting("DeviceAllow")) == ("closed", "/dev/tty1 rw char-fb rw")
    for key in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateNetwork", "MemoryDenyWriteExecute"):
        assert setting(key) == "yes", key
    assert setting("PrivateDevices") == ""


def test_the_directory_that_it_writes_to_is_made_at_boot() -> None:
    made = [line.split()[:3] for line in unitfile.lines(PACKAGE / "tmpfiles/hal-console.conf")]
    assert made == [["d", os.path.dirname(STATUS.path("/run/hal")), "0755"]]


@pytest.mark.component
@needs_systemd
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    assert unitfile.complaints(UNIT, tmp_path) == ""


@pytest.mark.component
@needs_systemd
def test_the_sandbox_is_tight(tmp_path: Path) -> None:
    assert unitfile.exposure(UNIT, tmp_path) <= MOST_EXPOSED
