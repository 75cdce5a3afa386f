"""A clean root directory of a target: made with dnf, cloned for each use, and a box to run programs in.

A base root is installed once. Every use gets a clone of it, an overlay, so that nothing leaks from one build or test to
the next. What comes from a package's own build (its spec, its tests) runs in a box: as an ordinary user, without
network, without sight of the host.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

from factory import programs
from factory.distribution import Distribution
from factory.programs import Argument

BUILDER = 1000  # user and group of what runs in a box
HOME = "/build"

_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}

# $1: the root. It inherits a mount namespace of its own.
_BOX = """
set -e
ip link set lo up
mount -t proc proc "$1/proc"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$1/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
shift
exec chroot "$@"
"""
_NAMESPACES = ("--mount", "--pid", "--ipc", "--uts", "--net", "--fork", "--kill-child")


class Chroot:
    """A root directory.

    :param log: what dnf and the programs in it say is appended there
    :param extra: further dnf repositories (directories), before the distribution's
    """

    def __init__(self, root: Path, distribution: Distribution, log: Path, extra: Sequence[Path] = ()) -> None:
        self.root = root
        self.log = log
        self._distribution = distribution
        self._extra = tuple(extra)

    def use_only(self, *extra: Path) -> None:
        """From now on, use these repositories beside the distribution's, and no others."""
        self._extra = extra

    def dnf(self, *arguments: Argument) -> None:
        """Run dnf on this root, from outside.

        :raise ProgramFailed: dnf did
        """
        programs.run(
            *self._distribution.dnf(self.root, self._extra),
            *arguments,
            environment=self._distribution.environment,
            log=self.log,
        )

    def run(self, *argv: Argument, user: int = BUILDER, log: Optional[Path] = None) -> str:
        """Run a program in the root, boxed in: a fixed environment, and no network but a loopback.

        :param log: as for :func:`programs.run`
        :raise ProgramFailed: it failed
        """
        home = HOME if user else "/root"
        inside = ("/usr/bin/env", "-i", "PATH=/usr/bin:/usr/sbin", f"HOME={home}", "LANG=C.UTF-8", "TERM=dumb")
        box = ("sh", "-c", _BOX, "sh", self.root, f"--userspec={user}:{user}", self.root)
        return programs.run("unshare", *_NAMESPACES, *box, *inside, *argv, log=log)


def make_base(
    place: Path,
    distribution: Distribution,
    names: Sequence[str],
    log: Path,
    extra: Sequence[Path] = (),
    builder: bool = False,
) -> None:
    """Install a root with these packages. Whole or not at all.

    :param extra: further dnf repositories
    :param builder: with the user that builds, and their home
    :raise ProgramFailed: dnf could not
    """
    partial = place.with_name(f".{place.name}.{os.getpid()}")
    remove(partial)
    partial.mkdir(parents=True)
    make_devices(partial / "dev")
    chroot = Chroot(partial, distribution, log, extra)
    chroot.dnf("install", *names)
    if builder:
        chroot.run("useradd", "--create-home", "--home-dir", HOME, "--uid", str(BUILDER), "builder", user=0, log=log)
    partial.replace(place)


def make_devices(directory: Path) -> None:
    """The few device nodes that every program may expect."""
    directory.mkdir(mode=0o755)
    for name, (major, minor) in _DEVICES.items():
        os.mknod(directory / name, stat.S_IFCHR, os.makedev(major, minor))
        (directory / name).chmod(0o666)
    (directory / "pts").mkdir()
    (directory / "shm").mkdir(mode=0o1777)
    for link, target in {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}.items():
        (directory / link).symlink_to(target)
    (directory / "ptmx").symlink_to("pts/ptmx")


@contextlib.contextmanager
def clone(base: Path, place: Path) -> Iterator[Path]:
    """A root that begins as a copy of the base, and is gone afterwards. Needs private mounts.

    Where the file system cannot carry an overlay (in some containers it is one itself), it is a plain copy, which takes
    seconds longer.

    :param place: a directory that is made, and removed
    """
    remove(place)
    root = place / "root"
    for directory in (root, place / "upper", place / "work"):
        directory.mkdir(parents=True)
    (place / "upper").chmod(stat.S_IMODE(base.stat().st_mode))
    layers = f"lowerdir={base},upperdir={place / 'upper'},workdir={place / 'work'}"
    try:
        programs.run("mount", "-t", "overlay", "-o", layers, "overlay", root)
        mounted = True
    except programs.ProgramFailed:
        programs.run("cp", "-a", "--reflink=auto", "--no-target-directory", base, root)
        mounted = False
    try:
        yield root
    finally:
        if mounted:
            programs.run("umount", "--lazy", root, cleans_up=True)
        remove(place)


def remove(directory: Path) -> None:
    """Remove a directory and everything in it, if it is there; mounted file systems are left alone."""
    if directory.exists():
        programs.run("rm", "-rf", "--one-file-system", "--", directory, cleans_up=True)
