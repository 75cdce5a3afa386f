"""The plan as a whole: composition, accelerator, eras, JSON, and the table."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from hal_core.errors import ConfigError, HostError
from hal_core.testing import synthetic
from hal_vmm.config import BootConfig, CpuConfig, DevicesConfig, VmmConfig
from hal_vmm.plan import show
from hal_vmm.plan.guest import plan
from hal_vmm.qemu import flavour_builtin
from hal_vmm.qemu.flavour import Kvm, MachineType

DEBIAN, EL10 = flavour_builtin.FLAVOURS["debian12"], flavour_builtin.FLAVOURS["el10"]


def test_json_has_what_scripts_rely_on() -> None:
    value = json.loads(json.dumps(plan(synthetic.machine(hal_disk=True), VmmConfig(), DEBIAN).to_json()))
    assert value["cpu"]["vcpus"] == 16
    assert value["cpu"]["pinning"][1] == {"vcpu": 1, "cpu": 1}
    assert value["cpu"]["topology"] == {"sockets": 2, "dies": 1, "cores": 8, "threads": 1, "maxcpus": 16}
    assert value["memory"]["guest_mib"] + value["memory"]["host_mib"] in range(65536 - 2, 65537)
    assert value["disks"][0]["host"] == "/dev/sda"
    assert value["disks"][0]["serial"] == "6XP00000"
    nic = {"host": "enp32s0f0", "mac": "00:1b:21:00:00:00", "slot": 0, "tap": "haltap0", "model": "virtio-net-pci"}
    assert value["nics"][0] == nic, "hal-netcfg reads this"
    assert value["host_link"] == {"mac": "02:48:41:4c:00:02", "tap": "haltapint", "model": "virtio-net-pci"}
    assert value["serial"][0]["host"] == "/dev/ttyS0"
    assert value["optical"] == []
    assert value["smbios"]["system"]["product"] == "Server 9000"
    assert (value["machine"], value["era"]) == ("pc-q35-7.2", "modern")
    assert {"what": "/dev/sde", "reason": "HAL's own device"} in value["held_back"]
    assert {"what": "cpu 16-31", "reason": "hyper-threads"} in value["held_back"]


def test_it_is_pure() -> None:
    machine = synthetic.machine()
    assert plan(machine, VmmConfig(), DEBIAN) == plan(machine, VmmConfig(), DEBIAN)


@pytest.mark.parametrize(
    ("era", "flavour", "machine"),
    [
        ("modern", "debian12", "pc-q35-7.2"),
        ("pre-virtio", "el9", "pc-q35-rhel9.6.0"),
        ("ide", "el9", "pc-i440fx-rhel7.6.0"),
        ("ide", "el10", "pc-i440fx-rhel10.0.0"),
        ("ide", "fedora", "pc-i440fx-10.1"),
    ],
)
def test_the_machine_type_is_the_newest_of_its_family_and_never_an_alias(era: str, flavour: str, machine: str) -> None:
    assert plan(synthetic.machine(), VmmConfig(era=era), flavour_builtin.FLAVOURS[flavour]).machine == machine


def test_a_family_that_qemu_has_lost_is_said() -> None:
    q35_only = dataclasses.replace(EL10, machines=tuple(m for m in EL10.machines if m.family == "q35"))
    with pytest.raises(HostError, match="no machine type of family pc; it has q35"):
        plan(synthetic.machine(), VmmConfig(era="ide"), q35_only)


def test_names_that_are_no_versioned_machine_type_are_passed_over() -> None:
    assert [MachineType(name, 1).family for name in ("pc", "q35", "none", "microvm", "pc-q35-jammy")] == [""] * 5
    versions = [MachineType(f"pc-q35-{version}", 1) for version in ("9.2", "10.0", "4.0.1", "rhel9.4.0")]
    assert max(versions, key=lambda machine: machine.version).name == "pc-q35-10.0"


def test_a_qemu_without_a_needed_device_is_said() -> None:
    lean = dataclasses.replace(DEBIAN, devices=DEBIAN.devices - {"ich9-ahci"})
    with pytest.raises(HostError, match="has no ich9-ahci, which the era pre-virtio needs"):
        plan(synthetic.machine(), VmmConfig(era="pre-virtio"), lean)
    assert plan(synthetic.machine(), VmmConfig(), lean).disks


def test_kvm_that_does_not_work_means_emulation_only_when_allowed() -> None:
    broken = Kvm(works=False, reason="too slow")
    automatic = plan(synthetic.machine(), VmmConfig(accel="auto"), DEBIAN, kvm=broken)
    assert (automatic.accel, automatic.accel_reason, automatic.cpu.model) == ("tcg", "emulation: too slow", "max")
    strict = plan(synthetic.machine(), VmmConfig(), DEBIAN, kvm=broken)
    assert (strict.accel, strict.cpu.model) == ("kvm", "host")
    assert "KVM does not work here: too slow" in strict.notes
    none = dataclasses.replace(synthetic.machine(), kvm=False)
    assert plan(none, VmmConfig(accel="auto"), DEBIAN).accel_reason == "emulation: no /dev/kvm on this server"


def test_the_model_that_a_guest_really_ran_with_is_taken() -> None:
    kvm = Kvm(works=True, reason="an MSR", model="host,-arch-capabilities")
    planned = plan(synthetic.machine(), VmmConfig(), DEBIAN, kvm=kvm)
    assert planned.cpu.model == "host,-arch-capabilities"
    assert planned.cpu.model_reason == "host does not start on this server: an MSR"
    named = plan(synthetic.machine(), VmmConfig(cpu=CpuConfig(model="Haswell")), DEBIAN, kvm=kvm)
    assert named.cpu.model == "Haswell"


def test_an_initrd_without_a_kernel_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"vmm\.boot: initrd and append need a kernel"):
        plan(synthetic.machine(), VmmConfig(boot=BootConfig(initrd="/boot/initrd")), DEBIAN)


def test_the_table_shows_both_sides_and_every_reason() -> None:
    machine = synthetic.machine(hal_disk=True)
    planned = plan(machine, VmmConfig(), DEBIAN)
    text = show.render(machine, planned, DEBIAN)
    assert "this server has" in text.splitlines()[0]
    assert "the product will see" in text.splitlines()[0]
    for item in planned.held_back:
        assert str(item) in text
    for note in planned.notes:
        assert note in text
    for disk in machine.disks:
        assert disk.path in text
    for nic in machine.nics:
        assert nic.mac in text
    assert re.search(r"^host link +- +virtio-net-pci: 02:48:41:4c:00:02 on haltapint$", text, re.MULTILINE)


def test_without_a_link_to_the_host_it_is_null_and_has_no_row() -> None:
    machine = synthetic.machine()
    planned = plan(machine, VmmConfig(devices=DevicesConfig(nic_backend="unplugged")), DEBIAN)
    assert planned.to_json()["host_link"] is None
    assert "host link" not in show.render(machine, planned, DEBIAN)
