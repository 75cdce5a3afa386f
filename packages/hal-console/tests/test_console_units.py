"""What hal-console gives to systemd."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hal_console import statusfile
from hal_console.resident.loop import LONGEST_REST_SECONDS

PACKAGE = Path(__file__).resolve().parents[1]
UNIT = PACKAGE / "systemd/hal-console.service"
MOST_EXPOSED = 3.0

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def lines(path: Path) -> list[str]:
    """Without comments."""
    return [line for line in path.read_text().splitlines() if line and line[0] != "#"]


def settings() -> list[tuple[str, str]]:
    return [(key, value) for key, _, value in (line.partition("=") for line in lines(UNIT))]


def setting(key: str) -> str:
    """Its one value; values of a list that is given in parts are joined."""
    return " ".join(value for name, value in settings() if name == key)


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
    assert ("CapabilityBoundingSet", "") in settings()
    assert setting("ProtectSystem") == "strict"
    assert setting("ReadWritePaths") == "/run/hal"
    assert setting("RestrictAddressFamilies") == "AF_UNIX"
    assert (setting("DevicePolicy"), setting("DeviceAllow")) == ("closed", "/dev/tty1 rw char-fb rw")
    for key in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateNetwork", "MemoryDenyWriteExecute"):
        assert setting(key) == "yes", key
    assert setting("PrivateDevices") == ""


def test_the_directory_that_it_writes_to_is_made_at_boot() -> None:
    made = [line.split()[:3] for line in lines(PACKAGE / "tmpfiles/hal-console.conf")]
    assert made == [["d", os.path.dirname(statusfile.path("/run/hal")), "0755"]]


def analyze(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Of a copy that names a program which is installed."""
    copy = directory / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/bin/hal-console", "/usr/bin/true"))
    return subprocess.run(
        ["systemd-analyze", *arguments, str(copy)],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{directory}:"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.component
@needs_systemd
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    done = analyze(tmp_path, "verify", "--man=no")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.component
@needs_systemd
def test_the_sandbox_is_tight(tmp_path: Path) -> None:
    done = analyze(tmp_path, "security", "--offline=true")
    found = re.search(r"Overall exposure level for .*: ([0-9.]+) ", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= MOST_EXPOSED, done.stdout
