"""The table [netcfg]: without it everything works, each LAN has a table of its own, and what is wrong is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from hal_core import config
from hal_core.errors import ConfigError
from hal_netcfg import names
from hal_netcfg.config import BONDS, LanConfig, NetcfgConfig
from hal_netcfg.links import wanted
from hal_netcfg.plan.network import HostLink


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HAL_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("HAL_DEFAULTS_DIR", str(tmp_path / "none"))
    return tmp_path


def load(directory: Path, text: str) -> NetcfgConfig:
    (directory / "hal.toml").write_text(text)
    return config.load(NetcfgConfig, "netcfg")


def test_without_any_file_every_nic_is_a_lan(directory: Path) -> None:
    found = config.load(NetcfgConfig, "netcfg")
    assert found == NetcfgConfig()
    assert (found.mtu, found.down_with_product, found.lan) == (0, False, {})
    assert HostLink(found.link_network) == HostLink()


def test_each_lan_has_its_own_table(directory: Path) -> None:
    text = """
    [netcfg]
    mtu = 9000
    [netcfg.lan.11]
    mode = "macvtap"
    [netcfg.lan.2]
    nics = ["eno1", "00:1B:21:00:00:0a"]
    bond = "802.3ad"
    lacp_rate = "fast"
    """
    found = load(directory, text)
    assert list(found.lan) == [2, 11]
    assert found.lan[2] == LanConfig(nics=("eno1", "00:1B:21:00:00:0a"), bond="802.3ad", lacp_rate="fast")
    assert found.lan[11] == LanConfig(mode="macvtap")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[netcfg]\nmtu = -1", "netcfg.mtu = -1: allowed is"),
        ("[netcfg]\nmtu = 65536", "netcfg.mtu = 65536: allowed is"),
        ("[netcfg]\nmut = 9000", "netcfg.mut: no such key; allowed are mtu, down_with_product, link_network, lan"),
        ("[netcfg]\nnics = []", "netcfg.nics: no such key"),
        ('[netcfg]\nlink_network = "169.254.72.0/24"', 'netcfg.link_network = "169.254.72.0/24": allowed is'),
        ("[netcfg]\nlan = 1", "netcfg.lan = 1: allowed are tables with numbers from 0 to 127"),
        ("[netcfg.lan.128]", "netcfg.lan.128: no such number; allowed are 0 to 127"),
        ("[netcfg.lan]\nmtu = 9000", "netcfg.lan.mtu: no such number"),
        ('[netcfg.lan.0]\nmode = "bridged"', 'netcfg.lan.0.mode = "bridged": allowed is'),
        ('[netcfg.lan.0]\nbond = "balance-alb"', 'netcfg.lan.0.bond = "balance-alb": allowed is'),
        ('[netcfg.lan.0]\nnics = "eno1"', 'netcfg.lan.0.nics = "eno1": allowed is'),
        ('[netcfg.lan.0]\nnics = ["eno1", "eno 2"]', 'netcfg.lan.0.nics[1] = "eno 2": allowed is'),
        ('[netcfg.lan.0]\narp_targets = ["gateway"]', 'netcfg.lan.0.arp_targets[0] = "gateway": allowed is'),
        ("[netcfg.lan.0]\nmiimon = 10001", "netcfg.lan.0.miimon = 10001: allowed is"),
    ],
)
def test_what_is_wrong_is_one_line(directory: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(directory, text)
    assert caught.value.message.startswith(f"{directory}/hal.toml: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('link_network = "169.254.72.1/30"', 'netcfg.link_network = "169.254.72.1/30": it has host bits set; allowed'),
        ('link_network = "169.254.300.0/30"', r'netcfg.link_network = "169.254.300.0/30": .*300.*; allowed is an IPv4'),
        ("mtu = 1", "netcfg.mtu = 1: allowed is 0, or from 68 to 65535"),
        ("mtu = 9000\nlan.0.mtu = 9000\nlan.3.mtu = 67", "netcfg.lan.3.mtu = 67: allowed is 0, or from 68 to 65535"),
    ],
)
def test_what_no_lan_can_be_made_with_is_not_loaded(directory: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}") as caught:
        load(directory, f"[netcfg]\n{text}\n")
    assert "\n" not in str(caught.value)
    assert [str(problem) for problem in config.problems(NetcfgConfig, "netcfg")] == [str(caught.value)], "hal check"


def test_what_is_wrong_with_one_lan_alone_is_loaded(directory: Path) -> None:
    """The others are made."""
    text = (
        '[netcfg.lan.2]\nmode = "macvtap"\nnics = ["eno1", "eno2"]\narp_targets = ["192.0.2.256"]\narp_interval = 9\n'
    )
    assert load(directory, text).lan[2].arp_targets == ("192.0.2.256",)


@pytest.mark.parametrize("mtu", [0, 68, 65535])
def test_every_mtu_that_ip_works_with_is_accepted(directory: Path, mtu: int) -> None:
    found = load(directory, f"[netcfg]\nmtu = {mtu}\nlan.1.mtu = {mtu}\n")
    assert (found.mtu, found.lan[1].mtu) == (mtu, mtu)


def test_the_code_knows_every_mode_of_a_bond() -> None:
    assert set(wanted.BOND_MODES) == set(BONDS)


def test_names_of_interfaces_are_ones_that_linux_takes() -> None:
    """At most 15 characters (IFNAMSIZ), with the largest number that a LAN may have."""
    for name in (names.LAN_BRIDGE, names.LAN_TAP, names.BOND):
        assert len(f"{name}127") <= 15
        assert wanted.lan_number(f"{name}127") == 127
    for other in (names.HOST_LINK, names.HOST_TAP, "hallan", "hallan1x", "xhallan1", "hallan-1", "eno1"):
        assert wanted.lan_number(other) == -1
