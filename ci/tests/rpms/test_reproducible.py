"""Two builds of the same commit give the same packages, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory import store
from factory.factory import Factory
from factory.target import Target
from hostroot import ROOT, WORK


@pytest.mark.parametrize("package", sorted(path.stem for path in (ROOT / "specs").glob("*.spec")))
def test_the_same_twice(package: str, os_target: Target, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At another time, with nothing kept of the first: the whole file, its headers included, not only the payload."""
    first = {path.name: path.read_bytes() for path in repository.rglob("*.rpm")}
    factory = Factory(ROOT, WORK, os_target, print)
    kept = store.Store(WORK / "built" / os_target.name)
    monkeypatch.setattr(kept, "has", lambda name, key: name != package and store.Store.has(kept, name, key))
    monkeypatch.setattr(factory, "_store", kept)
    built = next(one for one in factory.build([package]) if one.spec.name == package)
    assert built.seconds is not None, "it has really been built again"
    assert built.rpms
    for rpm in built.rpms:
        assert rpm.read_bytes() == first[rpm.name], f"{rpm.name} differs from the first build"
