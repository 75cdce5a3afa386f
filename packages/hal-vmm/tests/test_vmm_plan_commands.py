"""``hal-vmm plan``, ``apply`` and ``preflight`` as people call them, and every way in which they refuse."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hal_core import facts
from hal_core.errors import ConfigError, FileFormatError, HostError, UsageError
from hal_core.facts import settled
from hal_core.testing import synthetic, sysfs
from hal_vmm.commands import apply_command, plan_command, preflight_command
from hal_vmm.config import BootConfig, DevicesConfig, VmmConfig
from hal_vmm.plan import guest, inputs, pinned
from hal_vmm.plan.inputs import Inputs
from hal_vmm.qemu import flavour_builtin, kvmcheck, probe
from hal_vmm.qemu.flavour import Flavour, Kvm

DEBIAN = flavour_builtin.FLAVOURS["debian12"]


@pytest.fixture(autouse=True)
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable, name in (("CONFIG", "etc"), ("DEFAULTS", "lib"), ("STATE", "state"), ("RUN", "run")):
        monkeypatch.setenv(f"HAL_{variable}_DIR", str(tmp_path / name))
    return tmp_path


@pytest.fixture
def recorded(tmp_path: Path) -> str:
    sysfs.write_tree(str(tmp_path / "server"), synthetic.machine(hal_disk=True))
    return str(tmp_path / "server")


def configure(directory: Path, text: str) -> None:
    (directory / "etc").mkdir()
    (directory / "etc/hal.toml").write_text(text)


# --- plan


def test_plan_of_a_recorded_server(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan_command.main(["--root", recorded, "--assume", "el9"]) == 0
    out = capsys.readouterr().out
    assert "/dev/sde: HAL's own device" in out
    assert "cpu 16-31: hyper-threads" in out
    assert "EL9 (assumed)" in out


def test_plan_as_json_and_as_a_command_line_that_a_shell_takes(
    recorded: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan_command.main([f"--root={recorded}", "--assume=debian12", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["qemu"]["name"] == "Debian 12 (assumed)"
    assert plan_command.main(["--root", recorded, "--assume", "debian12", "--qemu"]) == 0
    text = capsys.readouterr().out
    words = shlex.split(text.replace("\\\n", " "))
    assert words[words.index("-machine") + 1].startswith(value["machine"] + ",")
    # One option with its value a line.
    assert all(line.startswith("  -") for line in text.splitlines()[1:])


def test_plan_without_any_qemu_assumes_one_and_says_so(
    recorded: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "SEARCH", ("/nowhere/qemu-kvm",))
    assert plan_command.main(["--root", recorded]) == 0
    assert "no QEMU is installed: looked for /nowhere/qemu-kvm; planned for EL9 (assumed)" in capsys.readouterr().out


def test_a_server_recorded_before_hal_gives_its_only_disk_to_the_product(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = dataclasses.replace(synthetic.disk(0), hal_device=True)
    sysfs.write_tree(str(tmp_path / "bare"), dataclasses.replace(synthetic.machine(), disks=(own,)))
    assert plan_command.main(["--root", str(tmp_path / "bare"), "--assume", "el9", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [disk["host"] for disk in value["disks"]] == ["/dev/sda"]
    assert "sda: in use when this server was recorded" in value["notes"][0]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--json", "--qemu"], "only one of them is allowed"),
        (["--rot", "/"], "plan: unknown argument --rot"),
        (["--root"], "plan: --root needs a value"),
        (["--assume", "list", "--root", "/proc"], "there are debian12, el9, el10, fedora"),
    ],
)
def test_a_wrong_command_line_of_plan(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_command.main(argv)


def test_help_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (plan_command, apply_command, preflight_command):
        assert command.main(["--help"]) == 0
        assert capsys.readouterr().out.startswith("usage: hal-vmm ")


def test_a_recording_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="nowhere"):
        plan_command.main(["--root", str(tmp_path / "nowhere"), "--assume", "el9"])


def test_wrong_configuration_is_said_before_anything_else(recorded: str, directories: Path) -> None:
    configure(directories, '[vmm]\nera = "medieval"\n')
    with pytest.raises(ConfigError, match=r'hal\.toml: vmm\.era = "medieval": allowed is'):
        plan_command.main(["--root", recorded])


# --- apply


def gathered(kvm: Kvm | None = None, **changes: Any) -> Inputs:
    config = dataclasses.replace(VmmConfig(accel="tcg", user=""), **changes)
    return Inputs(synthetic.machine(hal_disk=True), config, DEBIAN, pinned.read(), kvm)


def snapshot(directory: Path) -> dict[str, tuple[int, bytes]]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_apply_writes_everything_once(directories: Path) -> None:
    changed, planned = apply_command.apply(gathered())
    assert [line.partition(":")[0] for line in changed] == [
        "pinned the product's virtual hardware",
        "wrote the plan",
        "wrote the launch plan",
    ]
    launch = directories / "run/qemu.json"
    assert launch.stat().st_mode & 0o777 == 0o600
    value = json.loads(launch.read_text())
    assert value["version"] == 1
    assert value["argv"][0] == value["qemu"] == "/usr/bin/qemu-system-x86_64"
    assert value["journal"] == str(directories / "run/events/qmp")
    assert len(value["pinning"]) == 16
    told = json.loads((directories / "run/plan.json").read_text())
    assert [disk["host"] for disk in told.pop("hotplug")["disks"]] == [disk.host for disk in planned.disks]
    assert told == json.loads(json.dumps(planned.to_json()))
    before = snapshot(directories)
    assert apply_command.apply(gathered())[0] == []
    assert snapshot(directories) == before


def test_apply_refuses_without_kvm_and_changes_nothing(directories: Path) -> None:
    with pytest.raises(HostError, match="KVM does not work on this server: no /dev/kvm") as caught:
        apply_command.apply(gathered(Kvm(False, "no /dev/kvm"), accel="kvm"))
    assert 'vmm.accel = "auto"' in caught.value.hint
    assert snapshot(directories) == {}
    automatic = apply_command.apply(gathered(Kvm(False, "no /dev/kvm"), accel="auto"))[1]
    assert automatic.accel == "tcg"


@pytest.mark.parametrize(
    ("boot", "message"),
    [
        (BootConfig(kernel="/nowhere/vmlinuz"), r'vmm\.boot\.kernel = "/nowhere/vmlinuz": No such file or directory'),
        (BootConfig(kernel="/proc"), r'vmm\.boot\.kernel = "/proc": not a file'),
    ],
)
def test_a_kernel_that_does_not_exist_is_said(directories: Path, boot: BootConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        apply_command.apply(gathered(boot=boot))
    assert snapshot(directories) == {}


def test_what_is_booted_is_copied_for_qemus_user(tmp_path: Path) -> None:
    kernel, initrd = tmp_path / "vmlinuz", tmp_path / "initrd"
    kernel.write_bytes(b"kernel")
    initrd.write_bytes(b"initrd")
    kernel.chmod(0o644)
    initrd.chmod(0o600)
    boot = BootConfig(kernel=str(kernel), initrd=str(initrd))
    apply_command.apply(gathered(boot=boot, user="hal-qemu"))
    copies = [tmp_path / "run/boot/kernel", tmp_path / "run/boot/initrd"]
    assert [copy.read_bytes() for copy in copies] == [b"kernel", b"initrd"]
    assert {copy.stat().st_mode & 0o777 for copy in copies} == {0o644}
    nodes = json.loads((tmp_path / "run/qemu.json").read_text())["nodes"]
    assert [node["path"] for node in nodes if node["mode"] == "ro"] == [str(copy) for copy in copies]
    assert apply_command.apply(gathered(boot=boot, user="hal-qemu"))[0] == []


def test_an_image_file_that_is_not_there_is_said() -> None:
    with pytest.raises(ConfigError, match=r'disk_files: "/nowhere/disk\.img": no such file'):
        apply_command.apply(gathered(devices=DevicesConfig(disk_files=("/nowhere/disk.img",))))


def test_pinned_hardware_cut_short_stops_apply_and_repin_replaces_it(
    directories: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    apply_command.apply(gathered())
    file = directories / "state/vmm/hardware.json"
    file.write_bytes(file.read_bytes()[:100])
    configure(directories, '[vmm]\naccel = "tcg"\n')
    monkeypatch.setattr(probe, "find", lambda configured: DEBIAN.binary)
    monkeypatch.setattr(probe, "probe", lambda binary: DEBIAN)
    monkeypatch.setattr(facts, "read", lambda root: synthetic.machine())
    with pytest.raises(FileFormatError, match="damaged or cut short"):
        apply_command.main([])
    assert apply_command.main(["--repin", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert any("pinned" in line for line in answer["changed"])
    assert pinned.read() is not None
    assert apply_command.main([]) == 0
    assert capsys.readouterr().out.startswith("nothing to change")


# --- preflight


def test_preflight_tells_whether_the_new_qemu_will_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HostError, match="no hardware is pinned yet"):
        preflight_command.main([])
    apply_command.apply(gathered())
    assert preflight_command.main(["--assume", "debian12"]) == 0
    assert capsys.readouterr().out.startswith("Debian 12 (assumed) can provide the product's hardware: pc-q35-7.2")
    assert preflight_command.main(["--assume", "el10"]) == 1
    assert "problem: machine pc-q35-7.2: EL10 (assumed) does not have it" in capsys.readouterr().out
    assert preflight_command.main(["--assume", "el10", "--json"]) == 1
    value = json.loads(capsys.readouterr().out)
    assert (value["possible"], value["problems"][0]["fatal"]) == (False, True)


def test_a_wrong_command_line_of_preflight() -> None:
    apply_command.apply(gathered())
    with pytest.raises(UsageError, match="only one of them"):
        preflight_command.main(["--qemu", "/bin/true", "--assume", "el9"])
    with pytest.raises(UsageError, match="no such program"):
        preflight_command.main(["--qemu", "/nowhere/qemu-kvm"])
    with pytest.raises(HostError, match=r"/true: answered only 0 of"):
        preflight_command.main(["--qemu", os.path.realpath("/bin/true")])


def test_a_nic_without_its_name_has_no_place_for_ever_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it had one before: then it is known whose it is."""
    machine = dataclasses.replace(synthetic.machine(), nics=(synthetic.nic(0), synthetic.nic(1), synthetic.nic(2)))
    kvm = Kvm(works=True, reason="", model="host")
    monkeypatch.setattr(kvmcheck, "remembered", lambda *_: kvm)
    monkeypatch.setattr(probe, "find", lambda qemu: "qemu")
    monkeypatch.setattr(probe, "probe", lambda binary: DEBIAN)
    known = guest.plan(dataclasses.replace(machine, nics=machine.nics[:1]), VmmConfig(), DEBIAN, kvm=kvm).pinned
    monkeypatch.setattr(pinned, "read", lambda: known)
    disk, names = machine.disks[0].name, [nic.name for nic in machine.nics]
    monkeypatch.setattr(settled, "read", lambda: (machine, (disk, names[0], names[2])))
    found = inputs.for_applying(repin=False)
    assert [nic.name for nic in found.machine.nics] == names[:2]
    assert [note for note in found.notes if "udev" in note] == [
        f"{disk}: udev is not through with it: it may be taken for another",
        f"{names[0]}: udev is not through with it: it may be taken for another",
        f"{names[2]}: udev is not through with it: it is left out of this plan",
    ]


@pytest.mark.parametrize(("accel", "patient"), [("kvm", True), ("auto", False)])
def test_where_there_is_a_choice_a_crawling_kvm_is_none(
    directories: Path, monkeypatch: pytest.MonkeyPatch, accel: str, patient: bool
) -> None:
    given: list[float] = []

    def remembered(flavour: Flavour, models: Sequence[str], deadline: float) -> Kvm:
        given.append(deadline)
        return Kvm(works=True, reason="", model="host")

    monkeypatch.setattr(kvmcheck, "remembered", remembered)
    monkeypatch.setattr(probe, "find", lambda qemu: "qemu")
    monkeypatch.setattr(probe, "probe", lambda binary: DEBIAN)
    configure(directories, f'[vmm]\naccel = "{accel}"\n')
    inputs.for_applying(repin=False)
    assert given == [kvmcheck.PATIENT_DEADLINE_S if patient else kvmcheck.DEADLINE_S]
