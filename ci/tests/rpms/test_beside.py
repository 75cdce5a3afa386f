"""HAL's network on a host that has NetworkManager and firewalld, too: the real ones, started before HAL and after."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory import chroot, distribution
from factory.chroot import Chroot
from factory.distribution import Distribution
from hal_core.testing.systemdhost import systemd_host, why_not
from hal_netcfg.testing.netns import Namespace
from hostroot import HostRoot
from lanhost import AS_DECLARED, DECLARED, NICS, LanHost, Product

WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

HAL, MANAGER, FIREWALLD = "hal-netcfg.service", "NetworkManager.service", "firewalld.service"
# hal-netcfg as it is installed, in its sandbox, with hardware that is FAKE.
FAKE_HARDWARE = """\
[Service]
ExecStart=
ExecStart=/usr/bin/python3 -m hal_netcfg.testing.runner '{nics}' run
"""
BRIDGED = {"eno1": "hallan0", "haltap0": "hallan0", "eno2": "hallan1", "haltap1": "hallan1", "haltapint": "halint"}
# What looks like a NIC NetworkManager takes: only by their names can it know these for HAL's.
NAMED_AS_HALS = ("halbond0", "halint", "hallan0", "haltap0", "haltapint")


@pytest.fixture(scope="module")
def root(installed: HostRoot, system: Distribution, scratch: Path, repository: Path) -> Iterator[Path]:
    """The root of a host with all three."""
    with chroot.clone(installed.path, scratch / "beside") as clone:
        HostRoot(Chroot(clone, system, scratch / "beside.log", [repository])).dnf(
            "install", "NetworkManager", "firewalld", "hal-netcfg-testing"
        )
        yield clone


@pytest.fixture
def server(root: Path, repository: Path, tmp_path: Path) -> Iterator[LanHost]:
    """It has booted, and has started none of them; eno1 and eno2 are to be the product's, and eno5 stays its own."""
    with systemd_host(tmp_path, root) as host, Namespace() as lan:
        nics = json.dumps(NICS).replace('"', '\\"')
        host.write(f"/etc/systemd/system/{HAL}.d/fake-hardware.conf", FAKE_HARDWARE.format(nics=nics))
        host.write("/etc/hal/ports.d/test.toml", DECLARED)
        (rpm,) = repository.glob("hal-netcfg-[0-9]*.rpm")
        host.install(rpm, "/root/hal-netcfg.rpm")
        host.boot()
        host.run("systemctl", "mask", "--runtime", "hal-qemu-plan.service")  # the plan is the test's
        host.run("systemd-tmpfiles", "--create")
        with contextlib.closing(LanHost(host, lan)) as one:
            one.plug_in("eno1", "eno2", "eno5")
            one.plan("eno1", "eno2", kept=["eno5"])
            yield one


# --- NetworkManager ---------------------------------------------------------------------------------------------------


def check_apart(server: LanHost) -> None:
    """NetworkManager has what the host keeps, and all else is HAL's.

    :raise AssertionError: that is not so.
    """
    assert server.managed() == {*server.kept}
    assert server.states().keys() >= {*BRIDGED, "hallan0", "hallan1", "halint"}, "it knows them all, and lets them be"
    assert server.with_raw_socket() <= {*server.kept}
    assert server.masters() == BRIDGED
    assert {name: own for name, own in server.addresses().items() if name not in server.kept} == {
        "halint": ["169.254.72.1"]
    }


def test_networkmanager_has_what_the_host_keeps_and_nothing_else(server: LanHost) -> None:
    server.start(HAL)
    for verbs in (["start"], ["stop", "start"]):
        for verb in verbs:
            server.sent("eno5")  # by the one before
            server.host.run("systemctl", verb, MANAGER)
        server.wait_for_dhcp("eno5")  # so it has looked at all of them
        check_apart(server)
        assert [server.sent(name) for name in ("eno1", "eno2")] == [[], []]
    assert "(lib: 90-hal.conf) (run: 90-hal-nics.conf)" in server.host.log(MANAGER)
    server.check_cable(0, "eno1")


def test_networkmanager_knows_hals_interfaces_by_their_names(server: LanHost) -> None:
    server.plug_in(*NAMED_AS_HALS)
    server.start(MANAGER)
    for name in ("eno1", "eno2", "eno5"):
        server.wait_for_dhcp(name)
    assert {name for name, state in server.states().items() if state == "unmanaged"} == {*NAMED_AS_HALS}
    assert [server.sent(name) for name in NAMED_AS_HALS] == [[]] * len(NAMED_AS_HALS)


def test_a_networkmanager_that_has_the_nics_lets_go_of_them(server: LanHost) -> None:
    """HAL is installed, and started without booting the host anew."""
    server.start(MANAGER)
    for name in ("eno1", "eno2", "eno5"):
        server.wait_for_dhcp(name)
    server.start(HAL)
    server.host.wait(lambda: server.managed() == {"eno5"}, "NetworkManager keeps the host's NIC only")
    server.host.wait(lambda: server.masters() == BRIDGED, "the NICs are in their bridges")
    check_apart(server)
    for name in ("eno1", "eno2"):
        server.sent(name)  # from before
    server.check_cable(0, "eno1")
    server.check_cable(1, "eno2")


def test_nics_that_come_later_are_nobodys_until_they_are_planned(server: LanHost) -> None:
    server.start(HAL, MANAGER)
    server.wait_for_dhcp("eno5")
    told = "/run/NetworkManager/conf.d/90-hal-nics.conf"
    server.plug_in("eno3", "eno4")  # the two ports of one card

    def is_told(*names: str) -> bool:
        text = server.host.run("cat", told)
        return all(name in text for name in names) and server.managed() == {*server.kept}

    server.host.wait(lambda: is_told("eno3", "eno4"), "NetworkManager leaves them alone")
    server.plan("eno1", "eno2", kept=["eno5", "eno4"])
    server.host.wait(lambda: is_told("eno3"), "NetworkManager has the one that the host keeps")
    server.wait_for_dhcp("eno4")
    server.plan("eno1", "eno2", "eno3", kept=["eno5", "eno4"])
    server.host.wait(lambda: server.masters().get("eno3") == "hallan2", "the other is the product's")
    assert is_told("eno3")


# --- firewalld --------------------------------------------------------------------------------------------------------


def zone(server: LanHost) -> str:
    """Where firewalld has put the private link."""
    return server.host.run("firewall-cmd", "--get-zone-of-interface=halint").strip()


def check_firewall(server: LanHost, product: Product) -> None:
    """:raise AssertionError: the product is treated otherwise than by HAL's tables alone."""
    assert product.verdicts() == AS_DECLARED
    server.check_cable(0, "eno1")
    assert server.loadings() == 1


def test_firewalld_changes_nothing_for_the_product(server: LanHost) -> None:
    server.start(HAL)
    with server.product() as product:
        check_firewall(server, product)
        tables = server.tables()
        for command in (
            ("systemctl", "start", FIREWALLD),
            ("firewall-cmd", "--reload"),
            ("firewall-cmd", "--complete-reload"),
            ("systemctl", "restart", FIREWALLD),
            ("systemctl", "stop", FIREWALLD),
        ):
            server.host.run(*command)
            if "stop" not in command:
                assert zone(server) == "hal"
            assert ("firewalld" in server.namespace.run("nft", "list", "tables")) == ("stop" not in command)
            check_firewall(server, product)
            assert server.tables() == tables, command


def test_only_in_its_zone_firewalld_lets_hals_tables_decide(server: LanHost) -> None:
    """What the zone is for; and that the other tests would see it."""
    server.start(FIREWALLD, HAL)
    with server.product() as product:
        check_firewall(server, product)
        server.host.run("firewall-cmd", "--zone=public", "--change-interface=halint")
        assert product.verdict("tcp 6514") == "prohibited"
        server.host.run("firewall-cmd", "--reload")
        check_firewall(server, product)


def test_a_firewalld_that_runs_knows_the_zone_when_hal_is_installed(server: LanHost) -> None:
    rpm = ("rpm", "--force-debian") if distribution.is_debian() else ("rpm",)
    server.host.run(*rpm, "--erase", "--nodeps", "hal-netcfg")
    server.start(FIREWALLD)
    assert "hal" not in server.host.run("firewall-cmd", "--get-zones").split()
    server.host.run(*rpm, "--install", "/root/hal-netcfg.rpm")
    server.start(HAL)
    with server.product() as product:
        assert zone(server) == "hal"
        check_firewall(server, product)
