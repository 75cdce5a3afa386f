"""What the real kernel does to interfaces: what the FAKE one does, which all other tests go by; and what it refuses."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from fake_kernel import FakeKernel
from hal_core.errors import HostError
from hal_netcfg.links.action import Action, Change, Create, Delete
from hal_netcfg.links.kernel import Kernel
from hal_netcfg.links.link import Link
from hal_netcfg.links.netlink import NetlinkError
from hal_netcfg.testing import netns
from hal_netcfg.testing.netns import Namespace
from interfaces import ANY, CHANGED, JOINED, KEPT, MADE, NICS, hardware

pytestmark = [
    pytest.mark.component,
    pytest.mark.skipif(bool(netns.why_not()), reason=netns.why_not() or "namespaces can be made"),
]

HARDWARE = {name: replace(hardware(name), max_mtu=0) for name in (*NICS, KEPT)}


@pytest.fixture(name="kernel")
def new_kernel() -> Iterator[Kernel]:
    """One whose NICs are veth pairs, with IPv6 on, as a server has it; the calling thread is where it is."""
    with Namespace() as host, Namespace() as lan:
        for which in ("all", "default"):
            host.sysctl(f"ipv6/conf/{which}/disable_ipv6", "0")
        host.sysctl("ipv4/conf/all/promote_secondaries", "0")
        for name, nic in HARDWARE.items():
            host.ip(f"link add {name} address {nic.mac} type veth peer name {name} netns {lan.path}")
            lan.ip(f"link set {name} up")
        with host.inside():
            kernel = Kernel(lambda: {name: nic.mac for name, nic in HARDWARE.items()})
            try:
                yield kernel
            finally:
                kernel.close()


def refused(performer: Kernel | FakeKernel, action: Action) -> bool:
    try:
        performer.perform(action)
    except HostError:
        return True
    return False


def is_known(kernel: Kernel, kind: str) -> bool:
    if refused(kernel, Create("probe", kind)):
        return False
    kernel.perform(Delete("probe"))
    return True


def seen(links: dict[str, Link]) -> dict[str, Link]:
    """Without what is random, or comes after a while, or that a test cannot know."""
    found = {}
    for name in ANY:
        link = links.get(name)
        if link is None:
            continue
        mac = link.mac if not link.kind or link.settings.get("mode") == "passthru" else ""
        addresses = tuple(address for address in link.addresses if not address.startswith("fe80:"))
        found[name] = replace(link, index=0, max_mtu=0, carrier=False, mac=mac, addresses=addresses)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_the_fake_kernel_does_what_the_real_one_does(kernel: Kernel, seed: int) -> None:
    dice = random.Random(seed)
    fake = FakeKernel(HARDWARE.values())
    unknown = {kind for kind in ("bond", "dummy") if not is_known(kernel, kind)}
    history = []
    for _ in range(40):
        action = dice.choice(dice.choice((MADE, JOINED, CHANGED)))
        if isinstance(action, Change) and action.master:
            action = replace(action, up=None)  # of a request that fails, not all kernels do the same half
        if isinstance(action, Create) and action.kind in unknown:
            continue
        if isinstance(action, Delete) and action.name in HARDWARE:
            continue  # a veth can be removed
        history.append(str(action))
        no = refused(fake, action)
        assert refused(kernel, action) == no, history
        assert seen(kernel.links()) == seen(fake.links()), "; ".join(history)


def test_a_driver_without_virtual_functions_refuses_their_address(kernel: Kernel) -> None:
    """It has understood the request: one that it does not, it ignores. That is as far as there is no hardware."""
    with pytest.raises(HostError, match="eno1: mac of its virtual function cannot be set: its driver or this kernel"):
        kernel._prepare_function("eno1", "00:1b:21:00:00:01")


def test_a_driver_that_knows_only_the_address_is_good_enough(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    def link(_: str, index: int, vf: dict[str, object]) -> None:
        asked.append(vf)
        if "mac" not in vf:
            raise NetlinkError(errno.EOPNOTSUPP)

    monkeypatch.setattr(kernel._route, "link", link)
    kernel._prepare_function("eno1", "00:1b:21:00:00:01")
    assert asked == [{"vf": 0, "mac": "00:1b:21:00:00:01"}, {"vf": 0, "trust": 1}, {"vf": 0, "spoofchk": 0}]
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_a_nic_that_somebody_else_has_stays_up(kernel: Kernel) -> None:
    """What looks like a driver that changes its address only while it is down is not one."""
    kernel.perform(Change("eno2", up=True))
    kernel.perform(Create("mine", "macvtap", "eno2", {"mode": "passthru"}))
    kernel.perform(Create("hallan1", "bridge"))
    with pytest.raises(HostError, match=r"eno2: .*: another program or bridge has it"):
        kernel.perform(Change("eno2", mac="02:1b:21:00:00:02", master="hallan1"))
    assert kernel.links()["eno2"].up
