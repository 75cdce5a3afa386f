"""Upgrade from the last release, downgrade to it, removal: on a minimal system, and under a running product.

The last release's RPMs are in previous/, as they were built for the stand-in OS.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory import chroot
from factory import repository as repositories
from factory.chroot import Chroot
from factory.distribution import Distribution
from hal_core.testing.systemdhost import SystemdHost, systemd_host, why_not
from hal_vmm.testing import tinyguest
from hostroot import MINIMAL, OURS, HostRoot

PREVIOUS = Path(__file__).with_name("previous")
CHANGED_BY_HAND = "# this server's own\n"
CONFIG = "etc/mdadm.conf.d/hal.conf"
SINCE = ("hal-netcfg", "hal-udev", "hal-console")  # what hal-host requires that the last release did not have
# … and the distribution's, which rpm alone does not fetch.
NEEDED_SINCE = ("nftables", "python3-pyroute2", "python3-pyudev")

on_the_standin = pytest.mark.skipif(
    not Path("/etc/debian_version").exists(), reason="the last release's RPMs are kept for the stand-in OS only"
)
pytestmark = on_the_standin


@pytest.fixture(scope="session")
def previous(scratch: Path) -> Path:
    """A repository with the last release."""
    directory = scratch / "previous"
    directory.mkdir()
    for rpm in PREVIOUS.glob("*.rpm"):
        (directory / rpm.name).write_bytes(rpm.read_bytes())
    repositories.index(directory)
    return directory


def versions(directory: Path) -> dict[str, str]:
    """Those packages of a repository that belong on a host, and their version and release."""
    found = {}
    for rpm in directory.glob("hal-*.rpm"):
        name, version, release = rpm.name.removesuffix(".noarch.rpm").rsplit("-", 2)
        found[name] = f"{version}-{release}"
    return {name: version for name, version in found.items() if not name.endswith("-testing")}


@pytest.fixture(scope="session")
def last_release(system: Distribution, scratch: Path, previous: Path) -> Path:
    """The root of a host with the last release. Read-only: clone it."""
    chroot.make_base(scratch / "last", system, [*MINIMAL, "hal-host"], scratch / "last.log", [previous])
    return scratch / "last"


@pytest.fixture
def old(last_release: Path, system: Distribution, scratch: Path, previous: Path) -> Iterator[HostRoot]:
    """A host with the last release that a test may change."""
    with chroot.clone(last_release, scratch / "clone") as root:
        yield HostRoot(Chroot(root, system, scratch / "clone.log", [previous]))


def test_upgrade(old: HostRoot, repository: Path, previous: Path) -> None:
    assert old.ours() == {name: found for name, found in versions(previous).items() if name in old.ours()}
    (old.path / CONFIG).write_text(CHANGED_BY_HAND)
    old.chroot.use_only(repository)
    old.dnf("upgrade", "hal-*")
    now = versions(repository)
    assert old.ours() == {name: now[name] for name in old.ours()}
    assert old.ours().keys() >= OURS
    assert (old.path / CONFIG).read_text() == CHANGED_BY_HAND, "what somebody has written is kept"
    assert "mdadm" in (old.path / f"{CONFIG}.rpmnew").read_text(), "and the new text is beside it"
    assert old.run("systemctl", "is-enabled", "hal.target").strip() == "enabled"
    assert [line for line in old.changed_files().splitlines() if CONFIG not in line] == []
    modules = old.run("semodule", "-lfull")
    assert re.search(r"^200\s+hal", modules, re.MULTILINE)


def test_an_upgrade_does_not_switch_hal_on_again(old: HostRoot, repository: Path) -> None:
    """Who has switched it off by hand has done so for a reason."""
    old.run("systemctl", "disable", "hal.target")
    old.chroot.use_only(repository)
    old.dnf("upgrade", "hal-*")
    assert not (old.path / "etc/systemd/system/multi-user.target.wants/hal.target").exists()


def test_downgrade(installed_clone: HostRoot, previous: Path) -> None:
    installed_clone.chroot.use_only(previous)
    then = versions(previous)
    # What was not there then goes: it needs the others as they are now.
    installed_clone.dnf("downgrade", "--allowerasing", *sorted(set(then) & set(installed_clone.ours())))
    assert installed_clone.ours() == {name: then[name] for name in installed_clone.ours()}
    assert installed_clone.changed_files() == ""
    assert installed_clone.units_that_do_not_verify() == ""
    assert installed_clone.run("systemctl", "is-enabled", "hal.target").strip() == "enabled"


def test_removal_leaves_nothing_behind(installed_clone: HostRoot, bare: Path) -> None:
    before = installed_clone.files()
    assert any("hal" in Path(path).name for path in before)
    installed_clone.dnf("remove", "--setopt=clean_requirements_on_remove=False", *installed_clone.ours())
    assert installed_clone.ours() == {}
    left = {path for path in installed_clone.files() if re.search(r"(^|/)(\d\d-)?hal([-_.].*)?$", path)}
    assert left == set()
    assert "hal" not in installed_clone.run("semodule", "-lfull")
    assert ":hal_" not in (installed_clone.path / "etc/selinux/targeted/contexts/files/file_contexts").read_text()
    # Users stay: a file of theirs must never belong to whoever gets the number next.
    assert installed_clone.run("getent", "passwd", "hal-qemu")


# --- under a running product: a real systemd, a real QEMU -------------------------------------------------------------

WHY_NOT = why_not()


def running(server: SystemdHost) -> str:
    """Wait until the product runs; the process id of its QEMU."""

    def is_so() -> bool:
        return bool(json.loads(server.run("hal-vmm", "status", "--json", check=False))["state"] == "running")

    server.wait(is_so, "the product runs")
    return server.show("hal-qemu.service", "MainPID")


@pytest.fixture
def server(old: HostRoot, repository: Path, tmp_path: Path) -> Iterator[SystemdHost]:
    """A server with the last release, its product running; the new packages are in /root/new."""
    old.dnf("install", *NEEDED_SINCE)
    nodes = device_nodes()
    with systemd_host(tmp_path, old.path) as host:
        host.write("/etc/hal/hal.toml", tinyguest.HAL_TOML)
        image = host.files / tinyguest.IMAGE.lstrip("/")
        image.parent.mkdir(parents=True)
        tinyguest.write_image(image)
        for package in (*old.ours(), *SINCE):
            for rpm in repository.glob(f"{package}-[0-9]*.rpm"):
                host.install(rpm, f"/root/new/{rpm.name}")
        host.boot()
        host.run("systemd-tmpfiles", "--create")
        host.run("systemctl", "start", "hal.target")
        yield host
    assert device_nodes() == nodes, "a whole operating system ran, and must not have touched this machine's devices"


def device_nodes() -> dict[str, tuple[int, int, int]]:
    """Mode and owner of this machine's devices that every system has."""
    found = {
        name: os.stat(f"/dev/{name}")
        for name in ("null", "zero", "full", "random", "urandom", "tty", "kvm", "net/tun")
        if os.path.exists(f"/dev/{name}")
    }
    return {name: (status.st_mode, status.st_uid, status.st_gid) for name, status in found.items()}


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
class TestUnderTheRunningProduct:
    def test_an_upgrade_restarts_the_manager_and_never_the_product(self, server: SystemdHost) -> None:
        product = running(server)
        manager = server.show("hal-vmm.service", "MainPID")
        started = server.show("hal-qemu.service", "ExecMainStartTimestampMonotonic")
        planned = server.show("hal-qemu-plan.service", "ExecMainStartTimestampMonotonic")
        server.run("sh", "-c", "exec rpm --force-debian -U /root/new/*.rpm")
        server.wait(lambda: server.show("hal-vmm.service", "MainPID") not in (manager, "0"), "the manager is restarted")
        assert running(server) == product
        assert server.show("hal-qemu.service", "ExecMainStartTimestampMonotonic") == started
        assert server.show("hal-qemu-plan.service", "ExecMainStartTimestampMonotonic") == planned
        status = json.loads(server.run("hal-vmm", "status", "--json"))
        assert status["crashes"] == 0

    def test_a_product_that_somebody_has_stopped_stays_stopped(self, server: SystemdHost) -> None:
        running(server)
        server.run("hal-vmm", "stop")
        server.run("sh", "-c", "exec rpm --force-debian -U /root/new/*.rpm")
        server.wait(lambda: server.show("hal-vmm.service", "ActiveState") == "active", "the manager is back")
        assert server.show("hal-qemu.service", "ActiveState") == "inactive"

    def test_removal_ends_the_product_politely(self, server: SystemdHost) -> None:
        running(server)
        server.run("sh", "-c", "exec rpm --force-debian -e hal-host hal-vmm")
        assert server.show("hal-qemu.service", "ActiveState") in ("inactive", "")
        assert "pressing the ACPI power button" in server.log("hal-qemu.service")
        assert server.run("pgrep", "-c", "qemu", check=False).strip() == "0"
