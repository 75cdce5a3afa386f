"""The next release of every package of ours: the same sources with a higher release number, to be upgraded to."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import tempfile
from pathlib import Path

from factory import build, chroot, distribution, programs, repository, source, spec, store
from factory.checkout import Checkout
from factory.distribution import Distribution
from factory.spec import Spec
from lab import kept
from lab.errors import LabError
from lab.images.packages import Say

_RELEASE = "%{?dist}"


def make(root: Path, packages: Path, system: Distribution, cache: Path, say: Say) -> list[Path]:
    """The binary RPMs of the next release; from the cache if nothing has changed.

    :param root: the checkout
    :param packages: the repository with this release
    :raise FactoryError: a package does not build; not root
    """
    now = repository.packages(packages)
    home = cache / kept.digest([system.key, store.factory_key()], [*now, Path(__file__)])

    def fill(place: Path) -> None:
        if os.geteuid() != 0:
            raise LabError("building the next release takes root, for clean roots; telling stories about it does not")
        say("building the next release of every package")
        place.mkdir()
        with tempfile.TemporaryDirectory(dir=cache, prefix=".work-") as directory:
            _build_all(root, packages, system, Path(directory), place)

    kept.once(home, fill)
    return sorted(path for path in home.glob("*.rpm") if not path.name.endswith(".src.rpm"))


def _build_all(root: Path, packages: Path, system: Distribution, work: Path, place: Path) -> None:
    base = work / "base"
    chroot.make_base(base, system, distribution.BUILD_ROOT, work / "base.log", builder=True)
    checkout = Checkout(root, work / "git")
    specs = [one for one in spec.read_all(root / "specs", system.target).values() if one.name.startswith("hal-")]

    def one(package: Spec) -> None:
        sources, result = work / f"{package.name}.sources", work / f"{package.name}.result"
        sources.mkdir()
        result.mkdir()
        source.collect(checkout, package, sources, work / "downloads")
        changed, clone = _next(package, work), work / f"{package.name}.root"
        # Its tests have passed when this release was built of the same sources.
        build.build(changed, sources, system, base, clone, result, [packages], check=False)
        programs.run("cp", *result.glob("*.rpm"), place)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in [pool.submit(one, package) for package in specs]:
            done.result()
    chroot.remove(base)


def _next(package: Spec, work: Path) -> Spec:
    """The same spec with a higher release.

    :raise LabError: its Release does not end as ours do
    """
    text = package.path.read_text()
    lines = [
        line + ".1" if line.startswith("Release:") and line.endswith(_RELEASE) else line for line in text.splitlines()
    ]
    changed = work / package.path.name
    changed.write_text("\n".join([*lines, ""]))
    if changed.read_text() == text:
        raise LabError(f"{package.path}: there is no line Release: NUMBER{_RELEASE}, so there is no next release")
    return dataclasses.replace(package, path=changed)
