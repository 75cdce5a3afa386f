"""HAL's policy modules, built, and linked with Debian's reference policy into a throw-away store: no SELinux is needed.

What takes seconds is kept below ``.cache/selinux`` for as long as its sources stay the same: the base policy in a store
(25 s), and what the policy says once HAL's modules are linked with it (10 s).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Callable

import pytest

PACKAGE = Path(__file__).resolve().parents[1]
CACHE = PACKAGE.parents[1] / ".cache" / "selinux"
BASE_MODULES = Path("/usr/share/selinux/default")
HEADERS = Path("/usr/share/selinux/devel/include")
FILE_CONTEXTS = "etc/selinux/targeted/contexts/files/file_contexts"
# sbin: semodule and matchpathcon are there.
ENVIRONMENT = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "LC_ALL": "C"}


def run(*argv: str | Path, cwd: Path = PACKAGE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def done(*argv: str | Path, cwd: Path = PACKAGE) -> str:
    """Standard output of a program that has to succeed."""
    result = run(*argv, cwd=cwd)
    assert result.returncode == 0, f"{argv[0]}: {result.stderr}{result.stdout}"
    return result.stdout


def sources() -> list[Path]:
    return sorted(path for suffix in ("te", "fc", "if") for path in PACKAGE.glob(f"*.{suffix}"))


def key(files: Iterable[Path]) -> str:
    """Of the content of our own files, and of the size and time of the system's."""
    digest = hashlib.sha256()
    for path in files:
        status = path.stat()
        ours = path.is_relative_to(PACKAGE)
        digest.update(f"{path} {'' if ours else (status.st_size, status.st_mtime_ns)}\n".encode())
        digest.update(path.read_bytes() if ours else b"")
    return digest.hexdigest()[:16]


def kept(name: str, of: str, make: Callable[[Path], None]) -> Path:
    """The directory ``name`` in the cache, made when it is not there for the key ``of``; older ones are removed."""
    directory = CACHE / f"{name}-{of}"
    if not directory.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        unfinished = CACHE / f"{name}-{of}.{os.getpid()}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        make(unfinished)
        for old in CACHE.glob(f"{name}-????????????????"):
            shutil.rmtree(old)
        unfinished.rename(directory)
    return directory


def build(directory: Path, changes: Mapping[str, str]) -> None:
    """Compile the modules in a directory; *changes*: file name → what is appended to it."""
    headers = directory / "headers"
    shutil.copytree(HEADERS, headers)
    shutil.copy(PACKAGE / "compat/refpolicy.if", headers / "system/hal_compat.if")
    for path in [*sources(), PACKAGE / "Makefile"]:
        shutil.copy(path, directory)
    for name, text in changes.items():
        with (directory / name).open("a", encoding="utf-8") as file:
            file.write(text)
    done("make", f"HEADERDIR={headers}", "NAME=targeted", cwd=directory)


def make_base(root: Path) -> None:
    """A store with Debian's policy under the name that EL has for its own."""
    (root / "var/lib/selinux/targeted/active/modules").mkdir(parents=True)
    shutil.copytree("/etc/selinux/default", root / "etc/selinux/targeted", symlinks=True)
    # Neverallow rules are only checked when one asks for it.
    (root / "etc/selinux/semanage.conf").write_text("module-store = direct\nexpand-check = 1\n")
    semodule(root, 100, BASE_MODULES.glob("*.pp*"))


def semodule(root: Path, priority: int, modules: Iterable[Path]) -> None:
    result = link(root, priority, modules)
    assert result.returncode == 0, result.stderr


def link(root: Path, priority: int, modules: Iterable[Path]) -> subprocess.CompletedProcess[str]:
    store = ("--path", root, "--store", "targeted", "--noreload", "--priority", str(priority))
    return run("semodule", *store, "--install", *sorted(modules))


@pytest.fixture(scope="session")
def base_store() -> Path:
    """The root of a store with the base policy only: copy it, link with the copy."""
    wanted = (BASE_MODULES / "base.pp.bz2", HEADERS / "Makefile", Path("/usr/bin/sesearch"))
    missing = [str(path) for path in wanted if not path.exists()]
    if missing:
        pytest.skip(f"the reference policy and its tools are not installed: {', '.join(missing)}")
    return kept("base", key(sorted(BASE_MODULES.glob("*.pp*"))), make_base)


@pytest.fixture(scope="session")
def linked(base_store: Path) -> Path:
    """A directory with the linked policy's ``facts.json`` (read_policy.py) and ``file_contexts``."""

    def make(directory: Path) -> None:
        store = directory / "store"
        shutil.copytree(base_store, store, symlinks=True)
        (directory / "build").mkdir()
        build(directory / "build", {})
        semodule(store, 200, (directory / "build").glob("*.pp"))
        policy = next((store / "etc/selinux/targeted/policy").glob("policy.*"))
        facts = done("/usr/bin/python3", PACKAGE / "tests/read_policy.py", policy)
        (directory / "facts.json").write_text(facts)
        for path in (store / FILE_CONTEXTS).parent.glob("file_contexts*"):
            shutil.copy(path, directory)
        shutil.rmtree(store)
        shutil.rmtree(directory / "build")

    ours = [*sources(), PACKAGE / "Makefile", *PACKAGE.glob("compat/*.if"), PACKAGE / "tests/read_policy.py"]
    return kept("linked", key([*ours, *sorted(HEADERS.rglob("*.if")), *base_store.glob("etc/selinux/*.conf")]), make)


@pytest.fixture(scope="session")
def facts(linked: Path) -> dict[str, Any]:
    """What the linked policy says about HAL's types: see read_policy.py."""
    value: dict[str, Any] = json.loads((linked / "facts.json").read_text())
    return value


@pytest.fixture(scope="session")
def label(linked: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """The type that a path gets: ``label(path, kind)``, a kind being "file", "dir", "sock", "pipe" or "chr_file".

    With ``equivalences=…``: as with another distribution's file_contexts.subs_dist, "/run /var/run".
    """

    def look_up(path: str, kind: str, equivalences: str = "") -> str:
        contexts = linked / "file_contexts"
        if equivalences:
            contexts = tmp_path_factory.mktemp("contexts") / "file_contexts"
            shutil.copy(linked / "file_contexts", contexts)
            contexts.with_suffix(".subs_dist").write_text(equivalences + "\n")
        return done("matchpathcon", "-n", "-m", kind, "-f", contexts, path).split(":")[2]

    return look_up


@pytest.fixture
def link_changed(base_store: Path, tmp_path: Path) -> Callable[[Mapping[str, str]], subprocess.CompletedProcess[str]]:
    """Build the modules with something appended to some of their files, and try to link them."""

    def link_with(changes: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        shutil.copytree(base_store, tmp_path / "store", symlinks=True)
        (tmp_path / "build").mkdir()
        build(tmp_path / "build", changes)
        return link(tmp_path / "store", 200, (tmp_path / "build").glob("*.pp"))

    return link_with


@pytest.fixture
def expanded(base_store: Path, tmp_path: Path) -> Callable[[str], str]:
    """A module of somebody else's that uses HAL's interfaces, compiled; its text after m4 has expanded them."""

    def expand(module: str) -> str:
        build(tmp_path, {"neighbour.te": module})
        return (tmp_path / "tmp/neighbour.tmp").read_text()

    return expand
