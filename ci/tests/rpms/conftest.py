"""What the tests of the RPMs share: the repository as it was just built, and roots that it is installed into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from factory import chroot, command, distribution, namespaces, target
from factory import repository as repositories
from factory.chroot import Chroot
from factory.distribution import Distribution
from factory.factory import Factory
from factory.target import Target
from hostroot import MINIMAL, ROOT, WORK, HostRoot

DEFAULT_TARGET = distribution.host_target() or "el9"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--target", default=DEFAULT_TARGET, help="the system that the RPMs are tested on: el9, fc44, …")


@pytest.fixture(scope="session")
def os_target(request: pytest.FixtureRequest) -> Target:
    """The system that the RPMs are built for and installed on."""
    return target.parse(request.config.getoption("--target"))


@pytest.fixture(scope="session")
def repository(os_target: Target, request: pytest.FixtureRequest) -> Path:
    """What ci/rpms makes of this checkout.

    The stand-in OS plays all targets with the same Python and the same libraries. So the packages' own tests run once,
    in building them for the default one; all else that building does is done for each.
    """
    namespaces.enter_private_mounts()
    if distribution.is_debian() and os_target.name != DEFAULT_TARGET:
        place: Path = request.getfixturevalue("scratch") / "dist"
        factory = Factory(ROOT, WORK, os_target, print, tests=False)
        built = factory.build(list(factory.specs))
        repositories.publish([rpm for one in built for rpm in one.rpms], ROOT / "specs/comps.xml", place)
        return place.resolve()
    assert command.main(ROOT, ["--target", os_target.name]) == 0
    return (ROOT / "dist" / os_target.name).resolve()


@pytest.fixture(scope="session")
def system(os_target: Target) -> Distribution:
    """Where the rest of the operating system comes from."""
    return distribution.find(os_target, WORK, print)


@pytest.fixture(scope="session")
def scratch(os_target: Target) -> Iterator[Path]:
    """For whole roots: not in a tmpfs, which a small machine's /tmp is."""
    directory = WORK / "tests" / os_target.name
    chroot.remove(directory)
    directory.mkdir(parents=True)
    yield directory
    chroot.remove(directory)


@pytest.fixture(scope="session")
def bare(system: Distribution, scratch: Path, repository: Path) -> Path:
    """The root of a minimal system without HAL. Read-only: clone it."""
    chroot.make_base(scratch / "bare", system, MINIMAL, scratch / "bare.log")
    return scratch / "bare"


@pytest.fixture(scope="session")
def installed(system: Distribution, scratch: Path, repository: Path) -> HostRoot:
    """The same with hal-host, as just built. Read-only: clone it."""
    log = scratch / "installed.log"
    chroot.make_base(scratch / "installed", system, [*MINIMAL, "hal-host"], log, [repository])
    return HostRoot(Chroot(scratch / "installed", system, log, [repository]))


@pytest.fixture
def installed_clone(installed: HostRoot, system: Distribution, scratch: Path, repository: Path) -> Iterator[HostRoot]:
    """A host with hal-host that a test may change."""
    with chroot.clone(installed.path, scratch / "clone") as root:
        yield HostRoot(Chroot(root, system, scratch / "clone.log", [repository]))


@pytest.fixture
def bare_clone(bare: Path, system: Distribution, scratch: Path, repository: Path) -> Iterator[HostRoot]:
    """A minimal system that a test may change."""
    with chroot.clone(bare, scratch / "clone") as root:
        yield HostRoot(Chroot(root, system, scratch / "clone.log", [repository]))
