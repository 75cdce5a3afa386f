"""Disks, DVD drives, NICs, serial ports, SMBIOS: what the product gets, and why it does not get the rest."""

from __future__ import annotations

import dataclasses
from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_core.errors import ConfigError
from hal_core.machine import Dmi, Machine, Optical, SerialPort
from hal_core.testing import synthetic
from hal_vmm.config import DevicesConfig, HeartbeatConfig, VmmConfig
from hal_vmm.plan import slots, smbios
from hal_vmm.plan.guest import plan as make_plan
from hal_vmm.plan.guestplan import GuestPlan
from hal_vmm.plan.nicplan import HostLink
from hal_vmm.plan.pinned import Pinned
from hal_vmm.qemu import flavour_builtin

DEBIAN, EL9 = flavour_builtin.FLAVOURS["debian12"], flavour_builtin.FLAVOURS["el9"]
DVD = Optical(
    "sr0", model="DVD-ROM DV28", vendor="TEAC", serial="D1", by_path="pci-0000:00:1f.2-ata-1", transport="ata"
)
COM = {name: (0x3F8, 0x2F8, 0x3E8, 0x2E8)[index] for index, name in enumerate(("ttyS0", "ttyS1", "ttyS2", "ttyS3"))}


def plan(
    machine: Machine,
    era: str = "modern",
    pinned: Optional[Pinned] = None,
    heartbeat: str = "auto",
    watchdog: bool = True,
    **devices: Any,
) -> GuestPlan:
    config = VmmConfig(
        era=era,
        devices=DevicesConfig(watchdog=watchdog, **devices),
        heartbeat=HeartbeatConfig(transport=heartbeat),
    )
    return make_plan(machine, config, DEBIAN, pinned)


def reasons(planned: GuestPlan) -> dict[str, str]:
    return {item.what: item.reason for item in planned.held_back}


def with_disk(**overrides: Any) -> Machine:
    """A server with a disk of that kind, sda, and an ordinary one, sdb."""
    return dataclasses.replace(synthetic.machine(), disks=(synthetic.disk(0, **overrides), synthetic.disk(1)))


def with_serial(*ports: SerialPort) -> Machine:
    return dataclasses.replace(synthetic.machine(disks=0), serial=ports)


def com(name: str, console: bool = False) -> SerialPort:
    return SerialPort(name, "16550A", COM.get(name, 0xE000), 4, console)


# --- disks


def test_every_disk_but_hals_own_in_the_hosts_order() -> None:
    planned = plan(synthetic.machine(disks=3, hal_disk=True))
    assert [(disk.host, disk.slot) for disk in planned.disks] == [("/dev/sda", 0), ("/dev/sdb", 1), ("/dev/sdc", 2)]
    assert str(planned.held_back[1]) == "/dev/sdd: HAL's own device"


def test_a_disk_looks_as_it_did_on_bare_metal() -> None:
    disk = plan(with_disk(physical_block_bytes=4096, rotational=False, discard=True)).disks[0]
    assert (disk.serial, disk.wwn, disk.vendor, disk.model) == (
        "6XP00000",
        "0x5000c50000000000",
        "SEAGATE",
        "ST9300605SS",
    )
    assert (disk.logical_block_bytes, disk.physical_block_bytes) == (512, 4096)
    assert (disk.rotation_rate, disk.discard) == (1, True)
    assert plan(with_disk()).disks[0].rotation_rate == 0
    assert plan(with_disk(rotation_rpm=7200)).disks[0].rotation_rate == 7200
    assert plan(with_disk(rotation_rpm=3)).disks[0].rotation_rate == 0, "no rate that the field can hold"
    assert plan(with_disk(rotational=False, rotation_rpm=7200)).disks[0].rotation_rate == 1


@pytest.mark.parametrize(
    ("overrides", "era", "reason"),
    [
        ({"transport": "usb"}, "modern", "USB: handed over as a USB device"),
        ({"size_bytes": 0, "removable": True}, "modern", "no medium in it"),
        ({"size_bytes": 0}, "modern", "it has no size"),
        ({"logical_block_bytes": 4096}, "pre-virtio", "blocks of 4096 bytes: the disks of the era pre-virtio have 512"),
        ({"read_only": True}, "ide", "read-only: the disks of the era ide cannot be"),
        ({"hal_device": True}, "ide", "HAL's own device"),
    ],
)
def test_disks_that_are_held_back(overrides: dict[str, Any], era: str, reason: str) -> None:
    planned = plan(with_disk(**overrides), era)
    assert reasons(planned)["/dev/sda"] == reason
    assert [disk.host for disk in planned.disks] == ["/dev/sdb"]


def test_four_kn_and_read_only_disks_are_fine_for_scsi() -> None:
    planned = plan(with_disk(logical_block_bytes=4096, physical_block_bytes=4096, read_only=True))
    assert (planned.disks[0].logical_block_bytes, planned.disks[0].read_only) == (4096, True)


@pytest.mark.parametrize(
    "name", ["sda", "/dev/sda", "6XP00000", "0x5000C50000000000", "pci-0000:02:00.0-scsi-0:0:0:0", "*"]
)
def test_a_disk_is_kept_under_any_of_its_names(name: str) -> None:
    planned = plan(with_disk(), keep_disks=(name,))
    assert reasons(planned)["/dev/sda"] == "kept for the host (vmm.devices.keep_disks)"


def test_keeping_a_disk_that_is_not_there_is_an_error_once_and_a_note_ever_after() -> None:
    with pytest.raises(ConfigError, match=r'vmm\.devices\.keep_disks: "sbd": no such device .* there is sda, sdb'):
        plan(with_disk(), keep_disks=("sbd",))
    pinned = plan(with_disk()).pinned
    assert 'keep_disks: "sbd": no such device' in " ".join(plan(with_disk(), pinned=pinned, keep_disks=("sbd",)).notes)


def test_what_the_virtual_disk_cannot_carry_is_told() -> None:
    planned = plan(with_disk(wwn="0x600508b1001c4d9c8a2c3b0a1f2e3d4c", serial="S" * 50, holders=("md0",)))
    assert planned.disks[0].wwn == ""
    assert planned.disks[0].serial == "S" * 36
    assert [note.partition(":")[0] for note in planned.notes[:3]] == ["sda", "sda", "in use by the host"]


def test_only_four_ide_drives_and_the_dvd_is_one_of_them() -> None:
    machine = synthetic.machine(disks=5)
    planned = plan(machine, "ide")
    assert [disk.slot for disk in planned.disks] == [0, 1, 2, 3]
    assert reasons(planned)["/dev/sde"] == "the era ide has room for 4 disks"
    with_dvd = plan(dataclasses.replace(machine, optical=(DVD,)), "ide")
    assert [disk.slot for disk in with_dvd.disks] == [0, 1, 2]
    assert reasons(with_dvd)["/dev/sdd"] == "the era ide has room for 3 disks, the DVD drive has the fourth place"


def test_dvd_drives_are_the_real_ones_where_qemu_can() -> None:
    machine = dataclasses.replace(
        synthetic.machine(), optical=(DVD, dataclasses.replace(DVD, name="sr1", transport="usb"))
    )
    planned = plan(machine)
    assert [(drive.host, drive.driver, drive.model) for drive in planned.optical] == [
        ("/dev/sr0", "host_cdrom", "TEAC DVD-ROM DV28")
    ]
    assert reasons(planned)["/dev/sr1"] == "USB: handed over as a USB device"
    assert make_plan(machine, VmmConfig(), EL9).optical[0].driver == ""


def test_a_dvd_drive_keeps_its_place_whatever_the_host_calls_it() -> None:
    second = dataclasses.replace(DVD, name="sr1", serial="D2", by_path="pci-0000:00:1f.2-ata-2")
    machine = dataclasses.replace(synthetic.machine(), optical=(DVD, second))

    def places(planned: GuestPlan) -> dict[str, int]:
        return {drive.serial: drive.slot for drive in planned.optical}

    first_time = plan(machine)
    assert places(first_time) == {"D1": 0, "D2": 1}
    exchanged = (dataclasses.replace(second, name="sr0"), dataclasses.replace(DVD, name="sr1"))
    again = plan(dataclasses.replace(machine, optical=exchanged), pinned=first_time.pinned)
    assert places(again) == {"D1": 0, "D2": 1}
    assert [(drive.serial, drive.host) for drive in again.optical] == [("D2", "/dev/sr0"), ("D1", "/dev/sr1")]
    alone = plan(dataclasses.replace(machine, optical=exchanged[:1]), pinned=again.pinned)
    assert places(alone) == {"D2": 1}
    assert reasons(alone)["DVD drive D1"] == "not found; its slot is kept"
    assert places(plan(machine, pinned=alone.pinned)) == {"D1": 0, "D2": 1}


def test_image_files_come_after_the_disks() -> None:
    planned = plan(with_disk(), disk_files=("/tmp/data.img",))
    assert [(disk.host, disk.kind, disk.slot) for disk in planned.disks][2] == ("/tmp/data.img", "file", 2)


# --- NICs


def test_a_nic_for_every_port_with_its_address_on_its_tap() -> None:
    planned = plan(synthetic.machine(nics=3))
    assert [(nic.host, nic.mac, nic.tap) for nic in planned.nics] == [
        ("enp32s0f0", "00:1b:21:00:00:00", "haltap0"),
        ("enp32s0f1", "00:1b:21:00:00:01", "haltap1"),
        ("enp33s0f0", "00:1b:21:00:00:02", "haltap2"),
    ]


def test_nics_that_are_held_back() -> None:
    nics = (synthetic.nic(0, mac=""), synthetic.nic(1, bus="usb"), synthetic.nic(2), synthetic.nic(3))
    planned = plan(dataclasses.replace(synthetic.machine(), nics=nics), keep_nics=("00:1B:21:00:00:02",))
    assert [nic.host for nic in planned.nics] == ["enp33s0f1"]
    assert reasons(planned)["enp32s0f0"] == "its permanent MAC address could not be read"
    assert reasons(planned)["enp32s0f1"] == "USB: handed over as a USB device"
    assert reasons(planned)["enp33s0f0"] == "kept for the host (vmm.devices.keep_nics)"


@pytest.mark.parametrize(("era", "model"), [("modern", "virtio-net-pci"), ("pre-virtio", "e1000"), ("ide", "rtl8139")])
def test_the_nic_of_each_era(era: str, model: str) -> None:
    planned = plan(synthetic.machine(disks=0, nics=1), era, ide_nic="rtl8139")
    assert [nic.model for nic in planned.nics] == [model]
    assert planned.host_link == HostLink("02:48:41:4c:00:02", "haltapint", model)


def test_without_a_network_there_are_no_taps_and_no_link_to_the_host() -> None:
    planned = plan(synthetic.machine(), nic_backend="unplugged")
    assert {nic.tap for nic in planned.nics} == {""}
    assert planned.host_link is None


def test_the_link_to_the_host_needs_no_nic_and_may_be_switched_off() -> None:
    assert plan(synthetic.machine(nics=0)).host_link
    assert plan(synthetic.machine(), keep_nics=("*",)).host_link
    planned = plan(synthetic.machine(), host_link=False)
    assert planned.host_link is None
    assert reasons(planned)["host link"] == "switched off in hal.toml (vmm.devices.host_link)"


def test_the_link_to_the_host_changes_nothing_that_is_pinned() -> None:
    assert plan(synthetic.machine()).pinned == plan(synthetic.machine(), host_link=False).pinned


# --- serial ports and channels


def test_a_serial_port_keeps_its_com_number_when_the_host_keeps_another() -> None:
    planned = plan(with_serial(com("ttyS0", console=True), com("ttyS1"), com("ttyS4")))
    assert [(port.host, port.index) for port in planned.serial] == [("/dev/ttyS4", 0), ("/dev/ttyS1", 1)]
    assert "the host's own console" in reasons(planned)["/dev/ttyS0"]


def test_named_ports_come_in_the_order_of_hal_toml() -> None:
    machine = with_serial(com("ttyS0", console=True), com("ttyS1"))
    planned = plan(machine, serial=("/dev/ttyS0", "/dev/ttyS7"))
    assert [(port.host, port.index, port.present) for port in planned.serial] == [
        ("/dev/ttyS0", 0, True),
        ("/dev/ttyS7", 1, False),
    ]
    assert reasons(planned)["/dev/ttyS1"] == "not in vmm.devices.serial"
    assert "/dev/ttyS7: not on this server: the product's COM2 leads nowhere" in planned.notes


def test_an_old_product_speaks_to_hal_on_com4() -> None:
    machine = with_serial(*(com(name) for name in COM))
    planned = plan(machine, "pre-virtio")
    assert [port.index for port in planned.serial] == [0, 1, 2]
    assert [(channel.name, channel.serial_index) for channel in planned.channels] == [("heartbeat", 3)]
    assert reasons(planned)["/dev/ttyS3"] == "the product's COM4 is its channel to the host"
    assert [channel.name for channel in plan(machine, "ide", heartbeat="agent").channels] == ["agent"]
    silent = plan(machine, "pre-virtio", heartbeat="none")
    assert (len(silent.serial), silent.channels) == (4, ())


def test_a_fifth_port_has_no_place() -> None:
    machine = with_serial(*(com(name) for name in (*COM, "ttyS4")))
    assert reasons(plan(machine))["/dev/ttyS4"] == "the product has 4 serial ports"


def test_a_modern_product_has_both_channels() -> None:
    assert [(c.name, c.serial_index) for c in plan(with_serial()).channels] == [("agent", -1), ("heartbeat", -1)]


@given(
    names=st.lists(st.sampled_from([*COM, "ttyS4", "ttyS5", "ttyS6"]), unique=True),
    wanted=st.lists(st.sampled_from(["auto", "/dev/ttyS0", "/dev/ttyS3", "/dev/ttyS6"]), max_size=4),
    era=st.sampled_from(["modern", "pre-virtio"]),
)
def test_every_port_has_one_place_or_a_reason(names: list[str], wanted: list[str], era: str) -> None:
    planned = plan(with_serial(*(com(name) for name in names)), era, serial=tuple(wanted))
    indexes = [port.index for port in planned.serial] + [
        c.serial_index for c in planned.channels if c.serial_index >= 0
    ]
    assert len(set(indexes)) == len(indexes)
    assert all(0 <= index < 4 for index in indexes)
    told = {port.host for port in planned.serial} | set(reasons(planned))
    assert {f"/dev/{name}" for name in names} <= told
    assert {path for path in wanted if path != "auto"} <= told


# --- the rest


def test_what_an_era_or_hal_toml_does_not_have_is_told() -> None:
    planned = plan(synthetic.machine(disks=0), "ide", watchdog=False)
    assert (planned.watchdog, planned.rng, planned.profile.usb[0]) == ("", False, "ich9-usb-ehci1")
    assert reasons(planned)["watchdog"] == "switched off in hal.toml (vmm.devices.watchdog)"
    assert reasons(planned)["random numbers"] == "the era ide has no driver for it"
    assert plan(synthetic.machine(disks=0), "ide").watchdog == "ib700"


@pytest.mark.parametrize(("era", "buses", "ports"), [("modern", 3, 45), ("pre-virtio", 6, 36), ("ide", 2, 12)])
def test_usb_ports_for_thirty_two_devices_where_the_products_kernel_bears_it(era: str, buses: int, ports: int) -> None:
    planned = plan(synthetic.machine(disks=0), era)
    told = planned.to_json()["usb_buses"]
    assert (len(told), sum(bus["ports"] for bus in told)) == (buses, ports)
    places = {(controller.slot, controller.function) for controller in planned.usb}
    assert len(places) == len({bus["bus"] for bus in told}) == buses
    # Whatever else the product may have is somewhere else.
    others = {slots.VGA, slots.WATCHDOG, slots.STORAGE, slots.HOST_LINK, 0x1F}
    others |= {slots.VIRTIO_SERIAL, slots.RNG} if era == "modern" else set()
    others |= {1} if era == "ide" else set()
    others |= {slots.FIRST_NIC + number for number in range(slots.NIC_SLOTS)}
    assert others.isdisjoint({controller.slot for controller in planned.usb})


def test_a_qemu_without_pvpanic_or_watchdog_still_runs_the_product() -> None:
    lean = dataclasses.replace(DEBIAN, devices=DEBIAN.devices - {"pvpanic", "i6300esb", "virtio-rng-pci"})
    planned = make_plan(synthetic.machine(), VmmConfig(), lean)
    assert (planned.watchdog, planned.pvpanic, planned.rng) == ("", False, False)
    assert {"watchdog", "panic notice", "random numbers"} <= set(reasons(planned))


def test_smbios_carries_the_servers_identity() -> None:
    planned = smbios.plan(synthetic.DMI)
    assert planned.tables[1]["serial"] == "SN42"
    assert planned.tables[2]["serial"] == "..CN7016342F00AB."
    assert planned.uuid == "4c4c4544-0042-4a10-8053-b4c04f4e3132"
    assert planned.tables[0]["release"] == "1.2"


def test_smbios_leaves_out_what_is_empty_or_unusable() -> None:
    dmi = Dmi(sys_vendor="  \t", product_name="A\x00B\n ", bios_release="255", product_uuid="Not Settable")
    planned = smbios.plan(dmi, ("/sys/class/dmi/id/product_serial",))
    assert planned.tables == {1: {"product": "AB"}}
    assert planned.uuid == ""
    assert [note.partition(":")[0] for note in planned.notes] == [
        "the server's UUID is not one (Not Settable)",
        "the server's serial number and UUID are readable by root only",
    ]
    assert smbios.plan(Dmi(product_uuid="00000000-0000-0000-0000-000000000000")).uuid == ""


@given(st.text(max_size=600))
def test_smbios_texts_are_printable_and_not_too_long(text: str) -> None:
    cleaned = smbios.clean(text)
    assert cleaned == cleaned.strip()
    assert len(cleaned) <= 255
    assert all(char.isprintable() for char in cleaned)
