"""Two ways to build one package: in our own clean roots, or with mock."""

from __future__ import annotations

import abc
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

from factory import build, chroot, distribution, mock, store
from factory.distribution import Distribution
from factory.errors import FactoryError
from factory.spec import Spec
from factory.target import Target


class Maker(abc.ABC):
    """A way to build one package.

    :ivar key: changes when what packages are built from does
    """

    key: str

    @abc.abstractmethod
    def prepare(self) -> None:
        """Whatever is to be done once, before the first package."""

    @abc.abstractmethod
    def make(self, package: Spec, sources: Path, result: Path, own: Sequence[Path]) -> None:
        """Build it into an empty directory; :raise FactoryError: it does not build."""


class ChrootMaker(Maker):
    """In clean roots, with dnf and rpmbuild.

    :param tests: whether packages run their own tests
    """

    def __init__(self, found: Distribution, work: Path, say: Callable[[str], None], tests: bool = True) -> None:
        self._distribution = found
        self._work = work
        self._say = say
        self._tests = tests
        self.key = found.key
        roots = store.key([found.key, store.factory_key(), *distribution.BUILD_ROOT])
        self._base = work / "roots" / f"{found.target.name}-{roots}"

    def prepare(self) -> None:
        if self._base.exists():
            return
        self._say(f"installing a clean root of {self._distribution.target.name}")
        for old in self._base.parent.glob(f"{self._distribution.target.name}-*"):
            chroot.remove(old)
        self._base.parent.mkdir(parents=True, exist_ok=True)
        log = self._base.parent / f"{self._distribution.target.name}.log"
        log.unlink(missing_ok=True)
        try:
            chroot.make_base(self._base, self._distribution, distribution.BUILD_ROOT, log, builder=True)
        except FactoryError as error:
            raise build.BuildFailed("the clean root", "dnf install", error, log) from error

    def make(self, package: Spec, sources: Path, result: Path, own: Sequence[Path]) -> None:
        place = self._work / "roots" / f".{package.name}.{os.getpid()}"
        build.build(package, sources, self._distribution, self._base, place, result, own, self._tests)


class MockMaker(Maker):
    """With mock. What its repositories hold changes without notice: see --clean."""

    def __init__(self, root: Path, target: Target) -> None:
        if shutil.which("mock") is None:
            raise FactoryError("mock is not installed: dnf install mock, and put yourself into the group mock")
        self._config = mock.configuration(root / "mock-configs", target)
        self.key = store.key(path.read_text() for path in sorted((root / "mock-configs").rglob("*.[ct][fp][gl]")))

    def prepare(self) -> None:
        """Nothing: mock makes its roots itself."""

    def make(self, package: Spec, sources: Path, result: Path, own: Sequence[Path]) -> None:
        log = result / "build.log"
        with tempfile.TemporaryDirectory() as scratch:
            source_rpm = build.make_source_rpm(package, sources, Path(scratch), Path(scratch, "log"))
            try:
                mock.rebuild(self._config, source_rpm, result, own)
            except FactoryError as error:
                raise build.BuildFailed(package.name, "mock", error, log) from error
