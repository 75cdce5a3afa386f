"""Two builds of the same commit give the same packages, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from factory import chroot
from factory.factory import UNTESTED, Built, Factory
from factory.target import Target
from hostroot import ROOT, WORK


@pytest.fixture(scope="module")
def again(os_target: Target, repository: Path) -> Mapping[str, Built]:
    """All packages, built at another time, with nothing kept of the first, and each with those of the second.

    Without their own tests, which have passed in the first build: so these must leave no trace in a package, either.
    """
    chroot.remove(WORK / UNTESTED / os_target.name)
    factory = Factory(ROOT, WORK, os_target, print, tests=False)
    return {built.spec.name: built for built in factory.build(list(factory.specs))}


@pytest.mark.parametrize("package", sorted(path.stem for path in (ROOT / "specs").glob("*.spec")))
def test_the_same_twice(package: str, repository: Path, again: Mapping[str, Built]) -> None:
    """The whole file, its headers included, not only the payload."""
    first = {path.name: path.read_bytes() for path in repository.rglob("*.rpm")}
    built = again[package]
    assert built.seconds is not None, "it has really been built again"
    assert built.rpms
    for rpm in built.rpms:
        assert rpm.read_bytes() == first[rpm.name], f"{rpm.name} differs from the first build"
