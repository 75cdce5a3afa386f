"""One look and what follows from it, with a FAKE kernel and a FAKE firewall."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any, Optional

import pytest

from fake_kernel import FakeKernel
from hal_core.errors import HostError
from hal_core.testing import synthetic
from hal_netcfg import engine, unmanaged
from hal_netcfg.config import LanConfig, NetcfgConfig
from hal_netcfg.engine import Engine, Sight
from hal_netcfg.firewall import firewall
from hal_netcfg.firewall.firewall import Loaded
from hal_netcfg.firewall.rules import Guard
from hal_netcfg.hardware import Hardware
from hal_netcfg.links import netfilter
from hal_netcfg.links.action import Address, Change, Create
from hal_netcfg.links.link import Link
from hal_netcfg.plan.network import HostLink, Kept, Lan, Network, Port
from interfaces import KEPT, NICS, hardware


class FakeFirewall:
    """Remembers what it was asked to be."""

    def __init__(self) -> None:
        self.guards: list[Guard] = []
        self.problem = ""

    def ensure(self, guard: Guard, remembered: Optional[Loaded]) -> firewall.Outcome:
        if self.problem:
            raise HostError(self.problem)
        changed = guard not in self.guards[-1:]
        self.guards.append(guard)
        return firewall.Outcome(("because",) if changed else (), Loaded("wanted", "listed"))


@pytest.fixture(name="kernel")
def new_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeKernel:
    kernel = FakeKernel(map(hardware, (*NICS, KEPT)))
    monkeypatch.setattr(engine, "Kernel", lambda *_: kernel)
    monkeypatch.setattr(netfilter, "_DIRECTORY", str(tmp_path / "none"))
    monkeypatch.setattr(unmanaged, "DIRECTORY", str(tmp_path / "NetworkManager"))
    monkeypatch.setenv("HAL_CONFIG_DIR", str(tmp_path / "etc"))
    monkeypatch.setenv("HAL_DEFAULTS_DIR", str(tmp_path / "lib"))
    return kernel


@pytest.fixture(name="rules")
def new_rules(monkeypatch: pytest.MonkeyPatch) -> FakeFirewall:
    fake = FakeFirewall()
    monkeypatch.setattr(firewall, "ensure", fake.ensure)
    monkeypatch.setattr(firewall, "difference", lambda guard, remembered: [])
    return fake


def make(directory: Path, **config: Any) -> Engine:
    nics = [{"tap": f"haltap{number}", "mac": mac} for number, mac in enumerate(NICS.values())]
    (directory / "plan.json").write_text(json.dumps({"nics": nics}))
    found = [synthetic.nic(index, name=name, mac=mac) for index, (name, mac) in enumerate(NICS.items())]
    found.append(synthetic.nic(9, name=KEPT, mac="00:1b:21:00:00:09"))
    return Engine(str(directory), NetcfgConfig(**config), Hardware(lambda: found))


def apply(one: Engine) -> list[str]:
    return [f"{outcome.group}: {action}" for outcome in one.apply(one.look()) for action in outcome.done]


def test_a_look_is_brought_about_once(kernel: FakeKernel, rules: FakeFirewall, tmp_path: Path) -> None:
    one = make(tmp_path)
    assert one.guard(one.look())
    assert len(apply(one)) > 20
    assert apply(one) == []
    assert one.difference(one.look()) == []
    assert {name: kernel.links()[name].master for name in (*NICS, KEPT)} == {
        "eno1": "hallan0",
        "eno2": "hallan1",
        "eno3": "hallan2",
        KEPT: "",
    }


@pytest.mark.parametrize(
    "lan",
    [
        {},
        {0: LanConfig(nics=("eno2", "eno1"))},
        {0: LanConfig(nics=("eno2",), mode="macvtap"), 1: LanConfig(nics=("eno1",), mode="macvtap")},
    ],
)
def test_a_dry_run_tells_just_what_is_done(
    kernel: FakeKernel, rules: FakeFirewall, tmp_path: Path, lan: dict[int, LanConfig]
) -> None:
    apply(make(tmp_path, lan={0: LanConfig(mode="macvtap"), 1: LanConfig(mode="macvtap")}))
    one = make(tmp_path, lan=lan)
    before = kernel.links()
    told = one.difference(one.look())
    assert kernel.links() == before
    assert told == apply(one)


def test_a_dry_run_tells_what_waits(kernel: FakeKernel, rules: FakeFirewall, tmp_path: Path) -> None:
    apply(make(tmp_path))
    kernel.attached.add("haltap1")
    one = make(tmp_path, lan={1: LanConfig(mode="macvtap")})
    assert one.difference(one.look()) == ["LAN 1: haltap1 is the running product's: at its next start"]


def test_what_is_waited_out_is_left_alone(kernel: FakeKernel, rules: FakeFirewall, tmp_path: Path) -> None:
    one = make(tmp_path)
    one.apply(one.look(), frozenset({"LAN 1", "the private link"}))
    assert {"hallan0", "hallan2"} <= kernel.links().keys()
    assert not {"hallan1", "halint"} & kernel.links().keys()


def test_an_address_in_the_links_way_stops_the_link_alone(
    kernel: FakeKernel, rules: FakeFirewall, tmp_path: Path
) -> None:
    kernel.perform(Address(KEPT, "169.254.72.2/24", True))
    kernel.perform(Address("eno1", "169.254.72.3/24", True))  # that goes anyway
    one = make(tmp_path)
    sight = one.look()
    assert "eno9 has 169.254.72.2/24" in sight.clash
    outcomes = {outcome.group: outcome.problem for outcome in one.apply(sight)}
    assert outcomes == {"LAN 0": "", "LAN 1": "", "LAN 2": "", "the private link": sight.clash}
    assert "halint" not in kernel.links()


def test_the_firewall_is_asked_again_when_it_was_touched_or_something_else_is_wanted(
    kernel: FakeKernel, rules: FakeFirewall, tmp_path: Path
) -> None:
    one = make(tmp_path)
    assert one.guard(one.look())
    assert not one.guard(one.look(), touched=False)
    assert len(rules.guards) == 1, "nothing is listed without a reason"
    assert not one.guard(one.look(), touched=True)
    assert len(rules.guards) == 2
    one.configure(NetcfgConfig(link_network="192.0.2.0/30"))
    assert one.guard(one.look(), touched=False)
    assert rules.guards[-1].host == "192.0.2.1"
    rules.problem = "nft: no"
    with pytest.raises(HostError, match="nft: no"):
        one.guard(one.look())
    rules.problem = ""
    one.guard(one.look(), touched=False)
    assert len(rules.guards) == 4, "after a failure, too"


def test_what_the_firewall_guards(kernel: FakeKernel, rules: FakeFirewall, tmp_path: Path) -> None:
    kernel.perform(Create("br-own", "bridge"))
    kernel.perform(Change(KEPT, master="br-own"))
    one = make(tmp_path, lan={0: LanConfig(nics=("eno1", "eno2"))})
    one.guard(one.look())
    guard = rules.guards[-1]
    assert (guard.host, guard.product, guard.network) == ("169.254.72.1", "169.254.72.2", "169.254.72.0/30")
    assert guard.lan_ports == ("eno1", "eno2", "eno3", "halbond0")
    assert guard.kept == ("br-own", KEPT)


def test_a_nic_that_hal_vmm_has_not_seen_is_not_the_hosts(
    kernel: FakeKernel, rules: FakeFirewall, tmp_path: Path
) -> None:
    """Nothing is let in there, and NetworkManager leaves it alone, until hal-vmm has planned it or held it back."""
    one = make(tmp_path)
    before = kernel.links()[KEPT]
    told = tmp_path / "NetworkManager/90-hal-nics.conf"
    told.parent.mkdir()
    plan = json.loads((tmp_path / "plan.json").read_text())
    for held, kept in (([], ()), ([{"what": KEPT, "reason": "kept for the host"}], (KEPT,))):
        (tmp_path / "plan.json").write_text(json.dumps({**plan, "held_back": held}))
        one.guard(one.look())
        assert rules.guards[-1].kept == kept
        assert rules.guards[-1].lan_ports == tuple(NICS)
        apply(one)
        assert (f"interface-name:{KEPT}" in told.read_text()) == (not kept)
        assert kernel.links()[KEPT] == before, "nothing is done to it"


def test_before_there_is_a_plan_nobody_is_locked_out(kernel: FakeKernel, rules: FakeFirewall, tmp_path: Path) -> None:
    """But from NICs that an earlier plan has made LANs of."""
    apply(make(tmp_path))
    kernel.perform(Change("eno3", master=""))
    one = make(tmp_path)
    (tmp_path / "plan.json").unlink()
    one.guard(one.look())
    assert rules.guards[-1].kept == ("eno3", KEPT)
    assert apply(one) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"other": 1}'])
def test_a_damaged_memory_of_the_firewall_is_none(
    kernel: FakeKernel, rules: FakeFirewall, tmp_path: Path, content: str
) -> None:
    (tmp_path / "netcfg").mkdir()
    (tmp_path / "netcfg/firewall.json").write_text(content)
    one = make(tmp_path)
    one.guard(one.look())
    assert json.loads((tmp_path / "netcfg/firewall.json").read_text()) == {"wanted": "wanted", "listing": "listed"}


def test_one_changes_things_at_a_time(kernel: FakeKernel, tmp_path: Path) -> None:
    one = make(tmp_path)
    lock = tmp_path / "netcfg/lock"
    with one.alone():
        other = os.open(lock, os.O_RDWR)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(other)
    with one.alone():
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="Not a directory"), Engine(str(tmp_path / "file"), NetcfgConfig()).alone():
        pass


def test_whose_addresses_stay() -> None:
    others = ("eno9", "eno1.5", "lo")
    links = {name: Link(name, 0, addresses=("192.0.2.1/24",)) for name in ("eno1", "halint", "hallan7", *others)}
    network = Network((Lan(0, "", "bridge", (Port("eno1", "", ""),)),), HostLink(), kept=(Kept("eno9", ""),))
    assert engine._addresses_of_others(network, links).keys() == {*others}


def test_what_is_built_on_the_hosts_own_nics_is_the_hosts() -> None:
    links = [
        Link("eno9", 0, master="bond0"),
        Link("bond0", 1, "bond"),
        Link("bond0.5", 2, "vlan", lower="bond0", master="br5"),
        Link("br5", 3, "bridge"),
        Link("eno8", 4, master="hallan3"),
        Link("hallan3", 5, "bridge"),
        Link("eno1", 6),
        Link("eno1.5", 7, "vlan", lower="eno1"),
    ]
    found = engine._with_what_is_built_on({"eno9", "eno8", "gone"}, {link.name: link for link in links})
    assert found == {"eno9", "bond0", "bond0.5", "br5", "eno8"}


def test_whether_a_product_runs() -> None:
    tap = Link("haltap0", 1, "tun", up=True, carrier=True)
    assert Sight({"haltap0": tap}, Network((), HostLink())).product_running
    assert not Sight({"tap0": Link("tap0", 1, "tun", carrier=True)}, Network((), HostLink())).product_running
