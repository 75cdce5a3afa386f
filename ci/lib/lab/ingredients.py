"""What simulated servers are made of. Making it takes root; what root has made, anybody may use."""

from __future__ import annotations

import fcntl
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from factory import command as rpms
from factory import distribution, namespaces, target
from factory.distribution import Distribution
from lab.errors import LabError
from lab.images import hostimage, nextrelease, product
from lab.images.packages import Say

_PREPARED = "prepared.json"


class Ingredients(ABC):
    """Images and packages of one checkout."""

    @property
    @abstractmethod
    def key(self) -> Path:
        """The image of the USB key with the HAL host."""

    @abstractmethod
    def product(self, kind: str) -> Path:
        """The disk of a product of that kind: :data:`lab.images.product.KINDS`."""

    @abstractmethod
    def next_release(self) -> list[Path]:
        """Our RPMs once more, with a higher release number."""


def find(root: Path, cache: Path, say: Say) -> Ingredients:
    """For root, whatever is missing is made, from the checkout as it is; for others, what root has prepared.

    :param cache: where everything is kept
    :param say: told what takes time
    :raise LabError: not root, and nothing is prepared
    """
    if os.geteuid() == 0:
        return Made(root, cache, say)
    path = cache / _PREPARED
    if not path.exists():
        raise LabError("making the images takes root, and nothing is prepared yet: run sudo ci/lab --prepare once")
    return Prepared(path)


class Made(Ingredients):
    """Made when it is needed, if nothing like it has been made before. Every failure is a FactoryError."""

    def __init__(self, root: Path, cache: Path, say: Say) -> None:
        self._root = root
        self._cache = cache
        self._say = say
        cache.mkdir(parents=True, exist_ok=True)

    @cached_property
    def key(self) -> Path:
        with alone(self._cache / "host.lock"):
            return hostimage.build(self._packages, self._system, self._cache / "host", self._say)

    def product(self, kind: str) -> Path:
        guest = next(iter(self._packages.glob("**/hal-guest-[0-9]*.rpm")), None)
        return product.build(kind, self._cache / "product", self._say, guest)

    def next_release(self) -> list[Path]:
        with alone(self._cache / "next.lock"):
            return nextrelease.make(self._root, self._packages, self._system, self._cache / "next", self._say)

    def prepare(self) -> None:
        """Make everything, for those who are not root."""
        content = {
            "key": str(self.key),
            "products": {kind: str(self.product(kind)) for kind in product.KINDS},
            "next_release": [str(path) for path in self.next_release()],
        }
        (self._cache / _PREPARED).write_text(json.dumps(content, indent=1) + "\n")

    @cached_property
    def _packages(self) -> Path:
        """The dnf repository of this checkout's RPMs."""
        namespaces.enter_private_mounts()
        if rpms.main(self._root, ["--target", self._target.name]) != 0:
            raise LabError("the packages do not build: see above")
        return (self._root / "dist" / self._target.name).resolve()

    @cached_property
    def _system(self) -> Distribution:
        return distribution.find(self._target, self._root / ".cache/rpms", self._say)

    @cached_property
    def _target(self) -> target.Target:
        return target.parse(distribution.host_target() or "el9")


class Prepared(Ingredients):
    """As root has left it; the checkout may have changed since.

    :param path: the file that tells where everything is
    :raise LabError: it is there no more
    """

    def __init__(self, path: Path) -> None:
        self._content = json.loads(path.read_text())
        if not self.key.exists():
            raise LabError(f"{self.key} is gone: root has made newer ones; run sudo ci/lab --prepare again")

    @property
    def key(self) -> Path:
        return Path(self._content["key"])

    def product(self, kind: str) -> Path:
        return Path(self._content["products"][kind])

    def next_release(self) -> list[Path]:
        return [Path(path) for path in self._content["next_release"]]


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Of several who need the same thing, one makes it, and the others wait."""
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
