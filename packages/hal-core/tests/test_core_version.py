"""hal version: what it tells of RPMs, of a working tree, of SELinux, and of files that were changed."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from hal_core import rpmdb, selinux_status, version_command, versions
from hal_core.errors import HostError
from hal_core.rpmdb import Change, Package
from hal_core.selinux_status import SELinux
from hal_core.versions import Confined, Installed, Versions

CORE = Package("hal-core", None, "0.1.0", "1.el9", "noarch", 1_795_000_000)
QEMU = Package("qemu-kvm-core", 17, "9.1.0", "15.el9", "x86_64", 1_795_000_000)
HOST = Versions(
    packages=(Installed("hal-core", "0.1.0-1.el9", "noarch", 1_795_000_000, "RPM", None),),
    code="/usr/lib/python3.9/site-packages/hal_core",
    code_from_rpm=True,
    rpm_problem=None,
    os="AlmaLinux 9.6 (Sage Margay)",
    kernel="5.14.0-570.el9.x86_64",
    qemu="qemu-kvm-core-17:9.1.0-15.el9.x86_64",
    selinux=SELinux("enforcing", "targeted"),
    policy_modules=("hal_qemu", "hal_vmm"),
    services=(Confined("hal-qemu.service", 1234, "system_u:system_r:hal_qemu_t:s0"),),
)
EDITED = Change("/etc/hal/hal.toml", ("size", "content"), True)
DAMAGED = Change("/usr/bin/hal", ("content",), False)


@pytest.fixture
def rpm_host(monkeypatch: pytest.MonkeyPatch) -> list[Change]:
    """A host whose HAL came from an RPM, as rpmdb would tell it; the list is what was changed."""
    changes: list[Change] = []
    monkeypatch.setattr(rpmdb, "installed", lambda pattern: (CORE,))
    monkeypatch.setattr(rpmdb, "owner", lambda path: QEMU if "qemu" in path else CORE)
    monkeypatch.setattr(rpmdb, "changes", lambda pattern: tuple(changes))
    return changes


@pytest.fixture
def no_rpm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rpm", None)


@pytest.mark.usefixtures("rpm_host")
def test_a_host_from_rpms(capsys: pytest.CaptureFixture[str]) -> None:
    assert version_command.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["package", "version", "installed", "from"]
    assert lines[1].split()[:2] == ["hal-core", "0.1.0-1.el9"]
    assert lines[1].endswith("  RPM")
    assert f"Kernel:   {os.uname().release}" in lines
    assert not any(line.startswith(("Note", "Warning")) for line in lines)


def test_the_report_of_a_whole_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.localtime", time.gmtime)
    assert (
        version_command.render(HOST, (DAMAGED, EDITED))
        == """\
package   version      installed         from
hal-core  0.1.0-1.el9  2026-11-18 11:06  RPM

OS:       AlmaLinux 9.6 (Sage Margay)
Kernel:   5.14.0-570.el9.x86_64
QEMU:     qemu-kvm-core-17:9.1.0-15.el9.x86_64
SELinux:  enforcing, targeted policy, modules hal_qemu, hal_vmm

service            pid  SELinux context
hal-qemu.service  1234  system_u:system_r:hal_qemu_t:s0

changed file       what           kind
/usr/bin/hal       content        -
/etc/hal/hal.toml  size, content  configuration"""
    )


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"selinux": SELinux("disabled", None)}, "SELinux:  disabled"),
        ({"selinux": SELinux("unknown", None)}, "SELinux:  unknown (python3-libselinux is not installed, or its "),
        ({"policy_modules": ()}, "SELinux:  enforcing, targeted policy, no module of HAL"),
        ({"policy_modules": None}, "SELinux:  enforcing, targeted policy, which modules, only root may know"),
        ({"code": "/root/x", "code_from_rpm": False}, "Warning:  this command is not the RPMs': it runs from /root/x"),
        ({"qemu": None, "os": None}, "OS:       unknown"),
        ({"qemu": None, "os": None}, "QEMU:     not from an RPM"),
        ({"rpm_problem": "no rpm (do it)"}, "Note:     no rpm (do it)"),
        ({"packages": (), "code": "/x/hal_core"}, "No HAL package is installed here: this is /x/hal_core"),
    ],
)
def test_what_is_missing_is_said(changed: dict[str, object], line: str) -> None:
    report = version_command.render(dataclasses.replace(HOST, **changed), None)  # type: ignore[arg-type]
    assert any(shown.startswith(line) for shown in report.splitlines()), report


def test_verify_fails_for_programs_but_not_for_configuration(
    rpm_host: list[Change], capsys: pytest.CaptureFixture[str]
) -> None:
    assert version_command.main(["--verify"]) == 0
    assert capsys.readouterr().out.endswith("Every file is as it was installed.\n")
    rpm_host.append(EDITED)
    assert version_command.main(["--verify"]) == 0
    assert "/etc/hal/hal.toml  size, content  configuration" in capsys.readouterr().out
    rpm_host.append(DAMAGED)
    assert version_command.main(["--verify", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["changes"][1] == {
        "path": "/usr/bin/hal",
        "what": ["content"],
        "config": False,
    }


@pytest.mark.usefixtures("rpm_host")
def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert version_command.main(["--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report) == {field.name for field in dataclasses.fields(Versions)} | {"changes"}
    assert report["packages"][0]["installed"] == "2026-11-18T11:06:40Z"
    assert report["changes"] is None


@pytest.mark.usefixtures("no_rpm")
def test_without_rpm_it_tells_what_python_knows(capsys: pytest.CaptureFixture[str]) -> None:
    found = versions.read()
    assert found.rpm_problem == "rpm cannot be asked: python3-rpm is not installed (dnf install python3-rpm)"
    core = [package for package in found.packages if package.name == "hal-core"]
    assert [package.version for package in core] == [metadata.version("hal-core")]
    assert core[0].source in ("checkout", "pip")
    assert core[0].place is not None
    assert os.path.isdir(core[0].place)
    assert version_command.main([]) == 0
    assert "python3-rpm is not installed" in capsys.readouterr().out


@pytest.mark.usefixtures("no_rpm")
def test_verify_without_rpm_is_an_error() -> None:
    with pytest.raises(HostError, match="python3-rpm is not installed"):
        version_command.main(["--verify"])


def test_verify_without_packages_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpmdb, "installed", lambda pattern: ())
    monkeypatch.setattr(rpmdb, "owner", lambda path: None)
    with pytest.raises(HostError, match="there is nothing to compare with"):
        version_command.main(["--verify"])


@pytest.mark.usefixtures("rpm_host")
def test_code_that_is_not_the_rpms_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpmdb, "owner", lambda path: None)
    found = versions.read()
    assert found.code_from_rpm is False
    assert {package.source for package in found.packages} >= {"RPM"}
    assert len([package for package in found.packages if package.name == "hal-core"]) == 2
    assert "Warning:  this command is not the RPMs'" in version_command.render(found, None)


def test_services_and_their_contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for service, pids in (("hal-vmm", "7\n8\n"), ("hal-qemu", "9\n"), ("sshd", "1\n"), ("hal-idle", "")):
        directory = tmp_path / "system.slice" / f"{service}.service"
        directory.mkdir(parents=True)
        (directory / "cgroup.procs").write_text(pids)
    monkeypatch.setattr(versions, "_CGROUPS", str(tmp_path))
    monkeypatch.setattr(selinux_status, "read", lambda: SELinux("permissive", "targeted"))
    monkeypatch.setattr(selinux_status, "of_process", {7: "a", 9: "b"}.get)
    assert versions.read().services == (
        Confined("hal-qemu.service", 9, "b"),
        Confined("hal-vmm.service", 7, "a"),
        Confined("hal-vmm.service", 8, None),
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('NAME="X"\nPRETTY_NAME="AlmaLinux 9.6 (Sage Margay)"\n', "AlmaLinux 9.6 (Sage Margay)"),
        ("PRETTY_NAME=Fedora\n", "Fedora"),
        ("PRETTY_NAME='A \\\"B'\n", 'A \\"B'),
        ('PRETTY_NAME="never closed\n', '"never closed'),
        ("NAME=Fedora\n", None),
        ("", None),
    ],
)
def test_the_name_of_the_os(text: str, name: str) -> None:
    assert versions.os_name(text) == name


def test_the_program_itself() -> None:
    """As a host runs it: whatever this machine is, it answers, in text and in JSON."""
    program = Path(__file__).resolve().parents[1] / "bin/hal-version"
    shown = [
        subprocess.run([sys.executable, str(program), *options], capture_output=True, text=True, check=True).stdout
        for options in ([], ["--json"], ["--help"])
    ]
    assert os.uname().release in shown[0]
    assert json.loads(shown[1])["kernel"] == os.uname().release
    assert shown[2].startswith("usage: hal version")
