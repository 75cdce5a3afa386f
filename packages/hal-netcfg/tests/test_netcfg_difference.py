"""From any interfaces to those that ought to be, on a FAKE kernel: in one pass, whole groups, and without a word."""

from __future__ import annotations

import contextlib
import copy
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from hypothesis import given, settings
from hypothesis import strategies as st

from fake_kernel import FakeKernel
from hal_core.errors import HostError
from hal_core.machine import Nic
from hal_core.testing import synthetic
from hal_netcfg.config import BONDS, LanConfig, NetcfgConfig
from hal_netcfg.links import apply, difference, wanted
from hal_netcfg.links.action import Action, Delete
from hal_netcfg.links.apply import Outcome, Performer
from hal_netcfg.links.link import Group, Link
from hal_netcfg.plan import lans
from hal_netcfg.plan.network import Network, ProductNic
from interfaces import CHANGED, JOINED, KEPT, LANS, MADE, NICS, OURS, hardware


def nic(name: str) -> Nic:
    return synthetic.nic(0, name=name, mac=NICS[name])


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
        return wanted.groups(self.network, self.kernel.look())

    def apply(self, performer: Optional[Performer] = None) -> tuple[Outcome, ...]:
        links = self.kernel.look()
        return apply.apply(wanted.groups(self.network, links), links, performer or self.kernel)

    def steps(self) -> int:
        """How many it takes."""
        trial = copy.deepcopy(self)
        trial.apply()
        return len(trial.kernel.log)

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
    kernel.log.clear()
    kernel.went_up.clear()
    return Host(kernel, draw(NETWORKS))


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
        for attribute in ("mac", "mtu", "master", "up", "noarp", "allmulti", "ipv6", "addresses"):
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
    links = host.kernel.look()
    return [f"{group.name}: {what}" for group in wanted.groups(host.network, links) for what in wrong(group, links)]


def to_be_done(host: Host) -> list[str]:
    links = host.kernel.look()
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


MANY = settings(deadline=None, max_examples=60, derandomize=True)


@MANY
@given(hosts())
def test_after_one_pass_everything_is_as_it_ought_to_be(host: Host) -> None:
    ought = host.groups()
    outcomes = host.apply()
    assert [outcome for outcome in outcomes if outcome.problem] == []
    assert [what for group in ought for what in wrong(group, host.kernel.look())] == []
    assert everything_wrong(host) == []
    assert to_be_done(host) == []


@MANY
@given(hosts(), st.integers(0, 99), st.booleans())
def test_a_group_that_fails_is_as_it_was_and_the_others_are_done(host: Host, number: int, half: bool) -> None:
    before, groups = host.kernel.look(), {group.name: group for group in host.groups()}
    number %= host.steps() or 1
    outcomes = host.apply(Failing(host.kernel, number, half, HostError("no")))
    after = host.kernel.look()
    failed = [outcome for outcome in outcomes if outcome.problem]
    if number < len(host.kernel.log) or failed:
        assert [outcome.problem for outcome in failed] == ["no"]
        assert not failed[0].done
        assert not failed[0].postponed
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


@MANY
@given(hosts(), st.integers(0, 99), st.booleans())
def test_broken_off_anywhere_the_next_one_gets_there(host: Host, number: int, half: bool) -> None:
    number %= host.steps() or 1
    with contextlib.suppress(Killed):
        host.apply(Failing(host.kernel, number, half, Killed()))
    assert not [link for link in host.kernel.went_up if link.ipv6]
    assert [outcome for outcome in host.apply() if outcome.problem] == []
    assert everything_wrong(host) == []
    assert to_be_done(host) == []


@MANY
@given(hosts())
def test_nothing_goes_up_with_ipv6_on(host: Host) -> None:
    host.apply()
    assert [link.name for link in host.kernel.went_up if link.ipv6] == []


@MANY
@given(hosts(attached=True))
def test_only_what_is_hals_or_the_products_is_touched(host: Host) -> None:
    before = host.kernel.look()
    host.apply()
    inside = {name for name, link in before.items() if link.master in OURS}
    touched = {action.name for action in host.kernel.log}
    assert touched <= {*OURS, *host.nics} | inside
    for name in touched - {*OURS, *host.nics}:
        after = host.kernel.look()[name]
        assert (after.master, after.up) == ("", False), f"{name} is taken out, and no more"
    for number in host.network.untouched:
        theirs = {f"hallan{number}", f"haltap{number}", f"halbond{number}"} & touched - inside
        assert {before[name].lower for name in theirs} <= host.nics, "but a macvtap on another LAN's NIC"
    if not host.network.planned:
        assert touched <= {"halint", "haltapint"} | inside


@MANY
@given(hosts(attached=True))
def test_what_a_running_product_has_waits_for_its_end(host: Host) -> None:
    before = host.kernel.look()
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
            assert wrong(groups[outcome.group], host.kernel.look()) == []
    host.kernel.attached.clear()
    assert [outcome for outcome in host.apply() if outcome.problem] == []
    assert everything_wrong(host) == []
