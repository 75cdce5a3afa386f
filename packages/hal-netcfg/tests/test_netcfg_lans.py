"""Which NIC becomes which LAN, for every server, every plan of hal-vmm's and every configuration; and what is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hal_core.machine import Nic
from hal_core.testing import synthetic
from hal_netcfg import hardware
from hal_netcfg.config import BONDS, MODES, LanConfig, NetcfgConfig
from hal_netcfg.links import wanted
from hal_netcfg.plan import lans, show
from hal_netcfg.plan.macs import host_mac
from hal_netcfg.plan.network import Bond, HostLink, Kept, Lan, Network, Port, ProductNic


def mac(number: int) -> str:
    return f"00:1b:21:00:00:{number:02x}"


def nic(number: int, **changes: Any) -> Nic:
    return synthetic.nic(0, **{"name": f"eno{number}", "mac": mac(number), **changes})


NICS = tuple(nic(number) for number in range(1, 5))
PRODUCT = tuple(ProductNic(number - 1, mac(number)) for number in range(1, 5))


def plan(lan: dict[int, LanConfig], nics: tuple[Nic, ...] = NICS, **config: Any) -> Network:
    return lans.plan(nics, PRODUCT, NetcfgConfig(lan=lan, **config))


def port(number: int) -> Port:
    return Port(f"eno{number}", mac(number), f"02{mac(number)[2:]}")


def ports(network: Network) -> dict[int, list[str]]:
    return {lan.number: [one.name for one in lan.ports] for lan in network.lans}


# --- the address that the host's NIC wears ----------------------------------------------------------------------------

PERMANENT = st.binary(min_size=6, max_size=6).map(lambda octets: bytes([octets[0] & ~1, *octets[1:]]).hex(":"))
UNIVERSAL = PERMANENT.filter(lambda address: not int(address[:2], 16) & 2)


@settings(deadline=None)
@given(PERMANENT)
def test_the_hosts_address_is_local_unicast_and_not_the_products(address: str) -> None:
    worn = host_mac(address)
    first = int(worn[:2], 16)
    assert first & 2, "locally administered"
    assert not first & 1, "unicast"
    assert worn != address
    assert worn[2:] == address[2:]
    assert worn == bytes.fromhex(worn.replace(":", "")).hex(":")


@settings(deadline=None)
@given(UNIVERSAL, UNIVERSAL)
def test_nics_that_differ_wear_addresses_that_differ(one: str, other: str) -> None:
    assert (host_mac(one) == host_mac(other)) == (one == other)
    assert host_mac(one) != other, "nor is it what another product wears"


# --- the plan ---------------------------------------------------------------------------------------------------------


def test_without_configuration_every_nic_is_a_lan_of_its_own() -> None:
    network = lans.plan(NICS, PRODUCT, NetcfgConfig())
    assert network == Network(
        tuple(Lan(number - 1, mac(number), "bridge", (port(number),)) for number in range(1, 5)), HostLink()
    )
    lan = network.lans[2]
    assert (lan.bridge, lan.tap, lan.port) == ("hallan2", "haltap2", "eno3")


def test_the_numbers_and_the_order_are_the_products() -> None:
    product = (ProductNic(7, mac(1)), ProductNic(0, mac(3)), ProductNic(2, mac(9)))
    network = lans.plan(NICS, product, NetcfgConfig())
    assert ports(network) == {0: ["eno3"], 2: [], 7: ["eno1"]}
    assert [lan.mac for lan in network.lans] == [mac(3), mac(9), mac(1)]
    assert network.notes == (f"the product's NIC 2 has no link: {mac(9)} is not here",)
    assert network.kept == (
        Kept("eno2", "not planned for the product (hal vmm plan says why)"),
        Kept("eno4", "not planned for the product (hal vmm plan says why)"),
    )
    assert network.problems == ()


def test_a_nic_that_hal_vmm_has_not_seen_yet_is_nobodys() -> None:
    """It has come since. No plan would make a LAN of one on USB, or without an address."""
    nics = (*NICS, nic(5), nic(6, bus="usb"), nic(7, mac=""), nic(8))
    held = {"eno2", mac(8), "eno6", "/dev/sda", "host link"}
    network = lans.plan(nics, PRODUCT[:1], NetcfgConfig(), others=held)
    assert ports(network) == {0: ["eno1"]}
    assert [kept.name for kept in network.kept] == ["eno2", "eno6", "eno7", "eno8"]
    assert network.unplanned == ("eno3", "eno4", "eno5")
    assert network.to_json()["unplanned"] == ["eno3", "eno4", "eno5"]
    assert network.notes == tuple(
        f"eno{number}: not in hal-vmm's plan yet, and so it leads nowhere until hal-netcfg.service, or hal vmm apply, "
        "has it planned"
        for number in (3, 4, 5)
    )
    assert network.problems == ()


def test_without_a_list_of_what_is_held_back_no_nic_is_nobodys() -> None:
    """A plan of an earlier hal-vmm's, or none at all."""
    assert lans.plan(NICS, PRODUCT[:2], NetcfgConfig()).unplanned == ()
    assert len(lans.plan(NICS, PRODUCT[:2], NetcfgConfig()).kept) == 2
    assert lans.plan(NICS, PRODUCT, NetcfgConfig(), others=()).unplanned == (), "nor is one of the product's"
    assert lans.plan(NICS, None, NetcfgConfig(), others=()).unplanned == ()


def test_until_hal_vmm_has_planned_there_are_no_lans() -> None:
    network = lans.plan(NICS, None, NetcfgConfig(lan={0: LanConfig(mode="sriov")}))
    assert (network.lans, network.problems, network.planned) == ((), (), False)
    assert "hal vmm apply" in network.notes[0]
    assert lans.plan(NICS, (), NetcfgConfig()).planned, "a product without NICs is another matter"


def test_what_hal_vmm_will_plan() -> None:
    nics = (nic(3), nic(5, bus="usb"), nic(1), nic(6, mac=""))
    assert lans.product_nics(nics) == (ProductNic(0, mac(3)), ProductNic(1, mac(1)))
    network = lans.plan(nics, lans.product_nics(nics), NetcfgConfig())
    assert ports(network) == {0: ["eno3"], 1: ["eno1"]}
    assert network.kept == (
        Kept("eno5", "a USB device: the product gets it as such"),
        Kept("eno6", "no permanent MAC address"),
    )


def test_a_lan_may_lead_to_another_nic_by_name_or_address() -> None:
    network = plan({0: LanConfig(nics=("eno2",)), 1: LanConfig(nics=(mac(1).upper(),))})
    assert ports(network) == {0: ["eno2"], 1: ["eno1"], 2: ["eno3"], 3: ["eno4"]}
    assert network.lans[0].mac == mac(1), "the product wears what it always has"
    assert (network.notes, network.problems) == ((), ())


def test_a_bond_takes_the_links_of_the_products_other_nics() -> None:
    config = LanConfig(nics=("eno2", "eno1"), bond="802.3ad", lacp_rate="fast", miimon=50, mtu=9000)
    network = plan({1: config}, mtu=4000)
    assert ports(network) == {0: [], 1: ["eno2", "eno1"], 2: ["eno3"], 3: ["eno4"]}
    bonded = network.lans[1]
    both = (port(2), Port("eno1", mac(1), port(2).host_mac))
    assert bonded == Lan(1, mac(2), "bridge", both, Bond("802.3ad", "fast", 50, 0, ()), 9000)
    assert bonded.port == "halbond1"
    assert network.lans[0].port == ""
    assert [lan.mtu for lan in network.lans] == [4000, 9000, 4000, 4000]
    assert network.notes == ("the product's NIC 0 has no link: eno1 is in netcfg.lan.1",)


def test_arp_probes_take_the_place_of_the_carrier() -> None:
    config = LanConfig(nics=("eno1", "eno2"), miimon=100, arp_interval=500, arp_targets=("192.0.2.1", "192.0.2.2"))
    network = plan({0: config})
    assert network.lans[0].bond == Bond("active-backup", "slow", 0, 500, ("192.0.2.1", "192.0.2.2"))


def test_a_bond_stays_one_when_some_of_its_nics_have_gone() -> None:
    network = plan({0: LanConfig(nics=("eno1", "eno2", "eno9"))}, nics=NICS[1:])
    assert network.lans[0].ports == (port(2),)
    assert network.lans[0].port == "halbond0"
    assert network.notes == (
        "netcfg.lan.0: eno1 is not here; the LAN goes on without it",
        "netcfg.lan.0: eno9 is not here; the LAN goes on without it",
        "the product's NIC 1 has no link: eno2 is in netcfg.lan.0",
    )
    assert network.problems == ()


def test_nics_with_one_address_are_not_two_cables_in_one_bridge() -> None:
    clones = (nic(1), nic(2, mac=mac(1)), nic(3))
    product = (ProductNic(0, mac(1)), ProductNic(1, mac(1)), ProductNic(2, mac(3)), ProductNic(3, mac(1)))
    assert ports(lans.plan(clones, product, NetcfgConfig())) == {0: ["eno1"], 1: ["eno2"], 2: ["eno3"], 3: []}
    network = lans.plan(clones, product[:1], NetcfgConfig(lan={0: LanConfig(nics=("eno1", "eno2"))}))
    assert ports(network) == {0: ["eno1", "eno2"]}
    assert network.lans[0].bond


# --- what cannot be ---------------------------------------------------------------------------------------------------

BOTH = ("eno1", "eno2")


@pytest.mark.parametrize(
    ("number", "config", "message"),
    [
        (0, LanConfig(nics=("eno9",)), "netcfg.lan.0.nics = eno9: not here; the product's NICs are: eno1, eno2, eno3"),
        (1, LanConfig(nics=("eno8", "eno9")), "netcfg.lan.1.nics = eno8, eno9: none of these is here; "),
        (0, LanConfig(nics=("eno4",)), 'netcfg.lan.0.nics = "eno4": that NIC is not the product\'s (hal netcfg plan '),
        (0, LanConfig(nics=(mac(4).upper(),)), "that NIC is not the product's"),
        (5, LanConfig(), "netcfg.lan.5: the product has no NIC 5; it has 0, 1, 2"),
        (5, LanConfig(nics=("eno1",)), "netcfg.lan.5: the product has no NIC 5; it has 0, 1, 2"),
        (0, LanConfig(mode="sriov"), 'netcfg.lan.0.mode = "sriov": eno1 has no IOMMU in front of it: switch on VT-d'),
        (0, LanConfig(mode="vfio"), 'netcfg.lan.0.mode = "vfio": eno1 has no IOMMU in front of it: switch on VT-d'),
        (0, LanConfig(mode="macvtap", nics=BOTH), 'netcfg.lan.0.mode = "macvtap": takes one NIC, not 2; let the '),
        (0, LanConfig(mode="macvtap", nics=("eno1", "eno9")), "takes one NIC, not 2"),
        (2, LanConfig(nics=BOTH, arp_interval=9), "netcfg.lan.2.arp_interval = 9: needs arp_targets"),
        (
            0,
            LanConfig(nics=BOTH, bond="802.3ad", arp_interval=9, arp_targets=("192.0.2.1",)),
            'netcfg.lan.0.arp_interval = 9: not with bond = "802.3ad"; use miimon',
        ),
        (
            0,
            LanConfig(nics=BOTH, bond="balance-tlb", arp_interval=9, arp_targets=("192.0.2.1",)),
            'not with bond = "balance-tlb"',
        ),
        (0, LanConfig(arp_targets=("192.0.2.256",)), 'netcfg.lan.0.arp_targets = "192.0.2.256": no IPv4 address'),
        (0, LanConfig(arp_targets=("192.0.2.1",) * 17), "netcfg.lan.0.arp_targets: 17 addresses; allowed are 16"),
    ],
)
def test_one_lan_that_cannot_be_is_left_as_it_is(number: int, config: LanConfig, message: str) -> None:
    network = lans.plan(NICS, PRODUCT[:3], NetcfgConfig(lan={number: config}))
    assert [problem.number for problem in network.problems] == [number]
    assert message in network.problems[0].message
    assert network.untouched == {number}
    assert [lan.number for lan in network.lans] == [other for other in range(3) if other != number]


def test_a_nic_in_two_lans_is_said_of_both() -> None:
    network = plan({0: LanConfig(nics=("eno3",)), 1: LanConfig(nics=("eno2", mac(3)))})
    assert [problem.message for problem in network.problems] == [
        f'netcfg.lan.{number}.nics: "eno3" is also in another LAN; allowed is one LAN per NIC' for number in (0, 1)
    ]
    assert network.untouched == {0, 1}
    assert ports(network) == {2: [], 3: ["eno4"]}
    assert network.notes == ("the product's NIC 2 has no link: eno3 is in netcfg.lan.0",)


def test_a_product_without_nics_has_no_lan_to_configure() -> None:
    network = lans.plan(NICS, (), NetcfgConfig(lan={0: LanConfig()}))
    assert network.problems[0].message == "netcfg.lan.0: the product has no NIC 0, nor any other"


def test_a_lans_own_mtu_comes_before_that_of_all() -> None:
    assert [lan.mtu for lan in plan({0: LanConfig(mtu=65535)}, mtu=68).lans] == [65535, 68, 68, 68]


@pytest.mark.parametrize(
    ("address", "clashes"),
    [
        ("169.254.3.4/16", False),  # a management controller's: the longer prefix wins
        ("169.254.72.1/16", True),
        ("169.254.72.1/30", True),
        ("169.254.72.3/32", True),
        ("0.0.0.1/0", False),
        ("169.254.72.4/30", False),
        ("10.0.0.1/8", False),
        ("fe80::1/64", False),
        ("::ffff:169.254.72.1/120", False),
    ],
)
def test_an_address_of_the_hosts_own_in_the_links_way(address: str, clashes: bool) -> None:
    problem = lans.clash(HostLink(), {"lo": ("127.0.0.1/8",), "eno9": ("10.1.1.1/24", address)})
    assert bool(problem) == clashes
    if problem:
        assert problem.number is None
        assert f"eno9 has {address}, which is in 169.254.72.0/30" in problem.message
        assert "take the address off eno9, or set netcfg.link_network" in problem.message


def test_another_link_has_other_addresses() -> None:
    network = plan({}, link_network="192.0.2.8/30")
    assert (network.link.host, network.link.product) == ("192.0.2.9", "192.0.2.10")
    assert lans.clash(network.link, {"eno9": ("169.254.72.1/30",)}) is None


# --- properties -------------------------------------------------------------------------------------------------------

WORDS = st.sampled_from([f"eno{number}" for number in range(1, 8)] + [mac(2), mac(3).upper(), mac(6)])
CONFIGS = st.builds(
    NetcfgConfig,
    down_with_product=st.booleans(),
    lan=st.dictionaries(
        st.integers(0, 6),
        st.builds(
            LanConfig,
            nics=st.lists(WORDS, max_size=3).map(tuple),
            mode=st.sampled_from(("bridge", *MODES)),
            bond=st.sampled_from(BONDS),
            arp_interval=st.sampled_from((0, 0, 100)),
            arp_targets=st.sampled_from(((), ("192.0.2.1",), ("192.0.2.999",))),
        ),
        max_size=3,
    ),
)
SERVERS = st.lists(
    st.sampled_from([nic(number) for number in range(1, 7)] + [nic(7, mac=mac(1)), nic(8, mac=""), nic(9, bus="usb")]),
    unique=True,
).map(tuple)
PRODUCTS = st.lists(
    st.builds(ProductNic, st.integers(0, 6), st.integers(1, 7).map(mac)), unique_by=lambda nic: nic.number
).map(tuple)

OTHERS = st.none() | st.frozensets(WORDS)


@settings(max_examples=60, deadline=None)
@given(SERVERS, PRODUCTS, CONFIGS, OTHERS)
def test_what_holds_for_every_plan(
    nics: tuple[Nic, ...], product: tuple[ProductNic, ...], config: NetcfgConfig, others: frozenset[str] | None
) -> None:
    network = lans.plan(nics, product, config, others=others)
    numbers = [lan.number for lan in network.lans]
    assert numbers == sorted(set(numbers))
    assert {*numbers} | network.untouched >= {one.number for one in product}
    assert not {*numbers} & network.untouched
    assert {problem.number for problem in network.problems} == set(network.untouched)
    used = [port.name for lan in network.lans for port in lan.ports]
    assert len(used) == len(set(used)), "every NIC is in at most one LAN"
    given = {one.mac for one in product}
    not_used = [kept.name for kept in network.kept] + list(network.unplanned)
    assert sorted(not_used) == sorted(one.name for one in nics if one.mac not in given), "each is in one of the two"
    assert not set(used) & set(not_used)
    assert not set(network.unplanned) & (others or set())
    macs = {one.number: one.mac for one in product}
    for lan in network.lans:
        assert lan.mac == macs[lan.number]
        assert lan.mode in MODES
        assert len(lan.ports) <= 1 or lan.bond, "several cables without a bond are a loop"
        assert not (lan.mode == "macvtap" and lan.bond)
        assert bool(lan.ports) == (f"the product's NIC {lan.number} has no link" not in " ".join(network.notes))
        assert all(port.host_mac not in (port.mac, lan.mac) for port in lan.ports)
    # Everything can be told, and everything can be made.
    told = show.render(network)
    assert json.loads(json.dumps(network.to_json()))["problems"] == [vars(problem) for problem in network.problems]
    for text in (*network.notes, *(problem.message for problem in network.problems)):
        assert "\n" not in text
        assert f"  {text}\n" in told
    made = [one for group in wanted.groups(network, {}) for one in group.wanted]
    assert len(made) == len({one.name for one in made}), "no interface is in two groups"
    for one in made:
        assert one.ipv6 is False
        assert one.addresses == (("169.254.72.1/30",) if one.name == "halint" else ())
        speaks = one.name == "halint" or (one.kind == "bond" and one.settings.get("arp_interval"))
        assert one.noarp == (not speaks), one.name


# --- recorded servers, where they are at hand -------------------------------------------------------------------------

_MACHINES = Path(os.environ.get("HAL_MACHINES") or Path(__file__).resolve().parents[4] / "shared" / "machines")
_TRUTH_FILE = _MACHINES / "truth.json"
_TRUTH: dict[str, dict[str, Any]] = json.loads(_TRUTH_FILE.read_text()) if _TRUTH_FILE.exists() else {}


@pytest.mark.skipif(not _TRUTH, reason=f"no recorded machines at {_MACHINES} (set HAL_MACHINES)")
@pytest.mark.parametrize("name", sorted(name for name in _TRUTH if _TRUTH[name]["ethernet_nics"]))
def test_every_nic_of_a_recorded_server_is_a_lan(name: str) -> None:
    nics = hardware.read(str(_MACHINES / f"{name}.tar.bz2"))
    network = lans.plan(nics, lans.product_nics(nics), NetcfgConfig())
    assert {lan.port: lan.mac for lan in network.lans} == _TRUTH[name]["ethernet_nics"]
    assert [lan.number for lan in network.lans] == list(range(len(network.lans)))
    assert network.problems == ()
