"""Reads specs, through rpm's own bindings.

What is read is what the factory needs before there is a chroot: names, version, sources, and build requirements. Macros
that only the target has stay unexpanded, which does no harm there.
"""

from __future__ import annotations

import functools
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from factory.errors import FactoryError
from factory.target import Target


@dataclass(frozen=True)
class Spec:
    """One spec.

    :ivar sources: the file names of Source0, Source1, …, and of the patches
    :ivar build_requires: the names in BuildRequires; those that are generated during the build are not known yet
    :ivar packages: the names of the binary packages, for instance hal-core and hal-core-testing
    :ivar changed: when the newest changelog entry was written, in seconds since 1970; the date of everything in it
    """

    path: Path
    name: str
    version: str
    release: str
    sources: tuple[str, ...]
    build_requires: tuple[str, ...]
    packages: tuple[str, ...]
    changed: int


def read(path: Path, target: Target) -> Spec:
    """The spec in that file, as the target would see it. Not for several threads: rpm's macros are global.

    :raise FactoryError: rpm cannot parse it, or the bindings are missing
    """
    try:
        import rpm
    except ImportError as error:
        raise FactoryError(f"rpm's Python bindings (python3-rpm) do not load: {error}") from None
    rpm.reloadConfig()
    for name, value in macros(target).items():
        rpm.addMacro(name, value)
    begin = messages().seek(0, os.SEEK_END)
    rpm.setLogFile(messages())
    try:
        parsed = rpm.spec(os.fspath(path))
    except (ValueError, rpm.error) as error:
        messages().seek(begin)
        said = [line.strip() for line in messages().read().splitlines() if "error" in line]
        raise FactoryError(f"{path}: {said[0].removeprefix('error: ') if said else error}") from None
    header = parsed.sourceHeader
    if not header[rpm.RPMTAG_CHANGELOGTIME]:
        raise FactoryError(f"{path}: there is no %changelog, whose newest entry dates the package")
    return Spec(
        path=path,
        name=header[rpm.RPMTAG_NAME],
        version=header[rpm.RPMTAG_VERSION],
        release=header[rpm.RPMTAG_RELEASE],
        sources=tuple(os.path.basename(name) for name, _, _ in sorted(parsed.sources, key=lambda source: source[1:])),
        build_requires=tuple(
            sorted({name for name in header[rpm.RPMTAG_REQUIRENAME] if not name.startswith("rpmlib(")})
        ),
        packages=tuple(package.header[rpm.RPMTAG_NAME] for package in parsed.packages if has_files(package)),
        changed=header[rpm.RPMTAG_CHANGELOGTIME][0],
    )


@functools.cache
def messages() -> IO[str]:
    """Where rpm's own messages go. It keeps the file, so that there has to be one for good."""
    return tempfile.TemporaryFile("w+")


def has_files(package: object) -> bool:
    """Whether there will be a binary package: a spec without a %files section for it makes none."""
    return getattr(package, "fileList", "") is not None


def read_all(directory: Path, target: Target) -> dict[str, Spec]:
    """All specs of a directory, by package name.

    :raise FactoryError: as :func:`read`; or a file is not called as its package is
    """
    found = {}
    for path in sorted(directory.glob("*.spec")):
        spec = read(path, target)
        if spec.name != path.stem:
            raise FactoryError(f"{path}: its Name is {spec.name}, so it must be called {spec.name}.spec")
        found[spec.name] = spec
    if not found:
        raise FactoryError(f"{directory}: there is no spec here")
    return found


def macros(target: Target) -> dict[str, str]:
    """What tells a spec which system it is built for."""
    family = "fedora" if target.family == "fedora" else "rhel"
    return {"dist": target.dist, family: str(target.version), target.name: "1"}
