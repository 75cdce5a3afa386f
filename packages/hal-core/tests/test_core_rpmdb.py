"""rpm's database and RPM files, read through rpm's own bindings: real RPMs, installed into a database apart."""

from __future__ import annotations

import getpass
import grp
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hal_core import rpmdb
from hal_core.errors import FileFormatError, HostError
from hal_core.rpmdb import Package

SPEC = """\
Name: {name}
Epoch: {epoch}
Version: {version}
Release: 1.el9
Summary: A toy
License: Apache-2.0
BuildArch: noarch
%description
A toy.
%install
mkdir -p %{{buildroot}}{target}
echo program > %{{buildroot}}{target}/{name}
echo setting > %{{buildroot}}{target}/{name}.toml
%files
%defattr(-, {user}, {group})
{target}/{name}
%config(noreplace) {target}/{name}.toml
%ghost {target}/{name}.state
"""


@dataclass(frozen=True)
class Host:
    """RPMs, and a database into which some of them are installed."""

    directory: Path

    @property
    def target(self) -> Path:
        """Where the toys put their files."""
        return self.directory / "host"

    def build(self, name: str, version: str, epoch: int = 0) -> Path:
        user, group = getpass.getuser(), grp.getgrgid(os.getgid()).gr_name
        text = SPEC.format(name=name, version=version, epoch=epoch, target=self.target, user=user, group=group)
        spec = self.directory / f"{name}-{version}.spec"
        spec.write_text(text)
        here = ("--define", f"_topdir {self.directory}/build", "--define", f"_dbpath {self.directory}/db")
        run("rpmbuild", "-bb", "--quiet", *here, str(spec))
        return self.directory / f"build/RPMS/noarch/{name}-{version}-1.el9.noarch.rpm"

    def install(self, *files: Path) -> None:
        run("rpm", "--dbpath", f"{self.directory}/db", "--nodeps", "-U", *map(str, files))


def run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    rpm = importlib.import_module("rpm")
    directory = tmp_path_factory.mktemp("rpmdb")
    (directory / "db").mkdir()
    rpm.addMacro("_dbpath", f"{directory}/db")
    host = Host(directory)
    host.install(host.build("hal-toy", "0.1.0"), host.build("hal-apart", "2.0", epoch=3), host.build("halva", "1.0"))
    yield host
    rpm.delMacro("_dbpath")


@pytest.mark.component
def test_installed_packages_by_pattern(host: Host) -> None:
    apart, toy = rpmdb.installed("hal-*")
    assert toy == Package("hal-toy", 0, "0.1.0", "1.el9", "noarch", toy.installed)
    assert toy.installed == int(toy.installed or 0) > 1_700_000_000
    assert (apart.evr, apart.nevra) == ("3:2.0-1.el9", "hal-apart-3:2.0-1.el9.noarch")
    assert rpmdb.installed("hal") == ()


@pytest.mark.component
def test_the_owner_of_a_file(host: Host) -> None:
    owner = rpmdb.owner(f"{host.target}/halva.toml")
    assert owner is not None
    assert owner.name == "halva"
    assert rpmdb.owner(f"{host.target}/halva.orig") is None


@pytest.mark.component
def test_changed_files(host: Host) -> None:
    assert rpmdb.changes("hal-*") == ()
    program, settings = host.target / "hal-toy", host.target / "hal-toy.toml"
    apart, other = host.target / "hal-apart", host.target / "halva"
    # Each has its own time: they were built one after the other.
    before = {path: (path.read_bytes(), path.stat().st_mtime) for path in (program, settings, apart, other)}
    program.write_text("PROGRAM\n")
    program.chmod(0o777)
    os.utime(program, (before[program][1],) * 2)
    settings.write_text("a longer setting\n")
    apart.unlink()
    other.unlink()
    found = rpmdb.changes("hal-*")
    assert [(os.path.basename(change.path), change.config) for change in found] == [
        ("hal-apart", False),
        ("hal-toy", False),
        ("hal-toy.toml", True),
    ]
    assert [change.what for change in found[:2]] == [("missing",), ("mode", "content")]
    assert {"size", "content"} <= set(found[2].what)
    for path, (data, stamp) in before.items():
        path.write_bytes(data)
        path.chmod(0o644)
        os.utime(path, (stamp, stamp))
    assert rpmdb.changes("hal-*") == ()


@pytest.mark.component
def test_an_rpm_file_says_what_it_is(host: Host) -> None:
    package = rpmdb.read(str(host.build("hal-toy", "0.10.0", epoch=1)))
    assert package == Package("hal-toy", 1, "0.10.0", "1.el9", "noarch", None)


@pytest.mark.component
def test_a_file_that_is_no_rpm_or_damaged(host: Host, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = host.build("hal-toy", "0.1.0").read_bytes()
    at = whole.index(b"A toy")
    for name, content in (
        ("empty", b""),
        ("text", b"not an RPM" * 100),
        ("cut", whole[:500]),
        ("changed", whole[:at] + b"B toy" + whole[at + 5 :]),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileFormatError, match=rf"{name}: not an RPM, or damaged"):
            rpmdb.read(str(tmp_path / name))
    with pytest.raises(FileNotFoundError):
        rpmdb.read(str(tmp_path / "nothing"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.component
@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("0.1.0", "0.1.0", 0),
        ("0.9.0", "0.10.0", -1),
        ("0.1.0", "0.1.0~rc1", 1),
        ("1:0.1", "0.2", 1),
        ("0:0.1", "0.1", 0),
    ],
)
def test_which_is_newer(one: str, other: str, expected: int) -> None:
    def package(text: str) -> Package:
        epoch, colon, version = text.rpartition(":")
        return Package("hal-toy", int(epoch) if colon else None, version, "1", "noarch", None)

    assert rpmdb.compare(package(one), package(other)) == expected
    assert rpmdb.compare(package(other), package(one)) == -expected


@pytest.mark.component
def test_a_damaged_database_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rpm = importlib.import_module("rpm")
    (tmp_path / "rpmdb.sqlite").write_bytes(b"no database" * 1000)
    rpm.addMacro("_dbpath", str(tmp_path))
    try:
        with pytest.raises(HostError, match=f"database in {tmp_path} cannot be read") as caught:
            rpmdb.installed("hal-*")
    finally:
        rpm.delMacro("_dbpath")
    assert "\n" not in caught.value.message
    assert capfd.readouterr() == ("", "")


@pytest.mark.component
@pytest.mark.parametrize("directory", ["missing", "."])
def test_where_there_is_no_database_none_is_made(tmp_path: Path, directory: str) -> None:
    rpm = importlib.import_module("rpm")
    rpm.addMacro("_dbpath", str(tmp_path / directory))
    try:
        assert rpmdb.installed("hal-*") == ()
        assert rpmdb.owner("/bin/sh") is None
        assert rpmdb.changes("hal-*") == ()
    finally:
        rpm.delMacro("_dbpath")
    assert list(tmp_path.iterdir()) == []


def test_without_the_bindings_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rpm", None)  # how one says that a module is not there
    for ask in (lambda: rpmdb.installed("hal-*"), lambda: rpmdb.owner("/x"), lambda: rpmdb.changes("hal-*")):
        with pytest.raises(HostError) as caught:
            ask()
        assert str(caught.value) == "rpm cannot be asked: python3-rpm is not installed (dnf install python3-rpm)"


def test_names_without_an_epoch() -> None:
    package = Package("hal-core", None, "0.1.0", "1.el9", "noarch", None)
    assert (package.evr, package.nevra) == ("0.1.0-1.el9", "hal-core-0.1.0-1.el9.noarch")


def test_importing_it_asks_nothing() -> None:
    program = "import sys; from hal_core import rpmdb, selinux_status; print({'rpm', 'selinux'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown == "set()\n"


def test_only_hal_version_pays_for_it() -> None:
    """Whatever else a host starts, launcher and guest manager above all, must not import it."""
    sources = Path(rpmdb.__file__).parent.rglob("*.py")
    users = {path.name for path in sources if "rpmdb" in path.read_text() and path.name != "rpmdb.py"}
    assert users == {"versions.py", "version_command.py"}
