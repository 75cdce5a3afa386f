"""A distribution's kernel: its image, and the modules that a system needs with everything that those need.

The package is only unpacked, never installed. Modules are copied uncompressed: busybox cannot load any others.
"""

from __future__ import annotations

import functools
import lzma
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from factory import programs
from factory.distribution import is_debian
from lab.errors import LabError
from lab.images import packages
from lab.images.packages import Say

FLAVOURS = ("amd64", "cloud-amd64")
_RPMS = ("kernel-core", "kernel-modules-core", "kernel-modules")
# What depmod does not make itself, and modprobe and depmod want.
_LISTS = ("modules.builtin", "modules.builtin.modinfo", "modules.order")


@dataclass(frozen=True)
class Kernel:
    """:ivar modules: lib/modules/VERSION, with depmod's lists"""

    version: str
    image: Path
    modules: Path


def package(flavour: str) -> list[str]:
    """The packages of the newest kernel of this flavour, as :func:`lab.images.packages.newest` says them.

    :param flavour: one of Debian's :data:`FLAVOURS`; EL and Fedora have one kernel for everything
    :raise LabError: no repository has it
    """
    if not is_debian():
        return packages.newest(*_RPMS)
    if flavour not in FLAVOURS:
        raise LabError(f"there is no kernel {flavour}; there are {' and '.join(FLAVOURS)}")
    meta = f"linux-image-{flavour}"
    (entry,) = packages.fields(programs.run("apt-cache", "show", "--no-all-versions", meta))
    # "linux-image-6.1.0-56-amd64 (= 6.1.192-2)"
    name, _, version = entry["Depends"].split(",")[0].partition(" ")
    return [f"{name}={version.strip('(=) ')}"] if version else packages.newest(name)


def fetch(flavour: str, cache: Path, say: Say) -> Kernel:
    """The newest kernel that the distribution has, from the cache if that has it.

    :param flavour: as for :func:`package`
    :param say: told what is downloaded
    :raise LabError: no repository has it
    """
    return in_tree(packages.unpacked(package(flavour), cache, say, _finish))


def in_tree(tree: Path) -> Kernel:
    """The kernel of an unpacked package."""
    modules = packages.first(tree, "lib/modules/*")
    return Kernel(modules.name, packages.first(tree, "boot/vmlinuz-*", "lib/modules/*/vmlinuz"), modules)


def _finish(tree: Path) -> None:
    programs.run("depmod", "-b", tree, packages.first(tree, "lib/modules/*").name)


def closure(kernel: Kernel, names: Iterable[str]) -> list[Path]:
    """These modules and all that they need, in an order in which they can be loaded; built-in ones are left out.

    :raise LabError: the kernel has no such module
    """
    lists = _lists(kernel)
    order: dict[Path, None] = {}
    for name in names:
        for path in lists.needed_by(name):
            order.setdefault(kernel.modules / path)
    return list(order)


def has(kernel: Kernel, name: str) -> bool:
    """Whether there is such a module, or it is built in."""
    return _lists(kernel).knows(name)


def install(kernel: Kernel, root: Path, wanted: Iterable[str]) -> None:
    """Put modules, and what they need, into a root directory, so that modprobe finds them.

    :param wanted: names of modules, or directories of them (``kernel/drivers/usb``); both may be globs, whose ``*``
        stands for slashes, too
    :raise LabError: the kernel has nothing of that kind
    """
    names = [name for pattern in wanted for name in _lists(kernel).matching(pattern)]
    # On systems with a merged /usr, lib is a link, which mkdir follows.
    home = root / "lib" / "modules" / kernel.version
    for path in closure(kernel, names):
        target = home / path.relative_to(kernel.modules).parent / f"{plain_name(path)}.ko"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(plain(path))
    home.mkdir(parents=True, exist_ok=True)
    for name in _LISTS:
        if (kernel.modules / name).exists():
            shutil.copyfile(kernel.modules / name, home / name)
    programs.run("depmod", "-b", root, kernel.version)


def plain(module: Path) -> bytes:
    """A module's file, uncompressed.

    :raise ProgramFailed: it is damaged
    """
    if module.suffix == ".xz":
        return lzma.decompress(module.read_bytes())
    if module.suffix == ".zst":
        with tempfile.TemporaryDirectory() as directory:
            uncompressed = Path(directory, module.stem)
            programs.run("zstd", "-dq", module, "-o", uncompressed)
            return uncompressed.read_bytes()
    return module.read_bytes()


def plain_name(module: Path) -> str:
    """The name of its file without any ``.ko.xz``."""
    return module.name.split(".ko")[0]


class _Lists:
    """What depmod has found out, by normalized names: the kernel takes - and _ for the same."""

    def __init__(self, modules: Path) -> None:
        self._needs: dict[str, list[str]] = {}
        self._paths: dict[str, str] = {}
        self._soft: dict[str, list[str]] = {}
        self._aliases: dict[str, list[str]] = {}
        for line in (modules / "modules.dep").read_text().splitlines():
            path, _, needs = line.partition(":")
            self._needs[path] = needs.split()
            self._paths[_normal(path)] = path
        self._built_in = {_normal(path): path for path in (modules / "modules.builtin").read_text().splitlines()}
        for words in _words(modules / "modules.softdep", "softdep"):
            before = words[words.index("pre:") + 1 :] if "pre:" in words else []
            self._soft[_normal(words[0])] = before[: before.index("post:")] if "post:" in before else before
        for alias, name in _words(modules / "modules.alias", "alias"):
            self._aliases.setdefault(alias, []).append(name)

    def knows(self, name: str) -> bool:
        return _normal(name) in self._paths or _normal(name) in self._built_in

    def needed_by(self, name: str) -> list[str]:
        """Paths in the order of loading, the module's own last."""
        normal = _normal(name)
        if normal in self._built_in:
            return []
        if normal not in self._paths:
            raise LabError(f"this kernel has no module {name}, nor is it built in")
        path = self._paths[normal]
        order: list[str] = []
        for each in [*reversed(self._needs[path]), path]:
            for soft in self._soft.get(_normal(each), []):
                for provider in self._providers(soft):
                    order += self.needed_by(provider)
            order.append(each)
        return order

    def matching(self, pattern: str) -> list[str]:
        """The names of the modules that a name, a directory or a glob of either stands for."""
        everything = {**self._built_in, **self._paths}
        if "/" in pattern:
            kinds = (pattern, pattern.rstrip("/") + "/*")
            found = [name for name, path in everything.items() if any(fnmatchcase(path, kind) for kind in kinds)]
        else:
            found = [name for name in everything if fnmatchcase(name, _normal(pattern))]
        if not found:
            raise LabError(f"this kernel has no module {pattern}, nor is it built in")
        return sorted(found)

    def _providers(self, name: str) -> list[str]:
        """Who gives what a soft dependency asks for; nobody needs to. The generic one works on every processor."""
        if self.knows(name):
            return [name]
        found = self._aliases.get(name, [])
        return [provider for provider in found if provider.endswith("_generic")] or found


@functools.lru_cache(maxsize=4)
def _lists_in(modules: Path) -> _Lists:
    return _Lists(modules)


def _lists(kernel: Kernel) -> _Lists:
    return _lists_in(kernel.modules)


def _normal(path: str) -> str:
    return plain_name(Path(path)).replace("-", "_")


def _words(listing: Path, keyword: str) -> Iterable[list[str]]:
    for line in listing.read_text().splitlines():
        words = line.split()
        if words and words[0] == keyword:
            yield words[1:]
