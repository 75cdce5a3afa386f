"""What has been built is kept under the name of everything it was made from, and found again.

A package's key is a hash over its spec and sources, the target and where its packages come from, the factory itself,
and the keys of those of our packages that it was built with. Whatever changes one of them changes the key.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

KEPT = 3  # builds of each package; older ones are removed

# The part of the factory that a package's content depends on.
_FACTORY = ("build.py", "chroot.py", "distribution.py", "source.py")


def factory_key() -> str:
    """Changes when the way in which packages are built does."""
    digest = hashlib.sha256()
    for name in _FACTORY:
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()


def key(lines: Iterable[str]) -> str:
    """A name for what was made from exactly that: 16 hexadecimal digits."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


class Store:
    """Results by package and key.

    :param directory: where they are
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def place(self, package: str, name: str) -> Path:
        """Where the result with that key is, or will be."""
        return self._directory / package / name

    def has(self, package: str, name: str) -> bool:
        """Whether it is there: then it is whole."""
        return self.place(package, name).is_dir()

    def begin(self, package: str) -> Path:
        """An empty directory for a new result."""
        partial = self._directory / package / f".new.{os.getpid()}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        return partial

    def keep(self, package: str, name: str, partial: Path) -> Path:
        """Give a new result its name, and forget the oldest."""
        place = self.place(package, name)
        shutil.rmtree(place, ignore_errors=True)
        partial.replace(place)
        results = sorted((path for path in place.parent.iterdir() if path != place), key=os.path.getmtime, reverse=True)
        for old in results[KEPT - 1 :]:
            shutil.rmtree(old, ignore_errors=True)
        return place
