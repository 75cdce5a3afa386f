"""Every Python package builds the same, complete wheel with the setuptools of EL9, of EL10, and with a new one.

Built as an RPM's %pyproject_wheel builds: by pip, without isolation, from a copy of what is in the tarball.
"""

from __future__ import annotations

import configparser
import email.message
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import pytest

import interpreters

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache/wheels"
pytestmark = pytest.mark.component

PACKAGES = sorted(path.parent for path in ROOT.glob("packages/*/setup.cfg"))


@dataclass(frozen=True)
class Tools:
    """What builds a wheel on a target."""

    setuptools: str
    wheel: Optional[str]  # setuptools has its own bdist_wheel since 70.1
    python: Optional[str] = None  # None: the interpreter that runs this

    def __str__(self) -> str:
        return f"setuptools-{self.setuptools}" + (f"-python{self.python}" if self.python else "")


EL9 = Tools("53.0.0", "0.36.2", "3.9")
TOOLS = (Tools("53.0.0", "0.36.2"), Tools("69.0.3", "0.41.2"), Tools("80.9.0", None))


@dataclass(frozen=True)
class Wheel:
    """What is in a wheel, without what may differ between versions of setuptools."""

    name: str  # of the file
    files: frozenset[str]
    metadata: frozenset[tuple[str, str]]
    entry_points: str


def built(packages: Sequence[Path], tools: Tools, python: str, directory: Path) -> list[Wheel]:
    """The wheels of packages, built in copies: nothing is left in the working tree.

    By one pip, which starts the build of each in a process of its own.
    """
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for package in packages:
        shutil.copytree(package, directory / package.name, ignore=ignored)
        shutil.copy(ROOT / "LICENSE", directory / package.name)  # as in the tarball
    run(
        *(python, "-m", "pip", "wheel", "--disable-pip-version-check", "--no-build-isolation", "--no-deps"),
        *("--no-index", "--no-cache-dir", "--wheel-dir", str(directory)),
        *(str(directory / package.name) for package in packages),
        pythonpath=installed(tools),
    )
    wheels = [read(path) for path in sorted(directory.glob("*.whl"))]  # by name, as the packages are
    assert len(wheels) == len(packages)
    return wheels


def installed(tools: Tools) -> Path:
    """The directory with these versions, from the package index the first time and from the cache ever after."""
    directory = CACHE / f"setuptools-{tools.setuptools}"
    if not directory.is_dir():
        wanted = [f"setuptools=={tools.setuptools}", *([f"wheel=={tools.wheel}"] if tools.wheel else [])]
        half = directory.with_suffix(f".{os.getpid()}.new")
        pip = (sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--quiet")
        run(*pip, "--target", str(half), *wanted)
        half.rename(directory)
    return directory


def run(*argv: str, pythonpath: Optional[Path] = None) -> None:
    variables = {**os.environ, **({"PYTHONPATH": str(pythonpath)} if pythonpath else {})}
    done = subprocess.run(argv, env=variables, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr


def read(path: Path) -> Wheel:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        (info,) = {name.split("/")[0] for name in names if name.split("/")[0].endswith(".dist-info")}
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        entry_points = f"{info}/entry_points.txt"
        return Wheel(
            path.name,
            # Only where the licence lies has changed.
            frozenset(re.sub(r"\.dist-info/licenses/", ".dist-info/", name) for name in names),
            frozenset(essentials(metadata)),
            archive.read(entry_points).decode().strip() if entry_points in names else "",
        )


def essentials(metadata: email.message.Message) -> list[tuple[str, str]]:
    """Name and value of what a package is judged by, without the spaces that some versions write."""
    renamed = {"License-Expression": "License"}
    wanted = {"Name", "Version", "Summary", "Requires-Python", "Requires-Dist", "License"}
    found = [(renamed.get(key, key), re.sub(r"[ ()\"']", "", str(value))) for key, value in metadata.items()]
    return [(key, value) for key, value in found if key in wanted]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[Path, Tools], Wheel]:
    return {
        (package, tools): wheel
        for tools in TOOLS
        for package, wheel in zip(PACKAGES, built(PACKAGES, tools, sys.executable, tmp_path_factory.mktemp(str(tools))))
    }


@pytest.mark.parametrize("tools", TOOLS, ids=str)
@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_a_wheel_is_what_the_package_says(package: Path, tools: Tools, wheels: dict[tuple[Path, Tools], Wheel]) -> None:
    check(package, wheels[package, tools])


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_every_version_builds_the_same(package: Path, wheels: dict[tuple[Path, Tools], Wheel]) -> None:
    first, *others = (wheels[package, tools] for tools in TOOLS)
    for other in others:
        assert other == first


def test_el9s_python_with_el9s_setuptools(tmp_path: Path, wheels: dict[tuple[Path, Tools], Wheel]) -> None:
    python = interpreters.find().get("3.9")
    if python is None:
        pytest.skip("there is no Python 3.9 here")
    run(python.path, "-m", "venv", str(tmp_path / "venv"))
    (tmp_path / "build").mkdir()
    for package, wheel in zip(PACKAGES, built(PACKAGES, EL9, str(tmp_path / "venv/bin/python"), tmp_path / "build")):
        assert wheel == wheels[package, TOOLS[0]]


def test_why_the_metadata_is_in_setup_cfg(tmp_path: Path) -> None:
    """EL9's setuptools does not know ``[project]``, and says nothing of it: the tests above must find that."""
    package = tmp_path / "hal-toy"
    (package / "src/hal_toy").mkdir(parents=True)
    (package / "src/hal_toy/__init__.py").write_text("")
    (package / "pyproject.toml").write_text(
        (PACKAGES[0] / "pyproject.toml").read_text() + '[project]\nname = "hal-toy"\nversion = "0.1.0"\n'
    )
    (tmp_path / "build").mkdir()
    (wheel,) = built([package], TOOLS[0], sys.executable, tmp_path / "build")
    assert wheel.name == "UNKNOWN-0.0.0-py3-none-any.whl"


def check(package: Path, wheel: Wheel) -> None:
    """Compare with setup.cfg and with what lies in the package's directory."""
    setup = configparser.ConfigParser()
    setup.read(package / "setup.cfg")
    name, version = setup["metadata"]["name"], setup["metadata"]["version"]
    stem = f"{name.replace('-', '_')}-{version}"
    assert wheel.name == f"{stem}-py3-none-any.whl"
    assert {
        ("Name", name),
        ("Version", version),
        ("Summary", setup["metadata"]["description"].replace(" ", "").replace("'", "")),
        ("Requires-Python", setup["options"]["python_requires"].replace(" ", "")),
        ("License", "Apache-2.0"),
    } <= wheel.metadata
    declared = [re.sub(r"[ \"']", "", line) for line in setup["options"]["install_requires"].split("\n") if line]
    assert sorted(value for key, value in wheel.metadata if key == "Requires-Dist") == sorted(declared)
    entry_points = dict(setup["options.entry_points"]) if setup.has_section("options.entry_points") else {}
    for group, lines in entry_points.items():
        assert f"[{group}]" in wheel.entry_points
        assert all(line.strip() in wheel.entry_points for line in lines.split("\n"))

    in_tree = {str(path.relative_to(package / "src")) for path in (package / "src").rglob("*.py")}
    typed = {f"{path.parent.name}/py.typed" for path in (package / "src").glob("*/__init__.py")}
    scripts = {f"{stem}.data/scripts/{path.name}" for path in (package / "bin").iterdir()}
    about = {f"{stem}.dist-info/{file}" for file in ("LICENSE", "METADATA", "RECORD", "WHEEL", "top_level.txt")}
    about |= {f"{stem}.dist-info/entry_points.txt"} if entry_points else set()
    assert wheel.files == in_tree | typed | scripts | about
