"""What hal-netcfg gives to systemd, to the kernel, and to those who would have the NICs themselves."""

from __future__ import annotations

import configparser
import fnmatch
import os
import re
import xml.etree.ElementTree
from pathlib import Path

import pytest

from hal_core.patience import LONGEST_SECONDS
from hal_core.testing import unitfile
from hal_netcfg import names, unmanaged
from hal_netcfg.resident.loop import LONGEST_REST_SECONDS

PACKAGE = Path(__file__).resolve().parents[1]
UNIT = PACKAGE / "systemd/hal-netcfg.service"
TELL = PACKAGE / "systemd/hal-netcfg-unmanaged.service"
MOST_EXPOSED = 3.5

OURS = [f"{kind}{number}" for kind in (names.LAN_BRIDGE, names.LAN_TAP, names.BOND) for number in (0, 127)]
OURS += [names.HOST_LINK, names.HOST_TAP]
NOT_OURS = ["eno1", "lo", "halifax0", "hal0", "br0"]

needs_systemd = pytest.mark.skipif(not unitfile.HAS_SYSTEMD, reason="systemd is not installed")


def setting(key: str) -> str:
    return unitfile.setting(UNIT, key)


# --- what must not be lost when somebody edits the unit ---------------------------------------------------------------


def test_it_comes_after_the_plan_and_before_the_product_and_whoever_would_have_the_nics() -> None:
    assert "hal-qemu-plan.service" in setting("After").split()
    before = setting("Before").split()
    assert {"hal-qemu.service", "network-pre.target", "NetworkManager.service", "systemd-networkd.service"} <= {*before}
    assert {"hal-qemu-plan.service", "network-pre.target"} <= set(setting("Wants").split())


def test_what_networkmanager_is_told_it_is_told_while_it_runs() -> None:
    path = "hal-netcfg-unmanaged.path"
    assert path in setting("Wants").split()
    assert path in setting("After").split(), "a file that was there before is no news"
    assert unitfile.setting(PACKAGE / "systemd" / path, "PathChanged") == f"{unmanaged.DIRECTORY}/{unmanaged.NAME}"
    tell = "/usr/bin/systemctl --no-block try-reload-or-restart NetworkManager.service"
    started = [value for key, value in unitfile.settings(TELL) if key == "ExecStart"]
    assert started == [tell, "/usr/bin/sleep 1", tell]


def test_nothing_depends_on_it_but_by_order() -> None:
    """The private link and the firewall do without a plan, and the product without its resident."""
    for key in ("BindsTo", "Requires", "Requisite", "PartOf", "Upholds", "PropagatesStopTo", "Conflicts"):
        assert setting(key) == "", key


def test_the_network_outlives_its_resident() -> None:
    assert not [key for key, _ in unitfile.settings(UNIT) if key.startswith("ExecStop")]
    assert setting("Restart") == "always"
    assert setting("StartLimitIntervalSec") == "0"


def test_the_watchdog_is_longer_than_any_rest() -> None:
    assert setting("Type") == "notify"
    assert {"2min": 120}[setting("WatchdogSec")] > 2 * max(LONGEST_REST_SECONDS, LONGEST_SECONDS)


def test_the_code_and_the_unit_name_each_other() -> None:
    command, verb = setting("ExecStart").split()
    assert (command, verb) == ("/usr/bin/hal-netcfg", "run")
    assert os.access(PACKAGE / "bin/hal-netcfg", os.X_OK)
    assert setting("ExecReload").split()[1:] == ["-HUP", "$MAINPID"]


def test_every_page_that_the_unit_points_to_exists() -> None:
    pages = re.findall(r"man:([\w.-]+)\((\d)\)", setting("Documentation"))
    assert pages == [("hal-netcfg", "1")]
    assert (PACKAGE / "man/hal-netcfg.1").exists()


def test_its_sandbox_has_what_it_needs_and_not_more() -> None:
    assert setting("CapabilityBoundingSet") == "CAP_NET_ADMIN"
    assert setting("ProtectSystem") == "strict"
    assert setting("ReadWritePaths").split() == ["/run/hal", f"-{unmanaged.DIRECTORY}"]
    assert setting("RestrictAddressFamilies").split() == ["AF_NETLINK", "AF_UNIX", "AF_INET"]
    assert (setting("DevicePolicy"), setting("DeviceAllow")) == ("closed", "/dev/net/tun rw")
    for key in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "ProtectKernelModules", "MemoryDenyWriteExecute"):
        assert setting(key) == "yes", key
    # disable_ipv6 and br_netfilter are in /proc/sys/net, and a network of its own would be the wrong one.
    for key in ("ProtectKernelTunables", "PrivateNetwork", "PrivateUsers", "PrivateDevices"):
        assert setting(key) == "", key


def test_what_it_may_not_load_itself_is_loaded_before_it() -> None:
    assert "systemd-modules-load.service" in setting("After").split()
    modules = unitfile.lines(PACKAGE / "systemd/modules-load.d/hal-netcfg.conf")
    assert {"bonding", "bridge", "macvtap", "tun", "nf_tables"} <= {*modules}
    assert modules == sorted(modules)


def test_the_directories_that_it_writes_to_are_made_at_boot() -> None:
    made = [line.split()[:3] for line in unitfile.lines(PACKAGE / "tmpfiles/hal-netcfg.conf")]
    assert made == [["d", "/run/hal/netcfg", "0755"], ["d", unmanaged.DIRECTORY, "0755"]]


def test_the_kernel_settings_are_well_formed() -> None:
    for line in unitfile.lines(PACKAGE / "sysctl/90-hal-netcfg.conf"):
        match = re.fullmatch(r"(net\.[a-z0-9_.]+) = (\d+)", line)
        assert match, line
        assert Path("/proc/sys", match[1].replace(".", "/")).exists(), line


# --- others keep off --------------------------------------------------------------------------------------------------


def patterns(path: Path, section: str, key: str) -> list[str]:
    parser = configparser.ConfigParser(delimiters="=", strict=True)
    parser.read(path)
    words = re.split(r"[; ]", parser[section][key])
    return [word.partition("interface-name:")[2] or word for word in words if word]


@pytest.mark.parametrize(
    ("file", "section", "key"),
    [
        ("networkmanager/90-hal.conf", "keyfile", "unmanaged-devices+"),
        ("networkd/05-hal.network", "Match", "Name"),
    ],
)
def test_hals_interfaces_are_nobody_elses(file: str, section: str, key: str) -> None:
    given = patterns(PACKAGE / file, section, key)
    assert [name for name in OURS if not any(fnmatch.fnmatchcase(name, pattern) for pattern in given)] == []
    assert [name for name in NOT_OURS if any(fnmatch.fnmatchcase(name, pattern) for pattern in given)] == []


def test_networkd_leaves_them_alone() -> None:
    parser = configparser.ConfigParser(delimiters="=", strict=True)
    parser.read(PACKAGE / "networkd/05-hal.network")
    assert parser["Link"]["Unmanaged"] == "yes"


def test_firewalld_leaves_the_private_link_to_hals_own_firewall() -> None:
    zone = xml.etree.ElementTree.parse(PACKAGE / "firewalld/hal.xml").getroot()
    assert zone.tag == "zone"
    assert zone.get("target") == "ACCEPT"
    assert [one.get("name") for one in zone.iter("interface")] == [names.HOST_LINK]


# --- systemd's own tools ----------------------------------------------------------------------------------------------


@pytest.mark.component
@needs_systemd
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    assert [unitfile.complaints(unit, tmp_path) for unit in (UNIT, TELL)] == ["", ""]


@pytest.mark.component
@needs_systemd
@pytest.mark.parametrize("unit", [UNIT, TELL], ids=["hal-netcfg", "hal-netcfg-unmanaged"])
def test_the_sandbox_is_tight(unit: Path, tmp_path: Path) -> None:
    assert unitfile.exposure(unit, tmp_path) <= MOST_EXPOSED
