"""The stand-in OS with real dpkg-deb, rpmbuild, rpm and createrepo_c: a Debian of two packages, made here."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

from factory import standin, target
from factory.errors import FactoryError
from factory.programs import run
from factory.standin import closure, names, policy, store
from factory.standin.closure import Deb

NEEDED = ("dpkg-deb", "rpmbuild", "rpm", "createrepo_c")
pytestmark = [
    pytest.mark.component,
    pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason=f"needs {', '.join(NEEDED)}"),
    pytest.mark.skipif(
        not Path(f"/usr/bin/python3.{sys.version_info[1]}").exists(), reason="needs Debian's own Python"
    ),
]
PYTHON = f"3.{sys.version_info[1]}"
EL9 = target.parse("el9")


class Debian:
    """A few Debian packages, and apt's answer to what there is."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self.files: dict[str, Path] = {}
        self.debs: list[Deb] = []

    def add(
        self, name: str, files: dict[str, str], links: dict[str, str] | None = None, version: str = "1:1.0-1"
    ) -> None:
        """Make a package, in place of an older one of that name."""
        tree = self._base / name
        shutil.rmtree(tree, ignore_errors=True)
        for path, text in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
        for path, says in (links or {}).items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).symlink_to(says)
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: x\nDescription: x\n"
        )
        file = self._base / f"{name}.deb"
        run("dpkg-deb", "--root-owner-group", "--build", tree, file)
        self.files[name] = file
        self.debs = [deb for deb in self.debs if deb.name != name]
        self.debs.append(Deb(name, version, "all", (), hashlib.sha256(file.read_bytes()).hexdigest()))


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Debian:
    """Debian. Only apt is a fake, and so is the policy, which takes half a minute to link."""
    made = Debian(tmp_path / "debian")
    made.add(
        f"python{PYTHON}",
        {
            "bin/hello": "#!/bin/sh\n",
            f"usr/lib/python{PYTHON}/hello.py": "GREETING = 'hello'\n",
            "usr/lib/python3/dist-packages/hello-1.0.dist-info/METADATA": "Name: hello\nVersion: 1.0\n",
            "etc/hello.conf": "greeting = hello\n",
            "usr/share/doc/hello/README": "Say it.\n",
        },
        {"sbin/hello": "../bin/hello", "usr/bin/hallo": "../../bin/hello"},
    )
    for name in names.POLICY:
        made.add(name, {"usr/share/x": name})

    def build(deb: Deb, files: dict[str, Path], output: Path) -> None:
        assert set(files) == set(names.POLICY)

    def download(kept: store.Store, debs: list[Deb], new: Path, progress: Callable[[str], None]) -> None:
        for deb in debs:
            shutil.copy(made.files[deb.name], kept._file(deb))

    monkeypatch.setattr(policy, "build", build)
    monkeypatch.setattr(store.Store, "_download", download)
    monkeypatch.setattr(closure, "apt_state", lambda: "")
    monkeypatch.setattr(closure, "debs", lambda cache, state: tuple(made.debs))
    return made


def query(rpm: Path, *options: str) -> list[str]:
    return run("rpm", "--query", "--package", "--nodigest", "--nosignature", *options, rpm).splitlines()


def test_a_debian_package_becomes_an_rpm(debian: Debian, tmp_path: Path) -> None:
    said: list[str] = []
    made = standin.repository(EL9, tmp_path / "work", said.append)
    rpm = made / f"python{PYTHON}.rpm"
    assert query(rpm, "--queryformat", "%{EPOCH}:%{VERSION}-%{RELEASE} %{ARCH}") == ["1:1.0-1 noarch"]
    listed = set(query(rpm, "--list"))
    assert {"/usr/bin/hello", "/usr/sbin/hello", "/usr/bin/hallo", "/etc/hello.conf"} <= listed
    assert f"/usr/lib/python{PYTHON}/__pycache__/hello.cpython-{PYTHON.replace('.', '')}.pyc" in listed
    assert not any(path.startswith(("/bin", "/sbin", "/usr/share/doc")) for path in listed)
    assert query(rpm, "--configfiles") == ["/etc/hello.conf"]
    assert {f"python(abi) = {PYTHON}", "python3dist(hello) = 1", f"python{PYTHON}dist(hello) = 1"} <= set(
        query(rpm, "--provides")
    )
    links = query(rpm, "--queryformat", "[%{FILENAMES} %{FILELINKTOS}\n]")
    assert {"/usr/sbin/hello ../bin/hello", "/usr/bin/hallo hello"} <= set(links)
    assert said == ["converting 1 Debian packages", "linking Debian's SELinux policy", "making the repository for el9"]


def test_the_repository_is_kept_and_its_packages_are_shared_by_all_targets(debian: Debian, tmp_path: Path) -> None:
    work = tmp_path / "work"
    first = standin.repository(EL9, work, print)
    said: list[str] = []
    assert standin.repository(EL9, work, said.append) == first
    assert said == []
    fedora = standin.repository(target.parse("fc43"), work, said.append)
    assert said == ["making the repository for fc43"]
    rpm = f"python{PYTHON}.rpm"
    assert (first / rpm).samefile(fedora / rpm)
    assert (first / "repodata/repomd.xml").exists()
    assert first.exists()


def test_a_new_version_is_another_repository_and_the_old_one_goes(debian: Debian, tmp_path: Path) -> None:
    work = tmp_path / "work"
    before, first = standin.key(EL9, work), standin.repository(EL9, work, print)
    debian.add(f"python{PYTHON}", {"usr/bin/hello": "new"}, version="1:1.1-1")
    assert standin.key(EL9, work) != before
    second = standin.repository(EL9, work, print)
    assert query(second / f"python{PYTHON}.rpm", "--queryformat", "%{VERSION}") == ["1.1"]
    assert not first.exists()
    assert len(list((work / "debs").iterdir())) == 3


def test_a_make_that_was_interrupted_leaves_nothing_that_is_used(
    debian: Debian, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"

    def interrupted(*arguments: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "run", interrupted)  # createrepo_c, the last step
        with pytest.raises(KeyboardInterrupt):
            standin.repository(EL9, work, print)
    assert list((work / "repositories").iterdir()) == []
    (work / "new-killed").mkdir()  # as after a kill -9
    assert (standin.repository(EL9, work, print) / "repodata").exists()
    assert list(work.glob("new-*")) == []


def test_faults_of_several_packages_are_told_in_one_line(debian: Debian, tmp_path: Path) -> None:
    for name in ("broken", "torn"):
        debian.add(name, {"usr/x": name})
        debian.files[name].write_bytes(b"not a package")
    with pytest.raises(FactoryError) as caught:
        standin.repository(EL9, tmp_path / "work", print)
    message = str(caught.value)
    assert message.startswith("2 of 3 Debian packages cannot be unpacked: broken (")
    assert "torn (" in message
    assert "\n" not in message
    assert list((tmp_path / "work/repositories").iterdir()) == []


def test_a_file_in_two_packages_is_a_fault(debian: Debian, tmp_path: Path) -> None:
    debian.add("other", {"usr/bin/hello": "mine"})
    with pytest.raises(FactoryError, match=r"/usr/bin/hello is in another package too"):
        standin.repository(EL9, tmp_path / "work", print)


def evaluated(made: Path, tmp_path: Path, *expressions: str) -> list[str]:
    """What rpm makes of macros, with those of the stand-in OS: unpacked from its own packages."""
    macros = tmp_path / "macros"
    for name in ("centos-stream-release", "python3-rpm-macros", "systemd-rpm-macros", "selinux-policy-macros"):
        payload = subprocess.run(["rpm2cpio", made / f"{name}.rpm"], capture_output=True, check=True).stdout
        macros.mkdir(exist_ok=True)
        subprocess.run(["cpio", "-id", "--quiet"], input=payload, cwd=macros, check=True)
    files = sorted((macros / "usr/lib/rpm/macros.d").iterdir())
    path = ":".join(["/usr/lib/rpm/macros", *map(str, files)])
    return [run("rpm", f"--macros={path}", f"--eval={expression}").strip() for expression in expressions]


@pytest.mark.skipif(not shutil.which("cpio"), reason="needs cpio")
def test_rpm_understands_the_macros(debian: Debian, tmp_path: Path) -> None:
    made = standin.repository(EL9, tmp_path / "work", print)
    dist, site, wanted, pyc, post, install = evaluated(
        made,
        tmp_path,
        "%{?dist} %{?rhel} %{?el9}",
        "%python3_sitelib",
        "%{py3_dist QEMU}",
        "%{pycached /a/b.py}",
        "%systemd_post a.service b.service",
        "%selinux_modules_install -p 300 -s targeted /x.pp.bz2",
    )
    assert dist == ".el9 9 1"
    assert site == f"/usr/lib/python{PYTHON}/site-packages"
    assert wanted == "python3dist(qemu)"
    assert pyc.splitlines() == ["/a/b.py", f"/a/__pycache__/b.cpython-{PYTHON.replace('.', '')}{{,.opt-?}}.pyc"]
    assert "systemd-update-helper install-system-units a.service b.service || :" in post
    assert "semodule -n -s ${_policytype} -X 300 -i /x.pp.bz2" in install
