"""What hal-udev gives to systemd."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from hal_core.facts import udevdb
from hal_core.testing import unitfile
from hal_udev.resident.loop import LONGEST_REST_SECONDS
from hal_udev.resident.qemu import DEADLINE

PACKAGE = Path(__file__).resolve().parents[1]
UNIT = PACKAGE / "systemd/hal-udev.service"
MOST_EXPOSED = 2.0

needs_systemd = pytest.mark.skipif(not unitfile.HAS_SYSTEMD, reason="systemd is not installed")


def setting(key: str) -> str:
    return unitfile.setting(UNIT, key)


def test_it_waits_for_nobody_and_nobody_depends_on_it() -> None:
    assert {"hal-qemu-plan.service", "systemd-udevd.service"} == set(setting("After").split())
    for key in ("Before", "BindsTo", "Requires", "Requisite", "PartOf", "Upholds", "PropagatesStopTo", "Conflicts"):
        assert setting(key) == "", key


def test_the_products_devices_outlive_the_resident() -> None:
    assert not [line for line in unitfile.lines(UNIT) if line.startswith("ExecStop")]
    assert setting("Restart") == "always"
    assert setting("StartLimitIntervalSec") == "0"


def test_the_watchdog_is_longer_than_any_rest() -> None:
    assert setting("Type") == "notify"
    assert {"2min": 120}[setting("WatchdogSec")] > 2 * max(LONGEST_REST_SECONDS, DEADLINE)


def test_the_code_and_the_unit_name_each_other() -> None:
    command, verb = setting("ExecStart").split()
    assert (command, verb) == ("/usr/bin/hal-udev", "run")
    assert os.access(PACKAGE / "bin/hal-udev", os.X_OK)
    assert setting("ExecReload").split()[1:] == ["-HUP", "$MAINPID"]
    assert re.findall(r"man:([\w.-]+)\((\d)\)", setting("Documentation")) == [("hal-udev", "1")]
    assert (PACKAGE / "man/hal-udev.1").exists()


def test_its_sandbox_has_what_it_needs_and_not_more() -> None:
    assert setting("CapabilityBoundingSet") == "CAP_SYSLOG", "to read the kernel's log"
    assert setting("ProtectSystem") == "strict"
    assert setting("ReadWritePaths").split() == ["/run/hal", "/var/lib/hal"]
    assert setting("RestrictAddressFamilies").split() == ["AF_NETLINK", "AF_UNIX"]
    assert (setting("DevicePolicy"), setting("DeviceAllow")) == (
        "closed",
        "char-usb_device rw block-* rw /dev/kmsg r",
    )
    assert setting("InaccessiblePaths") == "-/proc/kmsg"
    assert setting("SystemCallFilter").split() == ["@system-service", "~syslog"]
    for key in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "ProtectKernelTunables", "MemoryDenyWriteExecute"):
        assert setting(key) == "yes", key
    # udev's events are heard in udev's own network namespace only, and USB devices are devices.
    for key in ("PrivateNetwork", "PrivateUsers", "PrivateDevices"):
        assert setting(key) == "", key


def test_the_directories_that_it_writes_to_are_made_at_boot() -> None:
    made = [line.split()[:3] for line in unitfile.lines(PACKAGE / "tmpfiles/hal-udev.conf")]
    assert made == [["d", "/run/hal/udev", "0755"], ["d", "/var/lib/hal/udev", "0755"]]


@pytest.mark.component
@needs_systemd
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    assert unitfile.complaints(UNIT, tmp_path) == ""


@pytest.mark.component
@needs_systemd
def test_the_sandbox_is_tight(tmp_path: Path) -> None:
    assert unitfile.exposure(UNIT, tmp_path) <= MOST_EXPOSED


def test_the_rules_for_drives_are_udevs_and_keep_the_hosts_hands_off() -> None:
    rules = unitfile.lines(PACKAGE / "udev/60-cdrom_id.rules")
    own = rules[: rules.index('LABEL="cdrom_usb"')]
    assert not [line for line in own if "RUN" in line or "IMPORT{program}" in line], "drives are not opened"
    assert 'SUBSYSTEMS=="usb", GOTO="cdrom_usb"' in own
    kept = re.findall(r'^IMPORT\{db\}="(\w+)"$', "\n".join(own), re.MULTILINE)
    assert {"ID_PATH", "ID_SERIAL_SHORT", "ID_MODEL_ENC", "ID_VENDOR_ENC"} <= set(kept), "what facts tell a drive by"
    assert set(kept) - {"ID_SERIAL"} <= udevdb.KEYS
