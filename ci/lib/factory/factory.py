"""The whole way: from the checkout's specs to the repository of a target."""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from factory import build, distribution, namespaces, order, programs, repository, source, spec, store
from factory.checkout import Checkout
from factory.errors import FactoryError
from factory.maker import ChrootMaker, Maker, MockMaker
from factory.spec import Spec
from factory.target import Target

UNTESTED = "untested"  # below the work directory: packages whose own tests did not run


@dataclass(frozen=True)
class Built:
    """One package, done.

    :ivar place: the directory with its RPMs and build.log
    :ivar seconds: how long it took; None: nothing had changed since an earlier time
    """

    spec: Spec
    place: Path
    seconds: Optional[float]

    @property
    def rpms(self) -> list[Path]:
        """Everything that was made, the source RPM included."""
        return sorted(self.place.glob("*.rpm"))


class Factory:
    """Builds packages of one checkout for one target.

    :param root: the checkout
    :param work: everything that is kept from one time to the next
    :param say: is told what goes on, one line at a time, from any thread
    :param tests: whether packages run their own tests. Those that did not are kept apart, never taken for the others
    :raise FactoryError: the specs cannot be read
    """

    def __init__(self, root: Path, work: Path, target: Target, say: Callable[[str], None], tests: bool = True) -> None:
        self.root = root
        self.target = target
        self.specs = spec.read_all(root / "specs", target)
        self.requirements = order.own_requirements(self.specs)
        self._work = work
        self._store = store.Store(work / ("built" if tests else UNTESTED) / target.name)
        self._tests = tests
        self._say = say
        self._checkout = Checkout(root, work / "git")

    @property
    def has_uncommitted(self) -> bool:
        """Whether something is built that is in no commit."""
        return self._checkout.has_uncommitted()

    def build(self, wanted: Sequence[str], with_mock: bool = False, jobs: int = 2) -> list[Built]:
        """Build packages, and whatever of ours they need for that; as many side by side as possible.

        :return: all of them, in building order
        :raise BuildFailed: one of them does not build; those that have been built by then are kept
        :raise FactoryError: they cannot be built here at all
        """
        names = order.closure(wanted, self.requirements)
        if with_mock:
            maker: Maker = MockMaker(self.root, self.target)
        else:
            namespaces.enter_private_mounts()
            found = distribution.find(self.target, self._work, self._say)
            maker = ChrootMaker(found, self._work, self._say, self._tests)
        keys = self._keys(names, maker.key)
        if any(not self._store.has(name, keys[name]) for name in names):
            maker.prepare()
        done: dict[str, Built] = {}
        waiting = list(names)
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            running: set[concurrent.futures.Future[Built]] = set()
            try:
                while waiting or running:
                    for name in [name for name in waiting if self.requirements[name] <= done.keys()]:
                        waiting.remove(name)
                        running.add(pool.submit(self._one, name, keys[name], maker, done))
                    finished, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                    done.update({built.spec.name: built for built in (future.result() for future in finished)})
            except KeyboardInterrupt:
                programs.stop()
                raise
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        return [done[name] for name in names]

    def source_rpms(self, wanted: Sequence[str], result: Path) -> list[Path]:
        """Only the source RPMs, in building order. They need no root and no target.

        :raise FactoryError: a source is missing
        """
        made = []
        for name in order.closure(wanted, self.requirements):
            with self._sources(self.specs[name]) as sources, tempfile.TemporaryDirectory() as scratch:
                path = build.make_source_rpm(self.specs[name], sources, Path(scratch), Path(scratch, "log"))
                result.mkdir(parents=True, exist_ok=True)
                partial = result / f".{path.name}.{os.getpid()}"
                shutil.copyfile(path, partial)
                made.append(partial.replace(result / path.name))
        return made

    def _one(self, name: str, key: str, maker: Maker, done: Mapping[str, Built]) -> Built:
        """Build one package, unless that has been done; in a thread of its own."""
        if self._store.has(name, key):
            return Built(self.specs[name], self._store.place(name, key), None)
        began = time.monotonic()
        self._say(f"{name}: building")
        partial = self._store.begin(name)
        needed = order.closure(self.requirements[name], self.requirements)
        with self._sources(self.specs[name]) as sources, tempfile.TemporaryDirectory() as own:
            repositories = []
            if needed:
                for rpm in (rpm for other in needed for rpm in done[other].rpms if not rpm.name.endswith(".src.rpm")):
                    shutil.copy(rpm, own)
                repository.index(Path(own))
                repositories = [Path(own)]
            maker.make(self.specs[name], sources, partial, repositories)
        if len(list(partial.glob("*.rpm"))) < 2:
            raise FactoryError(f"{name}: there are no RPMs in {partial}, although building them has succeeded")
        seconds = time.monotonic() - began
        self._say(f"{name}: built after {seconds:.0f} s")
        return Built(self.specs[name], self._store.keep(name, key, partial), seconds)

    def _keys(self, names: Sequence[str], maker_key: str) -> dict[str, str]:
        """The store's keys of these packages, which come in building order."""
        keys: dict[str, str] = {}
        for name in names:
            own = [keys[other] for other in sorted(self.requirements[name])]
            sources = source.content(self._checkout, self.specs[name])
            keys[name] = store.key([self.target.name, store.factory_key(), maker_key, *own, *sources])
        return keys

    @contextmanager
    def _sources(self, package: Spec) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as directory:
            source.collect(self._checkout, package, Path(directory), self._work / "downloads")
            yield Path(directory)
