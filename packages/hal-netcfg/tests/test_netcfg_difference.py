"""From any interfaces to those that ought to be, on a FAKE kernel: in one pass, whole groups, and without a word."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_kernel import FakeKernel
from hal_core.errors import HostError
from hal_core.machine import Nic, Passthrough
from hal_core.testing import synthetic
from hal_netcfg.config import BONDS, LanConfig, NetcfgConfig
from hal_netcfg.links import apply, difference, wanted
from hal_netcfg.links.action import Action, Address, Change, Delete
from hal_netcfg.links.apply import Outcome, Performer
from hal_netcfg.links.link import Group, Link
from hal_netcfg.plan import lans
from hal_netcfg.plan.network import Network, ProductNic
from interfaces import CHANGED, JOINED, KEPT, LANS, MADE, NICS, OURS, hardware


def nic(name: str) -> Nic:
    return synthetic.nic(0, name=name, mac=NICS[name], passthrough=Passthrough(7, (), False, 1, 8, 0))


# --- any past, and any wish: drawn beforehand, simple ones first, so that an example costs little and shrinks well ----

_DICE = random.Random(72)


def _some(kinds: Sequence[Sequence[Action]], most: int) -> tuple[Action, ...]:
    return tuple(_DICE.choice(_DICE.choice(kinds)) for _ in range(_DICE.randint(0, most)))


PASTS = st.sampled_from(sorted((_some((MADE, MADE, JOINED, CHANGED), 10) for _ in range(500)), key=len))

_LANS = [
    LanConfig(),
    LanConfig(mtu=9000),
    LanConfig(mode="macvtap"),
    *(LanConfig(nics=(name,), mode=mode) for name in NICS for mode in ("bridge", "macvtap")),
    *(LanConfig(nics=tuple(NICS)[:count], bond=bond) for count in (2, 3) for bond in BONDS),
    LanConfig(nics=("eno2", "eno3"), bond="802.3ad", lacp_rate="fast", mtu=1500),
    LanConfig(nics=("eno3", "eno1"), miimon=0),
    LanConfig(nics=("eno2", "eno1"), bond="balance-xor", arp_interval=200, arp_targets=("192.0.2.1",)),
]


def _config() -> NetcfgConfig:
    configured = {number: _DICE.choice(_LANS) for number in _DICE.sample(LANS, _DICE.randint(0, 2))}
    return NetcfgConfig(_DICE.choice((0, 0, 4000)), _DICE.random() < 0.3, lan=configured)


_PRODUCTS: list[Optional[tuple[ProductNic, ...]]] = [
    None,
    *(
        tuple(map(ProductNic, LANS, macs))
        for count in range(3)
        for macs in itertools.permutations(NICS.values(), count)
    ),
    *3 * [tuple(map(ProductNic, LANS, macs)) for macs in itertools.permutations(NICS.values())],
]


def _network() -> Network:
    """Of all NICs or all but one."""
    present = sorted(_DICE.sample(list(NICS), _DICE.choice((2, 3, 3))))
    return lans.plan([nic(name) for name in present], _DICE.choice(_PRODUCTS), _config())


NETWORKS = st.sampled_from(sorted((_network() for _ in range(600)), key=lambda network: len(str(network))))


@dataclass
class Host:
    """A host with whatever interfaces, and what they ought to be."""

    kernel: FakeKernel
    network: Network

    def groups(self) -> tuple[Group, ...]:
        return wanted.groups(self.network, self.kernel.links())

    def apply(self, performer: Optional[Performer] = None) -> tuple[Outcome, ...]:
        links = self.kernel.links()
        return apply.apply(wanted.groups(self.network, links), links, performer or self.kernel)

    def copy(self) -> Host:
        return Host(self.kernel.copy(), self.network)

    def steps(self) -> list[Action]:
        """What it takes."""
        trial = self.copy()
        trial.apply()
        return trial.kernel.log

    @property
    def nics(self) -> set[str]:
        return {port.name for lan in self.network.lans for port in lan.ports}


def put(kernel: FakeKernel, actions: Sequence[Action]) -> None:
    """Whatever of it the kernel takes."""
    for action in actions:
        try:
            kernel.perform(action)
        except HostError:
            continue


@st.composite
def hosts(draw: st.DrawFn, attached: bool = False) -> Host:
    """Any interfaces at all: an earlier network of HAL's, what has happened to it since, and what people have made."""
    kernel = FakeKernel(map(hardware, (*NICS, KEPT)), flags_first=draw(st.booleans()))
    put(kernel, draw(PASTS))
    if draw(st.booleans()):
        Host(kernel, draw(NETWORKS)).apply()
        put(kernel, draw(PASTS))
    if attached:
        kernel.attached |= draw(st.sampled_from([{"haltap0"}, {"haltapint"}, {"haltap0", "haltap1"}]))
    gone = draw(st.sampled_from((None, *NICS)))
    if gone:
        kernel.unplug(gone)
    return Host(kernel.copy(), draw(NETWORKS))


# --- what is looked for -----------------------------------------------------------------------------------------------


def wrong(group: Group, links: Mapping[str, Link]) -> list[str]:
    """What of a group is not as it ought to be; by other means than the code's."""
    found = [f"{name} is there" for name in group.unwanted if name in links]
    for one in group.wanted:
        link = links.get(one.name)
        if link is None:
            if one.kind and (not one.lower or one.lower in links):
                found.append(f"{one.name} is missing")
            continue
        for attribute in ("mac", "mtu", "master", "up", "noarp", "allmulti", "queued", "learning", "ipv6", "addresses"):
            value, ought = getattr(link, attribute), getattr(one, attribute)
            if ought is not None and value != ought:
                found.append(f"{one.name}: {attribute} {value}, not {ought}")
        if one.kind and (link.kind, link.lower) != (one.kind, one.lower):
            found.append(f"{one.name} is a {link.kind} on {link.lower!r}")
        if one.kind and {**link.settings, **one.settings} != link.settings:
            found.append(f"{one.name} has {link.settings}, not {one.settings}")
        if one.kind in ("bridge", "bond"):
            ports = {link.name for link in links.values() if link.master == one.name}
            found += [f"{name} is in {one.name}" for name in ports - {port.name for port in group.wanted}]
    return found


def everything_wrong(host: Host) -> list[str]:
    links = host.kernel.links()
    return [f"{group.name}: {what}" for group in wanted.groups(host.network, links) for what in wrong(group, links)]


def to_be_done(host: Host) -> list[str]:
    links = host.kernel.links()
    return [f"{group.name}: {step.action}" for group in host.groups() for step in difference.steps(group, links)[0]]


def comparable(links: Mapping[str, Link]) -> dict[str, Link]:
    """Without what never comes back: numbers, IPv6's addresses, which go with IPv6, and what is a bond's business."""
    found = {}
    for name, link in links.items():
        mine = replace(link, index=0, addresses=tuple(address for address in link.addresses if ":" not in address))
        bonded = link.master in links and links[link.master].kind == "bond"
        found[name] = replace(mine, mac="", mtu=0) if bonded else mine
    return found


def around(names: set[str], *states: Mapping[str, Link]) -> set[str]:
    """These, and the interfaces that follow them by themselves: a bond's ports, a bridge, the NIC below a macvtap."""
    links = [link for state in states for link in state.values()]
    tied = [{link.name, link.master, link.lower} - {""} for link in links]
    return names.union(*(group for group in tied if group & names))


class Failing:
    """Refuses one action, the first of them being number 0; half of it may be done by then."""

    def __init__(self, kernel: FakeKernel, number: int, half: bool, error: Exception) -> None:
        self._kernel = kernel
        self._left = number
        self._half = half
        self._error = error

    def perform(self, action: Action) -> None:
        self._left -= 1
        if self._left != -1:
            self._kernel.perform(action)
            return
        if self._half:
            self._kernel.perform_half(action)
        raise self._error


class Killed(Exception):
    """The process is: nothing is taken back."""


def check_one_pass(host: Host) -> None:
    """Once is enough: it is what it ought to be, and there is nothing left to be done."""
    ought = host.groups()
    assert [outcome for outcome in host.apply() if outcome.problem] == []
    assert [what for group in ought for what in wrong(group, host.kernel.links())] == []
    assert everything_wrong(host) == []
    assert to_be_done(host) == []
    assert [link.name for link in host.kernel.went_up if link.ipv6] == [], "it would speak"


def check_failure(host: Host, number: int, half: bool) -> None:
    """A group that fails is as it was, and the others are done."""
    before, groups = host.kernel.links(), {group.name: group for group in host.groups()}
    outcomes = host.apply(Failing(host.kernel, number, half, HostError("no")))
    after = host.kernel.links()
    failed = [outcome for outcome in outcomes if outcome.problem]
    assert [(outcome.problem, outcome.done, outcome.postponed) for outcome in failed] == [("no", (), False)]
    others = {action.name for outcome in outcomes for action in outcome.done}
    touched = around(others, before, after)
    assert {name: link for name, link in comparable(after).items() if name not in touched} == {
        name: link for name, link in comparable(before).items() if name not in touched
    }
    done = [groups[outcome.group] for outcome in outcomes if not outcome.problem]
    assert [what for group in done for what in wrong(group, after)] == []
    was = {name for name, link in before.items() if link.up and link.ipv6}
    assert {link.name for link in host.kernel.went_up if link.ipv6} <= was
    host.apply()
    assert everything_wrong(host) == []


def check_interruption(host: Host, number: int, half: bool) -> None:
    """Broken off there, the next one gets there."""
    with pytest.raises(Killed):
        host.apply(Failing(host.kernel, number, half, Killed()))
    check_one_pass(host)


# --- what people do -------------------------------------------------------------------------------------------------

ALL_THREE = tuple(map(ProductNic, LANS, NICS.values()))


def planned(
    lan: Mapping[int, LanConfig],
    product: Sequence[ProductNic] = ALL_THREE,
    here: Sequence[str] = tuple(NICS),
    **options: Any,
) -> Network:
    return lans.plan([nic(name) for name in here], product, NetcfgConfig(lan=lan, **options))


BOND, LACP = LanConfig(nics=("eno1", "eno2")), LanConfig(nics=("eno2", "eno1"), bond="802.3ad", mtu=9000)
MACVTAP = LanConfig(mode="macvtap")
DEFAULT = planned({})

# What was before, one after the other; what happens then; and what ought to be now.
STORIES: dict[str, tuple[Sequence[Network], Sequence[Action], Network]] = {
    "the first time": ([], [Change("eno1", up=True), Address("eno1", "10.0.0.5/24", True)], DEFAULT),
    "into a bond": ([DEFAULT], [], planned({0: BOND})),
    "another bond": ([planned({0: BOND})], [Change("eno2", up=False)], planned({0: LACP}, down_with_product=True)),
    "the other NIC of a bond": ([planned({0: BOND})], [Change("eno1", master="")], planned({0: BOND}, here=["eno1"])),
    "out of a bond": ([planned({2: LACP})], [], DEFAULT),
    "NICs for the host": ([DEFAULT, planned({0: BOND})], [], planned({}, ())),
    "a macvtap": ([DEFAULT], [Address("haltap0", "10.0.0.6/24", True)], planned({0: MACVTAP})),
    "two macvtaps swapped": (
        [planned({0: MACVTAP, 1: MACVTAP})],
        [],
        planned({0: LanConfig(("eno2",), "macvtap"), 1: LanConfig(("eno1",), "macvtap")}),
    ),
    "no macvtap": (
        [planned({0: MACVTAP, 2: MACVTAP})],
        [Address("haltap2", "10.0.0.5/24", True)],
        DEFAULT,
    ),
    "a NIC as it is": ([DEFAULT], [], planned({0: LanConfig(mode="vfio")})),
    "a NIC of a bond as it is": ([planned({0: BOND})], [], planned({1: LanConfig(mode="vfio")})),
    "a virtual function": ([planned({2: MACVTAP})], [], planned({2: LanConfig(mode="sriov", mtu=1500)})),
    "no virtual function": ([planned({1: LanConfig(mode="sriov")})], [], DEFAULT),
    "settings": ([DEFAULT], [Change("hallan1", kind="bridge", settings={"stp_state": 1, "forward_delay": 9})], DEFAULT),
    "NICs in each other's places": ([DEFAULT], [], planned({0: LanConfig(("eno2",)), 1: LanConfig(("eno1",))})),
}


def told(story: str, attached: Sequence[str] = ()) -> Host:
    before, then, after = STORIES[story]
    kernel = FakeKernel(map(hardware, (*NICS, KEPT)))
    for network in before:
        check_one_pass(Host(kernel, network))
    for action in then:
        kernel.perform(action)
    kernel.attached |= {*attached}
    return Host(kernel.copy(), after)


@pytest.mark.parametrize("story", STORIES)
def test_a_story_may_fail_or_be_broken_off_at_each_of_its_steps(story: str) -> None:
    host = told(story)
    check_one_pass(host.copy())
    steps = host.steps()
    assert steps
    for number, action in enumerate(steps):
        parts = isinstance(action, Change) and bool(action.mac or action.mtu or action.settings)
        for half in {False, parts}:
            check_failure(host.copy(), number, half)
            check_interruption(host.copy(), number, half)


def test_the_steps_of_a_lan_in_words() -> None:
    host = told("the first time")
    assert {outcome.group: [str(action) for action in outcome.done] for outcome in host.apply()}["LAN 0"] == [
        "make hallan0 (bridge)",
        "hallan0: IPv6 off",
        "hallan0: address 02:1b:21:00:00:01, up, no ARP",
        "eno1: IPv6 off",
        "eno1: has no address 10.0.0.5/24",
        "eno1: address 02:1b:21:00:00:01, into hallan0, no ARP, no learning",
        "make haltap0 (tun)",
        "haltap0: IPv6 off",
        "haltap0: into hallan0, up, no ARP, no queue, no learning",
    ]


def test_what_goes_back_to_the_host_wears_its_own_address_and_is_down() -> None:
    """Two NICs of a bond, and one of a bridge."""
    host = told("NICs for the host")
    host.apply()
    links = host.kernel.links()
    for name, mac in NICS.items():
        link = links[name]
        assert (link.mac, link.master, link.up, link.noarp) == (mac, "", False, False)


def test_a_tap_that_is_left_over_stays_while_a_product_has_it() -> None:
    host = told("NICs for the host", ["haltap2"])
    assert [outcome for outcome in host.apply() if outcome.problem] == []
    assert [name for name in host.kernel.links() if wanted.lan_number(name) >= 0] == ["haltap2"]
    host.kernel.attached.clear()
    check_one_pass(host)
    assert host.kernel.links().keys() == {*NICS, KEPT, "halint", "haltapint"}


@pytest.mark.parametrize(("story", "number", "open_tap"), [("a macvtap", 0, "haltap0"), ("no macvtap", 2, "haltap1")])
def test_a_running_products_tap_is_not_made_anew(story: str, number: int, open_tap: str) -> None:
    """Of a macvtap nothing tells whether it has it; so it goes by the others."""
    host = told(story, [open_tap])
    outcomes = {outcome.group: outcome for outcome in host.apply()}
    assert outcomes[f"LAN {number}"] == Outcome(
        f"LAN {number}", problem=f"haltap{number} is the running product's: at its next start", postponed=True
    )
    assert not outcomes["LAN 1"].problem
    host.kernel.attached.clear()
    check_one_pass(host)


# --- and everything else --------------------------------------------------------------------------------------------

MANY = settings(deadline=None, max_examples=40, derandomize=True)


@MANY
@given(hosts())
def test_after_one_pass_everything_is_as_it_ought_to_be(host: Host) -> None:
    check_one_pass(host)


@MANY
@given(hosts(), st.integers(0, 99), st.booleans())
def test_a_group_that_fails_is_as_it_was_and_the_others_are_done(host: Host, number: int, half: bool) -> None:
    steps = len(host.steps())
    if steps:
        check_failure(host, number % steps, half)


@MANY
@given(hosts(), st.integers(0, 99), st.booleans())
def test_broken_off_anywhere_the_next_one_gets_there(host: Host, number: int, half: bool) -> None:
    steps = len(host.steps())
    if steps:
        check_interruption(host, number % steps, half)


@MANY
@given(hosts(attached=True))
def test_only_what_is_hals_or_the_products_is_touched(host: Host) -> None:
    before = host.kernel.links()
    host.apply()
    inside = {name for name, link in before.items() if link.master in OURS}
    touched = {action.name for action in host.kernel.log}
    assert touched <= {*OURS, *host.nics} | inside
    for name in touched - {*OURS, *host.nics}:
        after = host.kernel.links()[name]
        assert (after.master, after.up) == ("", False), f"{name} is taken out, and no more"
    for number in host.network.untouched:
        theirs = {f"hallan{number}", f"haltap{number}", f"halbond{number}"} & touched - inside
        assert {before[name].lower for name in theirs} <= host.nics, "but a macvtap on another LAN's NIC"
    if not host.network.planned:
        assert touched <= {"halint", "haltapint"} | inside


@MANY
@given(hosts(attached=True))
def test_what_a_running_product_has_waits_for_its_end(host: Host) -> None:
    before = host.kernel.links()
    running = difference.is_product_running(before)
    outcomes = host.apply()
    removed = {action.name for action in host.kernel.log if isinstance(action, Delete)}
    for name in removed:
        assert not (before[name].kind == "tun" and before[name].carrier)
        assert not (before[name].kind == "macvtap" and running)
    groups = {group.name: group for group in wanted.groups(host.network, before)}
    for outcome in outcomes:
        assert outcome.postponed == bool(outcome.problem)
        if outcome.postponed:
            assert outcome.problem.endswith("is the running product's: at its next start")
            assert running
        else:
            assert wrong(groups[outcome.group], host.kernel.links()) == []
    host.kernel.attached.clear()
    assert [outcome for outcome in host.apply() if outcome.problem] == []
    assert everything_wrong(host) == []
