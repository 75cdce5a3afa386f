"""Builds one package in a clean root, in the steps of mock and koji.

1. The source RPM is made inside, where the target's macros are.
2. Its build requirements are installed; then %generate_buildrequires says what else it needs, until nothing is missing.
3. The package is built, its tests run in %check, as an ordinary user without network.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from factory import chroot, programs
from factory.chroot import HOME, Chroot
from factory.distribution import Distribution
from factory.errors import FactoryError
from factory.spec import Spec

_MISSING_REQUIREMENTS = 11  # rpmbuild -br: %generate_buildrequires has named what is not installed
_PATIENCE = 1800  # seconds for one rpmbuild: a test in %check that hangs would hang everything
_ROUNDS = 8  # of that; each can ask for what tells the next

# rpm: the same sources give the same package, wherever and whenever it is built. The time is the changelog's.
_REPRODUCIBLE = (
    *("--define", "_buildhost hal.invalid"),
    *("--define", "source_date_epoch_from_changelog 1"),
    *("--define", "use_source_date_epoch_as_buildtime 1"),
    *("--define", "clamp_mtime_to_source_date_epoch 1"),  # until rpm 4.19
    *("--define", "build_mtime_policy clamp_to_source_date_epoch"),  # since rpm 4.20
)


class BuildFailed(FactoryError):
    """A package did not build.

    :ivar log: everything that was said
    """

    def __init__(self, name: str, step: str, error: FactoryError, log: Path) -> None:
        self.name = name
        self.log = log
        super().__init__(f"{name}: {step} failed")
        self.__cause__ = error


def build(
    spec: Spec,
    sources: Path,
    distribution: Distribution,
    base: Path,
    place: Path,
    result: Path,
    own: Sequence[Path] = (),
    check: bool = True,
) -> None:
    """Build one package.

    :param sources: a directory with the spec's sources
    :param base: the root that every build begins with
    :param place: where the clone of it may be; gone afterwards
    :param result: an empty directory, for the RPMs and build.log
    :param own: repositories with those of our packages that this one needs
    :param check: with its tests; without, for sources that have passed them
    :raise BuildFailed: it does not build
    """
    log = result / "build.log"
    with chroot.clone(base, place) as root:
        step = "preparing the root"
        try:
            built = Chroot(root, distribution, log, own)
            home = root / HOME.lstrip("/")
            fill(home, spec, sources)
            step = "making the source RPM"
            rpmbuild(built, spec, "-bs", "--nodeps")
            step = "installing build requirements"
            install_requirements(built, spec, home)
            step = "building"
            rpmbuild(built, spec, "-ba", *(() if check else ("--nocheck",)))
        except FactoryError as error:
            raise BuildFailed(spec.name, step, error, log) from error
        for rpm in sorted([*(home / "RPMS").rglob("*.rpm"), *home.glob("SRPMS/*.src.rpm")]):
            programs.run("cp", "--preserve=timestamps", rpm, result)


def fill(home: Path, spec: Spec, sources: Path) -> None:
    """Lay spec and sources out as rpmbuild expects them."""
    for name in ("SPECS", "SOURCES"):
        (home / name).mkdir()
    programs.run("cp", spec.path, home / "SPECS")
    for source in sources.iterdir():
        programs.run("cp", source, home / "SOURCES")
    programs.run("chown", "-R", f"{chroot.BUILDER}:{chroot.BUILDER}", home)


def install_requirements(built: Chroot, spec: Spec, home: Path) -> None:
    """What BuildRequires and %generate_buildrequires ask for.

    :raise FactoryError: it cannot be installed, or there is no end to it
    """
    (source_rpm,) = home.glob("SRPMS/*.src.rpm")
    built.dnf("builddep", "--srpm", source_rpm)
    for _ in range(_ROUNDS):
        try:
            rpmbuild(built, spec, "-br")
        except programs.ProgramFailed as error:
            asked = list(home.glob("SRPMS/*.buildreqs.nosrc.rpm"))
            if error.status != _MISSING_REQUIREMENTS or not asked:
                raise
        else:
            return
        built.dnf("builddep", "--srpm", asked[0])
        asked[0].unlink()
    raise FactoryError(f"%generate_buildrequires still asks for more after {_ROUNDS} rounds")


def rpmbuild(built: Chroot, spec: Spec, *options: str) -> None:
    """Run rpmbuild in the box."""
    command = ("timeout", str(_PATIENCE), "rpmbuild", "--define", f"_topdir {HOME}")
    built.run(*command, *_REPRODUCIBLE, *options, f"{HOME}/SPECS/{spec.path.name}", log=built.log)


def make_source_rpm(spec: Spec, sources: Path, result: Path, log: Path) -> Path:
    """A source RPM without any root, for mock and koji, which make it anew inside theirs.

    :return: its path
    :raise FactoryError: rpmbuild failed
    """
    programs.run(
        *("rpmbuild", "-bs", "--nodeps", *_REPRODUCIBLE, "--define", "dist %{nil}"),
        *("--define", f"_sourcedir {sources}", "--define", f"_srcrpmdir {result}", "--define", f"_topdir {result}"),
        spec.path,
        environment={"HOME": os.fspath(result)},
        log=log,
    )
    (made,) = result.glob("*.src.rpm")
    return made
