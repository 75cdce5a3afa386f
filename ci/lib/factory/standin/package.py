"""An RPM of the stand-in OS, and how rpmbuild makes them: all at once, from one tree that holds all their files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Sequence

from factory.errors import FactoryError
from factory.programs import run

# Built by an rpm that has none of the macros which a distribution adds, and that finds out nothing by itself.
SETTINGS = {
    "__spec_install_pre": "%{___build_pre}",  # the tree is there already: do not begin by removing it
    "__os_install_post": "%{nil}",
    "__spec_install_post": "%{nil}",
    "__check_files": "%{nil}",
    "debug_package": "%{nil}",
    "_build_id_links": "none",
    "_rpmfilename": "%%{NAME}.rpm",
    # Read once and thrown away: time spent on compressing is not made up for. Level 1 is faster than writing it all.
    "_binary_payload": "w1.zstdio",
    "_source_payload": "w1.zstdio",
}


PREFIXES = {"dir": "%dir ", "config": "%config(noreplace) ", "state": "%verify(not md5 mtime size) "}


@dataclass(frozen=True, order=True)
class Entry:
    """One path of a package, as a line of its %files says it.

    :ivar kind: "file", "dir", "link", "config" or "state": a file that is meant to change
    :ivar mode: permissions, with the set-id and sticky bits
    """

    path: str
    kind: str
    mode: int
    user: str = "root"
    group: str = "root"

    def line(self) -> str:
        """The line. Links have neither mode nor owner that matters."""
        prefix = PREFIXES.get(self.kind, "")
        attributes = "" if self.kind == "link" else f"%attr({self.mode:04o},{self.user},{self.group}) "
        return f"{prefix}{attributes}{quoted(self.path)}"


def quoted(path: str) -> str:
    """A path for %files, where "%" begins a macro.

    :raise FactoryError: rpm would look for other names than this one
    """
    if re.search(r"[*?\"]|\[.*\]|\{.*\}", path):
        raise FactoryError(f"{path}: cannot be in an RPM of the stand-in OS: its name is a pattern to rpm")
    return '"' + path.replace("%", "%%") + '"'


@dataclass(frozen=True)
class Package:
    """One RPM.

    :ivar version: "[EPOCH:]VERSION-RELEASE"
    :ivar requires: whole lines: "Requires: bash", "Requires(post): systemd"
    :ivar provides: what comes after "Provides:"
    :ivar sections: the text of %post and all other sections, where @NAME@ is written for "-n" and the package's name
    """

    name: str
    version: str
    noarch: bool
    entries: tuple[Entry, ...] = ()
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    sections: str = ""

    def spec(self, lists: Path) -> str:
        """Its part of the spec.

        :param lists: the directory where its %files are, as a file of its name
        """
        epoch, _, rest = self.version.rpartition(":")
        version, _, release = rest.rpartition("-")
        lines = [
            f"%package -n {self.name}",
            *([f"Epoch: {epoch}"] if epoch else []),
            f"Version: {version}",
            f"Release: {release}",
            f"Summary: Stand-in for {self.name}",
            *(["BuildArch: noarch"] if self.noarch else []),
            "AutoReqProv: no",
            *self.requires,
            *(f"Provides: {provided}" for provided in self.provides),
            f"%description -n {self.name}",
            "Part of a stand-in for EL and Fedora, for building and testing on Debian. Not for use.",
            *(line for line in self.sections.replace("@NAME@", f"-n {self.name}").splitlines() if line[:1] != "#"),
            f"%files -n {self.name}" + (f" -f {lists / self.name}" if self.entries else ""),
        ]
        return "\n".join(lines)


HEAD = """\
Name: standin
Version: 1
Release: 1
Summary: Stand-in for EL and Fedora
License: as the Debian packages
%description
Not for use.
%install
"""


def build(packages: Sequence[Package], tree: Path, output: Path, scratch: Path) -> None:
    """Make the RPMs, each as *output*/NAME.rpm.

    :param tree: where their files are; is gone afterwards
    :param scratch: a directory for what is written on the way
    :raise ProgramFailed: rpmbuild failed
    """
    lists = scratch / "files"
    lists.mkdir(parents=True)
    for package in packages:
        (lists / package.name).write_text("".join(f"{entry.line()}\n" for entry in package.entries))
    spec = scratch / "standin.spec"
    spec.write_text(HEAD + "\n".join(package.spec(lists) for package in packages) + "\n")
    places = {"_topdir": scratch / "top", "_rpmdir": output, "_dbpath": scratch / "rpmdb"}
    settings = [f"--define={name} {value}" for name, value in {**SETTINGS, **places}.items()]
    run("rpmbuild", "-bb", "--quiet", "--nodeps", f"--buildroot={tree}", *settings, spec)


def requires(names: Iterable[str]) -> tuple[str, ...]:
    """Plain requirements."""
    return tuple(f"Requires: {name}" for name in names)
