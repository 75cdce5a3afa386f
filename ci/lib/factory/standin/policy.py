"""Debian's reference policy as EL's packages have theirs: a store called "targeted" that modules are linked with, and
the headers that they are built against.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from factory.programs import run
from factory.standin import names, package
from factory.standin.closure import Deb
from factory.standin.convert import evr
from factory.standin.own import HERE
from factory.standin.package import Entry, Package, requires

MODULES = "usr/share/selinux/default"
HEADERS = "usr/share/selinux/devel/include"
# EL's names for the interfaces that the reference policy calls otherwise.
COMPATIBILITY = HERE.parents[3] / "packages/hal-selinux/compat/refpolicy.if"

# EL's, where the module of the policy is MCS too. Debian's default would look for the policy "default".
MAKEFILE = """\
NAME ?= $(strip $(shell awk -F= '/^SELINUXTYPE/{ print $$2 }' /etc/selinux/config))
TYPE ?= mcs
HEADERDIR := /usr/share/selinux/devel/include
SBINDIR := /usr/sbin
include $(HEADERDIR)/Makefile
"""
# EL's, but for the block size: without compression, linking takes half the time here, and less in every transaction.
# Neverallow rules are checked where a test asks for it.
SEMANAGE = "module-store = direct\nexpand-check = 0\nusepasswd = False\nignoredirs = /root\nbzip-blocksize = 0\n"
CONFIG = "# Read by libselinux.\nSELINUX=enforcing\nSELINUXTYPE=targeted\n"


def version(deb: Deb) -> str:
    """The version of all policy packages."""
    return evr(deb.version).rpartition(":")[2]


def build(deb: Deb, files: dict[str, Path], output: Path) -> None:
    """Make the RPMs, each as *output*/NAME.rpm.

    :param deb: one of the sources: all have its version
    :param files: name of a Debian package → its file, for :data:`names.POLICY`
    :raise ProgramFailed: a program failed
    """
    with tempfile.TemporaryDirectory(dir=output, prefix="policy-") as scratch:
        debian, tree = Path(scratch, "debian"), Path(scratch, "tree")
        for name in names.POLICY:
            run("dpkg-deb", "--extract", files[name], debian)
        link(debian, tree)
        headers(debian, tree)
        package.build(packages(version(deb), tree), tree, output, Path(scratch, "build"))


def link(debian: Path, tree: Path) -> None:
    """Install Debian's modules into a store, as EL's package brings it, linked."""
    configuration, store = tree / "etc/selinux", tree / "var/lib/selinux/targeted/active"
    (store / "modules").mkdir(parents=True)
    shutil.copytree(debian / "etc/selinux/default", configuration / "targeted", symlinks=True)
    (configuration / "config").write_text(CONFIG)
    (configuration / "semanage.conf").write_text(SEMANAGE)
    modules = sorted((debian / MODULES).glob("*.pp*"))
    run("semodule", "--path", tree, "--store", "targeted", "--noreload", "--priority", "100", "--install", *modules)
    # Linking reads CIL only. What it was made from is three times its size, and every transaction copies the store.
    for source in store.glob("modules/100/*/hll"):
        source.unlink()
        (source.parent / "lang_ext").write_text("cil")


def headers(debian: Path, tree: Path) -> None:
    """The interfaces of Debian's policy, and EL's names for those that it calls otherwise."""
    devel = tree / "usr/share/selinux/devel"
    shutil.copytree(debian / HEADERS, devel / "include", symlinks=True)
    shutil.copy(COMPATIBILITY, devel / "include/services/standin_compat.if")
    (devel / "Makefile").write_text(MAKEFILE)


def packages(version: str, tree: Path) -> list[Package]:
    """EL's three packages."""
    same = f"= {version}"
    return [
        Package(
            "selinux-policy",
            version,
            noarch=True,
            entries=(Entry("/etc/selinux/config", "config", 0o644),),
            requires=requires([f"selinux-policy-macros {same}"]),
        ),
        Package(
            "selinux-policy-targeted",
            version,
            noarch=True,
            entries=entries(tree, "etc/selinux/targeted", "var/lib/selinux"),
            requires=requires([f"selinux-policy {same}", "policycoreutils"]),
            provides=(f"selinux-policy-base {same}", f"selinux-policy-any {same}"),
        ),
        Package(
            "selinux-policy-devel",
            version,
            noarch=True,
            entries=entries(tree, "usr/share/selinux"),
            requires=requires([f"selinux-policy {same}", "checkpolicy", "semodule-utils", "m4", "make", "gawk"]),
        ),
    ]


def entries(tree: Path, *tops: str) -> tuple[Entry, ...]:
    """Everything below some directories, as it is there."""
    found = []
    for top in tops:
        for path in [tree / top, *sorted((tree / top).rglob("*"))]:
            name, mode = f"/{path.relative_to(tree)}", path.lstat().st_mode & 0o7777
            kind = "link" if path.is_symlink() else "dir" if path.is_dir() else "state"
            found.append(Entry(name, kind, mode))
    return tuple(found)
