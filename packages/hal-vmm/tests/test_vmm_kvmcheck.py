"""The KVM check: each verdict with a fake QEMU, what is remembered, and the boot sector in a real one."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hal_vmm.qemu import flavour_builtin, kvmcheck, probe
from hal_vmm.qemu.flavour import Flavour


@pytest.fixture(autouse=True)
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /dev/kvm that anybody may open."""
    path = tmp_path / "kvm"
    path.touch()
    monkeypatch.setattr(kvmcheck, "DEVICE", str(path))
    monkeypatch.setenv("HAL_STATE_DIR", str(tmp_path / "state"))
    return path


def fake(tmp_path: Path, body: str) -> Flavour:
    """A QEMU that finds its CPU model in ``model``."""
    path = tmp_path / "qemu-fake"
    path.write_text(
        f"#!{sys.executable} -S\nimport sys\nmodel = sys.argv[sys.argv.index('-cpu') + 1]\n"
        f"open({str(tmp_path / 'tried')!r}, 'a').write(model + ' ')\n{body}\n"
    )
    path.chmod(0o755)
    return dataclasses.replace(flavour_builtin.FLAVOURS["debian12"], binary=str(path))


def tried(tmp_path: Path) -> str:
    return (tmp_path / "tried").read_text()


def test_the_first_model_that_runs_is_the_one(tmp_path: Path) -> None:
    flavour = fake(tmp_path, "if model == 'host': sys.exit('warning: old\\nqemu: failed to set MSR 0x10a')")
    kvm = kvmcheck.check(flavour, ("host", "host,-arch-capabilities", "EPYC"), deadline=20)
    assert (kvm.works, kvm.model) == (True, "host,-arch-capabilities")
    assert "with CPU model host QEMU ended after" in kvm.reason
    assert kvm.reason.endswith("qemu: failed to set MSR 0x10a")
    assert tried(tmp_path) == "host host,-arch-capabilities "


def test_too_slow_is_a_verdict_at_once(tmp_path: Path) -> None:
    kvm = kvmcheck.check(fake(tmp_path, "sys.stdin = open('/dev/zero', 'rb')\nwhile True: pass"), ("host", "EPYC"), 0.5)
    assert not kvm.works
    assert kvm.reason.startswith("too slow: a guest of ten bytes had not ended after 0.5 s")
    assert tried(tmp_path) == "host "


def test_when_no_model_runs_each_reason_is_told(tmp_path: Path) -> None:
    kvm = kvmcheck.check(fake(tmp_path, "sys.exit('no ' + model)"), ("host", "EPYC"), deadline=20)
    assert not kvm.works
    assert "no host; with CPU model EPYC" in kvm.reason


def test_without_the_device_nothing_is_started(tmp_path: Path, device: Path) -> None:
    device.unlink()
    kvm = kvmcheck.check(fake(tmp_path, ""), ("host",))
    assert not kvm.works
    assert kvm.reason.startswith(f"no {device}: virtualization is off in the firmware setup")
    assert not (tmp_path / "tried").exists()


@pytest.mark.skipif(os.getuid() == 0, reason="root may open everything")
def test_no_permission_is_said(tmp_path: Path, device: Path) -> None:
    device.chmod(0)
    assert kvmcheck.check(fake(tmp_path, ""), ("host",)).reason == f"{device}: Permission denied"


def test_a_device_that_does_not_open_is_said(tmp_path: Path, device: Path) -> None:
    device.unlink()
    device.mkdir()
    assert kvmcheck.check(fake(tmp_path, ""), ("host",)).reason == f"{device}: Is a directory"


def test_a_qemu_without_kvm_is_said(tmp_path: Path) -> None:
    flavour = dataclasses.replace(fake(tmp_path, ""), accelerators=frozenset({"tcg"}))
    assert kvmcheck.check(flavour, ("host",)).reason == "Debian 12 (assumed) is built without KVM"


def test_success_is_remembered_and_failure_is_not(tmp_path: Path, device: Path) -> None:
    good = fake(tmp_path, "")
    first = kvmcheck.remembered(good, ("host",), deadline=20)
    assert first.works
    assert kvmcheck.remembered(good, ("host",), deadline=20) == first
    assert tried(tmp_path) == "host "
    assert kvmcheck.remembered(good, ("EPYC",), deadline=20).model == "EPYC"
    device.unlink()
    assert not kvmcheck.remembered(good, ("EPYC",)).works
    device.touch()
    bad = fake(tmp_path, "sys.exit(1)")
    assert not kvmcheck.remembered(bad, ("host",), deadline=20).works
    assert not kvmcheck.remembered(bad, ("host",), deadline=20).works
    assert tried(tmp_path) == "host EPYC host host "


def test_a_damaged_memory_is_only_a_memory(tmp_path: Path) -> None:
    flavour = fake(tmp_path, "")
    memory = tmp_path / "state/vmm/kvm.json"
    memory.parent.mkdir(parents=True)
    memory.write_text("[1, 2")
    assert kvmcheck.remembered(flavour, ("host",), deadline=20).works


@pytest.mark.component
@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="no qemu-system-x86_64 installed")
def test_the_boot_sector_powers_a_real_q35_off(tmp_path: Path) -> None:
    flavour = probe.probe(probe.find())
    disk = tmp_path / "boot.img"
    disk.write_bytes(kvmcheck.image())
    argv = [
        *(flavour.binary, "-machine", f"{flavour.newest_machine('q35').name},usb=off", "-accel", "tcg", "-m", "64M"),
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-blockdev", f"driver=file,node-name=boot,filename={disk}", "-device", "ide-hd,bus=ide.0,drive=boot"),
    ]
    assert subprocess.run(argv, timeout=60, check=False).returncode == 0
