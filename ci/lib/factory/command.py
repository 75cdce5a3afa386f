"""The command ci/rpms: arguments, and what a person sees."""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, Optional

from factory import buildlog, chroot, distribution, order, repository, target
from factory.build import BuildFailed
from factory.errors import FactoryError
from factory.factory import UNTESTED, Built, Factory
from factory.programs import ProgramFailed

_EPILOG = """\
examples:
  ci/rpms                        build everything for el9 into dist/el9
  ci/rpms hal-vmm --target fc44  build hal-vmm and what it needs, for Fedora 44, into dist/fc44
  ci/rpms --mock --target el10   the same with mock, from the real repositories (no root needed)
  ci/rpms --srpm-only            only source RPMs, into dist/srpms, for koji
  ci/rpms --sign 0xDEADBEEF      sign packages, index and checksums with that GPG key

Exit status: 0 done, 1 failed (dist/ is as it was), 2 usage, 130 interrupted.
More: docs/building-packages.md
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="ci/rpms",
        description="Build HAL's packages as RPMs, each in a clean root, and make a dnf repository of them. "
        "What has not changed since the last time is not built again.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("packages", nargs="*", metavar="PACKAGE", help="as in specs/PACKAGE.spec; default: all")
    default = distribution.host_target() or "el9"
    add("--target", default=default, metavar="NAME", help=f"el9, el10, fc43, fc44, …; default: {default}")
    add("--mock", action="store_true", help="build with mock and the configurations in mock-configs/")
    add("--srpm-only", action="store_true", help="make source RPMs only")
    add("--sign", metavar="KEY", help="sign everything with this GPG key")
    add("--output", type=Path, metavar="DIRECTORY", help="where the repository goes; default: dist/")
    add(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="packages built side by side; default: %(default)s",
    )
    add("--list", action="store_true", help="list the packages in building order, and build nothing")
    add("--clean", action="store_true", help="forget everything that was kept from earlier builds first")
    asked = parser.parse_args(arguments)
    if asked.jobs < 1:
        parser.error(f"--jobs {asked.jobs}: at least 1")
    if asked.mock and asked.srpm_only:
        parser.error("--srpm-only builds nothing, so --mock has nothing to do")
    return asked


class Progress:
    """Tells on standard error what goes on, with the seconds since the beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, line: str) -> None:
        with self._lock:
            print(f"{time.monotonic() - self._began:4.0f} s  {line}", file=sys.stderr, flush=True)


def main(root: Path, arguments: Sequence[str]) -> int:
    """Run the command for that checkout; :return: its exit status."""
    asked = parse(arguments)
    progress = Progress()
    try:
        return run(root, asked, progress)
    except BuildFailed as error:
        explain(error)
    except FactoryError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted; dist/ is as it was, and what was finished is kept")
        return 130
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        fail(f"{error.filename or root}: {error.strerror}; dist/ is as it was")
    return 1


def run(root: Path, asked: argparse.Namespace, progress: Progress) -> int:
    """Do what was asked for."""
    wanted_target = target.parse(asked.target)
    work = root / ".cache/rpms"
    output = asked.output or root / "dist"
    if not asked.mock and not asked.srpm_only and not asked.list and os.geteuid() != 0:
        raise FactoryError(
            "clean roots need root (dnf --installroot, chroot): use sudo; or --mock, where mock is installed; "
            "or --srpm-only"
        )
    work.mkdir(parents=True, exist_ok=True)
    with alone(work / "lock", progress):
        if asked.clean:
            for directory in work.iterdir():
                if directory.is_dir():
                    chroot.remove(directory)
        for pattern in ("built/*/*/.new.*", f"{UNTESTED}/*/*/.new.*", "roots/.*"):
            for leftover in work.glob(pattern):
                if not Path("/proc", leftover.suffix[1:]).exists():  # of an interrupted build, and of none that runs
                    chroot.remove(leftover)
        factory = Factory(root, work, wanted_target, progress)
        wanted = choose(asked.packages, list(factory.specs))
        if asked.list:
            list_packages(factory, wanted)
            return 0
        if factory.has_uncommitted:
            progress("note: there are changes that are not committed, and they are built, too")
        if asked.srpm_only:
            for path in factory.source_rpms(wanted, output / "srpms"):
                print(path)
            return 0
        built = factory.build(wanted, asked.mock, asked.jobs)
        place = output / wanted_target.name
        changed = repository.publish(
            collect(built, factory, place, bool(asked.packages)), root / "specs/comps.xml", place, asked.sign
        )
        summarize(built)
        print(f"{place}: {len(repository.packages(place))} RPMs, {'' if changed else 'un'}changed")
        return 0


@contextmanager
def alone(lock: Path, progress: Progress) -> Iterator[None]:
    """One at a time: another ci/rpms of this checkout is waited for."""
    with open(lock, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another ci/rpms in this checkout")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def choose(asked: Sequence[str], there: Sequence[str]) -> list[str]:
    """The packages to build: all, when none is named.

    :raise FactoryError: there is none of that name
    """
    for name in asked:
        if name not in there:
            raise FactoryError(f'no package "{name}" (specs/{name}.spec); there are: {", ".join(there)}')
    return list(asked or there)


def collect(built: Sequence[Built], factory: Factory, place: Path, only_some: bool) -> list[Path]:
    """The RPMs of the new repository: what was built and, when that is only some, what there is of the others."""
    ours = [rpm for one in built for rpm in one.rpms]
    if not only_some:
        return ours
    replaced = {name for one in built for name in (one.spec.name, *one.spec.packages)}
    return ours + [rpm for rpm in repository.packages(place) if rpm.name.rsplit("-", 2)[0] not in replaced]


def list_packages(factory: Factory, wanted: Sequence[str]) -> None:
    """Print them, in building order."""
    print(f"{'package':20} {'version':12} needs, of ours, to be built")
    for name in [name for name in order_of(factory) if name in wanted]:
        spec = factory.specs[name]
        print(
            f"{name:20} {spec.version + '-' + spec.release:12} {', '.join(sorted(factory.requirements[name])) or '-'}"
        )


def order_of(factory: Factory) -> list[str]:
    """All packages in building order."""
    return order.closure(factory.specs, factory.requirements)


def summarize(built: Sequence[Built]) -> None:
    """Print what was done."""
    for one in built:
        how = "unchanged" if one.seconds is None else f"built in {one.seconds:.0f} s"
        print(f"{one.spec.name:20} {one.spec.version + '-' + one.spec.release:12} {how}")


def explain(error: BuildFailed) -> None:
    """Print why a package did not build: the lines of its log that tell it, and where the rest is."""
    log = error.log.read_text(errors="replace") if error.log.exists() else ""
    if isinstance(error.__cause__, ProgramFailed) and not log:
        log = error.__cause__.output
    for line in buildlog.relevant(log):
        print(f"    {line}", file=sys.stderr)
    fail(f"{error}: {cause(error)}; the whole log: {error.log}")


def cause(error: BuildFailed) -> Optional[str]:
    """In a few words: which program."""
    return str(error.__cause__) if error.__cause__ is not None else None


def fail(message: str) -> None:
    """One line that says what is wrong."""
    print(f"ci/rpms: {message}", file=sys.stderr)


def start() -> NoReturn:
    """As a program: the checkout is the one that this file belongs to."""
    sys.exit(main(Path(__file__).resolve().parents[3], sys.argv[1:]))
