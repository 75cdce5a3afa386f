"""The next release of our packages is a newer one, in rpm's own opinion."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from factory import spec, target
from factory.distribution import Distribution
from lab.errors import LabError
from lab.images import nextrelease

# The distribution's own. Where it is missing, PyPI's package of that name is found, which raises ImportError.
rpm = pytest.importorskip("rpm", exc_type=ImportError)

ROOT = Path(__file__).resolve().parents[2]
EL9 = target.parse("el9")


@pytest.mark.parametrize("path", sorted((ROOT / "specs").glob("hal-*.spec")), ids=lambda path: str(path.stem))
def test_the_next_release_is_newer_and_else_the_same(path: Path, tmp_path: Path) -> None:
    package = spec.read(path, EL9)
    changed = nextrelease._next(package, tmp_path)
    assert changed.path == tmp_path / path.name
    old, new = path.read_text().splitlines(), changed.path.read_text().splitlines()
    ((before, after),) = [pair for pair in zip(old, new) if pair[0] != pair[1]]
    assert len(old) == len(new)
    assert after == before + ".1"

    again = spec.read(changed.path, EL9)
    assert (again.name, again.version) == (package.name, package.version)
    assert again.release == f"{package.release}.1"
    assert rpm.labelCompare(("0", again.version, again.release), ("0", package.version, package.release)) == 1


def test_a_release_that_does_not_end_as_ours_do(tmp_path: Path) -> None:
    package = spec.read(ROOT / "specs/hal-core.spec", EL9)
    text = package.path.read_text()
    for number, changed in enumerate((text.replace("%{?dist}", ""), text.replace("\nRelease:", "\n#Release:"))):
        path = tmp_path / f"hal-core-{number}.spec"
        path.write_text(changed)
        (tmp_path / "work").mkdir(exist_ok=True)
        with pytest.raises(LabError, match=rf"{path}: there is no line Release: NUMBER%{{\?dist}}"):
            nextrelease._next(spec.Spec(**{**vars(package), "path": path}), tmp_path / "work")


def test_what_was_made_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    packages, cache = tmp_path / "packages", tmp_path / "cache"
    system = Distribution(EL9, None, "el9 as of today", tmp_path)
    packages.mkdir()
    (packages / "hal-core-1.rpm").write_text("core")
    with pytest.raises(LabError, match="building the next release takes root"):
        nextrelease.make(tmp_path, packages, system, cache, print)
    assert list(cache.iterdir()) == []

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(nextrelease, "_build_all", lambda *to: (to[-1] / "hal-core-1.1.noarch.rpm").touch())
    said: list[str] = []
    (made,) = nextrelease.make(tmp_path, packages, system, cache, said.append)
    assert made.name == "hal-core-1.1.noarch.rpm"
    assert said == ["building the next release of every package"]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert nextrelease.make(tmp_path, packages, system, cache, said.append) == [made]
    (packages / "hal-core-1.rpm").write_text("CORE")
    with pytest.raises(LabError, match="takes root"):
        nextrelease.make(tmp_path, packages, system, cache, print)
