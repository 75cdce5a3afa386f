"""Pinned hardware: slots that stay, replacements, the file, and the preflight before an upgrade."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_core.errors import ConfigError, FileFormatError, HostError
from hal_core.machine import Machine
from hal_core.testing import synthetic
from hal_vmm.config import VmmConfig
from hal_vmm.plan import pinned, slots
from hal_vmm.plan.guest import plan
from hal_vmm.plan.pinned import Pinned
from hal_vmm.plan.slots import Device, Entry
from hal_vmm.qemu import flavour_builtin
from hal_vmm.qemu.flavour import Kvm

DEBIAN, EL9, EL10 = (flavour_builtin.FLAVOURS[name] for name in ("debian12", "el9", "el10"))


@pytest.fixture(autouse=True)
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HAL_STATE_DIR", str(tmp_path))
    return tmp_path


def without(machine: Machine, *names: str) -> Machine:
    return dataclasses.replace(machine, disks=tuple(disk for disk in machine.disks if disk.name not in names))


def test_a_disk_keeps_its_slot_when_another_is_gone() -> None:
    machine = synthetic.machine(disks=4)
    first = plan(machine, VmmConfig(), DEBIAN)
    second = plan(without(machine, "sdb"), VmmConfig(), DEBIAN, first.pinned)
    assert [(disk.host, disk.slot) for disk in second.disks] == [("/dev/sda", 0), ("/dev/sdc", 2), ("/dev/sdd", 3)]
    assert "disk 0x5000c50000000001: not found; its slot is kept" in map(str, second.held_back)
    assert second.pinned.slots == first.pinned.slots


@pytest.mark.parametrize("era", ["modern", "pre-virtio", "ide"])
def test_a_product_of_before_hal_udev_keeps_its_one_usb_controller(era: str) -> None:
    config = VmmConfig(era=era)
    first = plan(synthetic.machine(disks=2), config, DEBIAN)
    old = json.loads(pinned.render(first.pinned))
    assert old.pop("usb") == len(first.usb) > 1
    second = plan(synthetic.machine(disks=2), config, DEBIAN, pinned.parse(json.dumps(old), "hardware.json"))
    assert second.usb == first.usb[:1]
    third = plan(synthetic.machine(disks=2), config, DEBIAN, pinned.parse(pinned.render(second.pinned), "x"))
    assert third.usb == second.usb


@pytest.mark.parametrize("count", [0, -1, 9, True, "3", 1.0, None])
def test_a_number_of_usb_controllers_that_cannot_be(count: object) -> None:
    damaged = {**json.loads(pinned.render(plan(synthetic.machine(), VmmConfig(), DEBIAN).pinned)), "usb": count}
    with pytest.raises(FileFormatError, match=r"damaged: usb .* is not a number from 1 to 8"):
        pinned.parse(json.dumps(damaged), "hardware.json")


def test_a_new_disk_in_the_same_bay_is_the_replacement_and_one_elsewhere_is_new() -> None:
    machine = synthetic.machine(disks=3)
    first = plan(machine, VmmConfig(), DEBIAN)
    new = synthetic.disk(7, name="sdb", by_path=machine.disks[1].by_path)
    swapped = dataclasses.replace(machine, disks=(machine.disks[0], new, machine.disks[2], synthetic.disk(9)))
    second = plan(swapped, VmmConfig(), DEBIAN, first.pinned)
    assert [disk.slot for disk in second.disks] == [0, 1, 2, 3]
    assert not [item for item in second.held_back if "not found" in item.reason]


def test_the_order_in_which_the_kernel_finds_disks_does_not_matter() -> None:
    machine = synthetic.machine(disks=3)
    first = plan(machine, VmmConfig(), DEBIAN)
    a, b, c = machine.disks
    shuffled = (
        dataclasses.replace(c, name="sda"),
        dataclasses.replace(a, name="sdb"),
        dataclasses.replace(b, name="sdc"),
    )
    second = plan(dataclasses.replace(machine, disks=shuffled), VmmConfig(), DEBIAN, first.pinned)
    assert {disk.serial: disk.slot for disk in second.disks} == {disk.serial: disk.slot for disk in first.disks}


def test_a_disk_that_hal_toml_keeps_now_is_not_missing() -> None:
    machine = synthetic.machine(disks=2)
    first = plan(machine, VmmConfig(), DEBIAN)
    keep = dataclasses.replace(VmmConfig().devices, keep_disks=("sdb",))
    second = plan(machine, VmmConfig(devices=keep), DEBIAN, first.pinned)
    assert not [item for item in second.held_back if "not found" in item.reason]


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=20), st.lists(st.integers(0, 30), max_size=12)
)
def test_slots_are_distinct_stable_and_within_the_limit(now: list[tuple[int, int]], before: list[int]) -> None:
    entries = tuple(Entry(f"id{n}", slot, f"bay{n}") for slot, n in enumerate(dict.fromkeys(before)))
    devices = [Device(f"dev{i}", f"id{n}", f"bay{place}") for i, (n, place) in enumerate(now)]
    found = slots.assign(devices, entries, 16)
    used = list(found.slots.values())
    assert len(set(used)) == len(used)
    assert all(0 <= slot < 16 for slot in used)
    assert set(found.slots) | {device.name for device in found.without} == {device.name for device in devices}
    assert len({entry.slot for entry in found.entries}) == len(found.entries)
    assert {e.slot for e in entries} <= {e.slot for e in found.entries}
    known = {entry.identity: entry.slot for entry in entries}
    for device in {device.identity: device for device in reversed(devices)}.values():
        if device.identity in known:
            assert found.slots[device.name] == known[device.identity]
    again = slots.assign(devices, found.entries, 16)
    assert again.slots == found.slots
    assert again.entries == found.entries


def test_machine_type_and_model_stay_across_an_upgrade() -> None:
    older = dataclasses.replace(EL9, machines=tuple(m for m in EL9.machines if m.version < (9, 6)))
    first = plan(synthetic.machine(), VmmConfig(era="pre-virtio"), older)
    assert first.machine == "pc-q35-rhel9.4.0"
    assert plan(synthetic.machine(), VmmConfig(era="pre-virtio"), EL9, first.pinned).machine == "pc-q35-rhel9.4.0"
    old_model = dataclasses.replace(first.pinned, cpu_model="Westmere")
    upgraded = plan(synthetic.machine(), VmmConfig(era="pre-virtio"), EL9, old_model)
    assert (upgraded.cpu.model, upgraded.cpu.model_reason) == ("Westmere", "pinned: the product has had it so far")


def test_a_pinned_model_that_does_not_start_gives_way() -> None:
    kvm = Kvm(works=True, reason="an MSR", model="EPYC")
    known = plan(synthetic.machine(), VmmConfig(), DEBIAN).pinned
    assert plan(synthetic.machine(), VmmConfig(), DEBIAN, known, kvm).cpu.model == "EPYC"


def test_a_start_under_emulation_does_not_change_the_pinned_model() -> None:
    known = plan(synthetic.machine(), VmmConfig(), DEBIAN).pinned
    emulated = plan(synthetic.machine(), VmmConfig(accel="tcg"), DEBIAN, known)
    assert (emulated.cpu.model, emulated.pinned.cpu_model) == ("max", "host")


def test_a_machine_type_that_is_gone_and_another_era_are_said() -> None:
    known = plan(synthetic.machine(), VmmConfig(), DEBIAN).pinned
    with pytest.raises(HostError, match=r"EL9 .* has no machine type pc-q35-7\.2, which the product has had so far"):
        plan(synthetic.machine(), VmmConfig(), EL9, known)
    with pytest.raises(ConfigError, match=r'vmm\.era = "ide": the product has had .* era "modern"') as caught:
        plan(synthetic.machine(), VmmConfig(era="ide"), DEBIAN, known)
    assert "--repin" in caught.value.hint


def test_the_file_gives_back_what_was_written(state_dir: Path) -> None:
    assert pinned.read() is None
    known = plan(synthetic.machine(), VmmConfig(), DEBIAN).pinned
    pinned.write(known)
    assert pinned.read() == known
    assert (state_dir / "vmm/hardware.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("length", [0, 1, 40, 200, -3])
def test_a_file_cut_short_is_said_and_never_replaced(state_dir: Path, length: int) -> None:
    text = pinned.render(plan(synthetic.machine(), VmmConfig(), DEBIAN).pinned)[:length]
    file = state_dir / "vmm/hardware.json"
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(FileFormatError, match=r"hardware\.json: damaged or cut short") as caught:
        pinned.read()
    assert "hal-vmm apply --repin" in caught.value.hint
    assert file.read_text() == text


GOOD = json.loads(pinned.render(plan(synthetic.machine(), VmmConfig(), DEBIAN).pinned))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2 is not known"),
        ({"era": "future"}, "era 'future' is not one of"),
        ({"machine": 7}, "machine 7 is not a text"),
        ({"slots": {}}, "'disk' is missing"),
        ({"slots": {**GOOD["slots"], "nic": {}}}, "slots.nic is not a list"),
        ({"slots": {**GOOD["slots"], "nic": [1]}}, "an entry is not a table"),
        ({"slots": {**GOOD["slots"], "nic": [{"identity": "a", "slot": -1, "place": ""}]}}, "slot -1 is not a number"),
        ({"slots": {**GOOD["slots"], "nic": [{"identity": "a", "slot": 1, "place": ""}] * 2}}, "the same slot twice"),
        ({"devices": [3]}, "devices 3 is not a text"),
    ],
)
def test_a_damaged_file_says_where(change: dict[str, object], message: str) -> None:
    with pytest.raises(FileFormatError) as caught:
        pinned.parse(json.dumps({**GOOD, **change}), "hardware.json")
    assert message in caught.value.message


def test_preflight_finds_everything_that_would_be_lost() -> None:
    known = Pinned("ide", "pc-i440fx-rhel7.6.0", "Opteron_G3", {}, ("ide-hd", "pvpanic"))
    assert [(p.what, p.fatal) for p in pinned.preflight(known, EL9)] == [
        ("machine pc-i440fx-rhel7.6.0", False),
        ("CPU model Opteron_G3", False),
    ]
    lean = dataclasses.replace(EL10, devices=EL10.devices - {"pvpanic"}, cpu_models=())
    assert [(p.what, p.fatal) for p in pinned.preflight(known, lean)] == [
        ("machine pc-i440fx-rhel7.6.0", True),
        ("CPU model Opteron_G3", True),
        ("device pvpanic", True),
    ]
    fine = plan(synthetic.machine(), VmmConfig(), EL9).pinned
    assert pinned.preflight(fine, EL9) == []
