"""Debian packages become RPMs: the same files, the same dependencies, and EL's names as Provides.

Maintainer scripts do not run. What they would have done and somebody needs is in :data:`names.LINKS`, or in an own
package (:mod:`own`).
"""

from __future__ import annotations

import concurrent.futures
import os
import re
import tempfile
from email.parser import HeaderParser
from pathlib import Path
from typing import Iterable, Optional, Sequence

from factory.errors import FactoryError
from factory.programs import run
from factory.standin import names, own, package
from factory.standin.closure import Deb
from factory.standin.layout import Layout
from factory.standin.package import Entry, Package
from factory.standin.unpack import unpack

WORKERS = 2


def python_version(debs: Iterable[Deb]) -> str:
    """The version of the Python in a closure, "3.11".

    :raise FactoryError: there is none
    """
    for deb in debs:
        match = re.fullmatch(r"python(3\.[0-9]+)", deb.name)
        if match:
            return match[1]
    raise FactoryError("apt's answer for the stand-in OS has no Python in it")


def convert(debs: Sequence[Deb], files: Sequence[Path], layout: Layout, output: Path) -> None:
    """Make the RPMs of some Debian packages, each as *output*/NAME.rpm.

    :param files: the .deb files, in the order of *debs*
    :raise FactoryError: some could not be made; the message names them all
    """
    with tempfile.TemporaryDirectory(dir=output, prefix="convert-") as scratch:
        tree = Path(scratch, "tree")
        tree.mkdir()
        entries = unpack_all(debs, files, tree, layout)
        for deb, found in zip(debs, entries):
            found.extend(links(tree, names.LINKS.get(deb.name, {})))
        compile_python(tree, entries, layout)
        packages = [as_package(deb, found, tree, layout) for deb, found in zip(debs, entries)]
        package.build(packages, tree, output, Path(scratch, "build"))


def unpack_all(debs: Sequence[Deb], files: Sequence[Path], tree: Path, layout: Layout) -> list[list[Entry]]:
    """What each package has, unpacked into the tree.

    :raise FactoryError: some cannot be unpacked; the message names them all
    """
    faults = []
    entries: list[list[Entry]] = []
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        jobs = [pool.submit(unpack, file, tree, layout) for file in files]
        for deb, job in zip(debs, jobs):
            try:
                entries.append(job.result())
            except FactoryError as error:
                faults.append(f"{deb.name} ({error})")
    if faults:
        raise FactoryError(f"{len(faults)} of {len(debs)} Debian packages cannot be unpacked: {'; '.join(faults)}")
    return entries


def links(tree: Path, wanted: dict[str, str]) -> list[Entry]:
    """Make symbolic links: path → target."""
    for path, target in wanted.items():
        (tree / path[1:]).symlink_to(target)
    return [Entry(path, "link", 0o777) for path in wanted]


def compile_python(tree: Path, entries: Sequence[list[Entry]], layout: Layout) -> None:
    """Compile all modules, as EL's packages have them; Debian's maintainer scripts do that on the machine.

    Otherwise every root would be full of files that no package owns, and every Python in it would start slowly.
    """
    modules = {
        entry.path: found
        for found in entries
        for entry in found
        if entry.kind == "file" and entry.path.endswith(".py") and entry.path.startswith(f"{layout.stdlib}/")
    }
    if not modules:
        return
    listed = tree.with_name("modules")
    listed.write_text("".join(f"{tree}{path}\n" for path in modules))
    options = ("-q", f"-j{WORKERS}", "-s", tree, "-p", "/", "-i", listed)
    run(f"/usr/bin/python{layout.python}", "-m", "compileall", *options)
    tag = layout.python.replace(".", "")
    directories = set()
    for path, found in modules.items():
        directory, name = os.path.split(path)
        if (directory, id(found)) not in directories:
            directories.add((directory, id(found)))
            found.append(Entry(f"{directory}/__pycache__", "dir", 0o755))
        found.append(Entry(f"{directory}/__pycache__/{name[:-3]}.cpython-{tag}.pyc", "file", 0o644))


def as_package(deb: Deb, entries: Iterable[Entry], tree: Path, layout: Layout) -> Package:
    """The RPM of a Debian package.

    :raise FactoryError: it has a file of a user that the stand-in OS does not have
    """
    kept = tuple(sorted(entry for entry in entries if entry.path not in own.DIRECTORIES))
    strangers = {entry.user for entry in kept} - own.USERS.keys() | {entry.group for entry in kept} - own.GROUPS.keys()
    if strangers:
        raise FactoryError(f"{deb.name}: has files of {', '.join(strangers)}: standin/own.py has to learn that name")
    version = evr(deb.version)
    requires = sorted({*deb.requires, *names.REQUIRES.get(deb.name, ())})
    provides = [
        *(name if name.startswith("/") else f"{name} = {version}" for name in names.PROVIDES.get(deb.name, ())),
        *python_provides(tree, kept, layout),
        *([f"python(abi) = {layout.python}"] if deb.name == f"python{layout.python}" else []),
    ]
    # The links that were /bin and /lib have to be there before anything that is reached through them.
    before = ("Requires(pre): filesystem",)
    return Package(
        name=deb.name,
        version=version,
        noarch=deb.architecture == "all",
        entries=kept,
        requires=(*before, *package.requires(requires)),
        provides=tuple(provides),
    )


def evr(version: str) -> str:
    """A Debian version as RPM's "[EPOCH:]VERSION-RELEASE".

    RPM's alphabet is smaller: no "-" in a version. A native package has no revision: its release is 0.

    >>> evr("1:7.2+dfsg-7+deb12u18+b3"), evr("37~deb12u1"), evr("1.2-beta-3")
    ('1:7.2+dfsg-7+deb12u18+b3', '37~deb12u1-0', '1.2.beta-3')
    """
    epoch, colon, rest = version.rpartition(":")
    upstream, _, revision = rest.rpartition("-")
    if not upstream:
        upstream, revision = rest, "0"
    return epoch + colon + re.sub(r"[^A-Za-z0-9.+~]", ".", upstream) + "-" + re.sub(r"[^A-Za-z0-9.+~]", ".", revision)


def python_provides(tree: Path, entries: Iterable[Entry], layout: Layout) -> list[str]:
    """python3dist(NAME) and python3.11dist(NAME), as rpm's generator makes them from the same metadata."""
    provides = []
    for entry in entries:
        match = re.fullmatch(
            rf"{re.escape(layout.site_packages)}/[^/]+\.(dist-info|egg-info)(/METADATA|/PKG-INFO)?", entry.path
        )
        if match is None or entry.kind != "file":
            continue
        metadata = HeaderParser().parsestr((tree / entry.path[1:]).read_text(errors="replace"))
        name, version = canonical(metadata["Name"]), python_evr(metadata["Version"])
        if version is not None:
            provides += [f"python{python}dist({name}) = {version}" for python in ("3", layout.python)]
    return provides


def canonical(name: str) -> str:
    """The one spelling of a Python distribution's name: PEP 503.

    >>> canonical("QEMU.qmp")
    'qemu-qmp'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def python_evr(version: str) -> Optional[str]:
    """A version of PEP 440 as rpm's generator spells it, which drops zeros at the end; None: it is none.

    >>> python_evr("23.0"), python_evr("1.0rc1"), python_evr("6.67.1"), python_evr("0.8.post2+deb")
    ('23', '1~rc1', '6.67.1', '0.8^post2')
    """
    match = re.fullmatch(r"v?([0-9]+(?:\.[0-9]+)*)(?:(a|b|rc)([0-9]+))?(?:\.post([0-9]+))?(?:\+.*)?", version)
    if match is None:
        return None
    release = re.sub(r"(\.0+)+$", "", match[1])
    if match[2]:
        return f"{release}~{match[2]}{match[3]}"
    return f"{release}^post{match[4]}" if match[4] else release
