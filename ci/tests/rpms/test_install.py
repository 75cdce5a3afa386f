"""What `dnf install hal-host` leaves on a minimal system."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

import footprint
from factory.distribution import Distribution
from factory.target import Target
from hostroot import OURS, ROOT, HostRoot

FOOTPRINT = ROOT / "specs/hal-host.footprint"


def test_every_package_of_ours_is_there(installed: HostRoot) -> None:
    assert installed.ours().keys() >= OURS


def test_nothing_that_only_tests_need_is_there(installed: HostRoot) -> None:
    assert not [name for name in installed.ours() if name.endswith("-testing")]
    assert not [path for path in installed.files() if "/testing/" in path and "hal_" in path]


def test_no_scriptlet_complains(installed: HostRoot) -> None:
    assert "Installed:" in installed.log
    # What dnf itself says of its progress aside.
    lines = [
        line for line in installed.log.splitlines() if "Running scriptlet: " not in line and "libgpg-error" not in line
    ]
    complaint = re.compile(r"warning|error|fail|scriptlet|not found|no such", re.IGNORECASE)
    assert [line for line in lines if complaint.search(line)] == []


def test_every_file_is_as_it_was_packed(installed: HostRoot) -> None:
    assert installed.changed_files() == ""


def test_qemu_has_a_user_that_nobody_can_log_in_as(installed: HostRoot) -> None:
    fields = installed.run("getent", "passwd", "hal-qemu").strip().split(":")
    assert int(fields[2]) not in (0, 65534)
    assert fields[5] == "/"
    assert fields[6].endswith("nologin")
    assert installed.run("getent", "shadow", "hal-qemu").split(":")[1] in ("!", "!!", "!*", "*")
    assert "kvm" in installed.run("id", "-Gn", "hal-qemu").split()


def test_the_preset_switches_hal_on_and_nothing_else(installed: HostRoot, bare: Path) -> None:
    def enabled(root: Path) -> set[str]:
        return {str(path.relative_to(root)) for path in root.glob("etc/systemd/system/*.wants/*")}

    assert enabled(installed.path) - enabled(bare) == {"etc/systemd/system/multi-user.target.wants/hal.target"}
    assert installed.run("systemctl", "is-enabled", "hal.target").strip() == "enabled"


def test_every_unit_verifies(installed: HostRoot) -> None:
    assert len(installed.units("service", "target")) >= 5
    assert installed.units_that_do_not_verify() == ""


def test_no_unit_is_more_exposed_than_it_may_be(installed: HostRoot) -> None:
    assert installed.exposed_units() == ""


@pytest.mark.parametrize(
    ("path", "mode", "kind"),
    [
        ("etc/hal/hal.toml.d", 0o755, stat.S_IFDIR),
        ("usr/lib/hal/hal.toml", 0o644, stat.S_IFREG),
        ("usr/lib/hal/ports.d", 0o755, stat.S_IFDIR),
        ("usr/bin/hal", 0o755, stat.S_IFREG),
        ("usr/bin/hal-qemu-launch", 0o755, stat.S_IFREG),
        ("usr/lib/udev/hal-own-disk", 0o755, stat.S_IFREG),
        ("var/lib/hal/images", 0o700, stat.S_IFDIR),
        ("var/lib/hal/vmm/dumps", 0o700, stat.S_IFDIR),
    ],
)
def test_modes(installed: HostRoot, path: str, mode: int, kind: int) -> None:
    status = os.lstat(installed.path / path)
    assert (stat.S_IMODE(status.st_mode), stat.S_IFMT(status.st_mode)) == (mode, kind)
    assert (status.st_uid, status.st_gid) == (0, 0)


def test_programs_see_nothing_of_the_callers_environment(installed: HostRoot) -> None:
    for program in sorted(installed.path.glob("usr/bin/hal*")):
        first = program.read_text().splitlines()[0]
        assert first in ("#!/bin/sh", "#!/usr/bin/sh", "#!/usr/bin/python3 -I"), program


def test_the_commands_run(installed: HostRoot) -> None:
    assert "virtual machine: plan, run, watch over it" in installed.run("hal", "--help")
    assert installed.run("hal", "check")
    versions = json.loads(installed.run("hal", "version", "--json"))
    assert versions["packages"]
    assert installed.says("hal", "vmm", "status").strip()


def test_the_manual_is_complete(installed: HostRoot) -> None:
    """`dnf` leaves documentation out here (tsflags=nodocs), as on a host: so the list of files is asked."""
    files = set(installed.run("rpm", "-ql", *installed.ours()).splitlines())
    programs = [path for path in files if path.startswith("/usr/bin/hal")]
    assert programs
    for program in programs:
        name = Path(program).name
        assert files & {f"/usr/share/man/man{section}/{name}.{section}.gz" for section in (1, 8)}, (
            f"no man page: {name}"
        )
    for unit in filter(Path.is_file, installed.path.glob("usr/lib/systemd/system/hal[-.]*")):
        for name, section in re.findall(r"man:([\w.-]+)\((\d)\)", unit.read_text()):
            assert f"/usr/share/man/man{section}/{name}.{section}.gz" in files, (
                f"{unit.name} points to {name}({section})"
            )


def test_policy_modules_have_the_vendors_priority(installed: HostRoot) -> None:
    listed = [line.split() for line in installed.run("semodule", "-lfull").splitlines()]
    ours = {fields[1]: fields[0] for fields in listed if fields[1].startswith("hal")}
    assert len(ours) >= 4
    assert set(ours.values()) == {"200"}, "distribution: 100, package: 200, administrator: 400"


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ("/usr/bin/hal-vmm", "hal_vmm_exec_t"),
        ("/usr/bin/hal-netcfg", "hal_netcfg_exec_t"),
        ("/usr/bin/hal-udev", "hal_udev_exec_t"),
        ("/usr/bin/hal-console", "hal_console_exec_t"),
        ("/usr/bin/hal-qemu-launch", "hal_qemu_launch_exec_t"),
        ("/usr/bin/hal", "bin_t"),
    ],
)
def test_files_get_their_labels(installed: HostRoot, path: str, type_: str) -> None:
    contexts = installed.path / "etc/selinux/targeted/contexts/files/file_contexts"
    said = subprocess.run(
        ["selabel_lookup", "-b", "file", "-f", contexts, "-k", path, "-t", "file"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f":{type_}:" in said


def test_what_hal_draws_in_is_known(installed: HostRoot, system: Distribution, os_target: Target) -> None:
    """A new dependency is a decision, and so is a tenth more of everything."""
    if system.repository is None or os_target.name != "el9":
        pytest.skip("written down for the stand-in OS of el9 only")
    found = footprint.measure(installed)
    fresh = ROOT / ".cache/rpms/hal-host.footprint"
    fresh.write_text(found.render())
    known = footprint.parse(FOOTPRINT.read_text())
    accept = f"when that is wanted: cp {fresh.relative_to(ROOT)} {FOOTPRINT.relative_to(ROOT)}"
    assert sorted(found.packages) == sorted(known.packages), accept
    assert known.mebibytes * 0.9 <= found.mebibytes <= known.mebibytes * 1.1, accept
