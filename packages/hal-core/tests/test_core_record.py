"""Recordings: complete, exact, replaced in one step; and anonymous ones that keep nothing that identifies a server."""

from __future__ import annotations

import dataclasses
import os
import re
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hal_core import anonymize, disguise, facts, record, record_command
from hal_core.anonymize import Recording
from hal_core.disguise import Disguise
from hal_core.errors import FileFormatError, HostError, UsageError
from hal_core.facts import dmi
from hal_core.machine import Machine, Optical
from hal_core.testing import synthetic, sysfs

MACHINE = synthetic.machine(packages=1, cores=2, disks=2, nics=2, hal_disk=True)


@pytest.fixture
def server(tmp_path: Path) -> str:
    """A server's files in a directory."""
    root = tmp_path / "server"
    synthetic.write_tree(str(root), MACHINE)
    return str(root)


@given(
    cores=st.integers(1, 3),
    disks=st.integers(0, 4),
    nics=st.integers(0, 3),
    nodes=st.integers(0, 2),
    hal_disk=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_a_recording_gives_the_same_machine(**shape: Any) -> None:
    machine = synthetic.machine(packages=1, **shape)
    tree = sysfs.tree(synthetic.layout(machine))
    assert facts.read_tree(tree) == machine
    again = Recording(dict(tree.files), dict(tree.links), tuple(tree.directories()))
    assert facts.read_tree(sysfs.tree(again)) == machine


def test_a_recording_holds_what_facts_read_and_nothing_else(server: str, tmp_path: Path) -> None:
    for name in ("etc/shadow", "sys/kernel/secret", "sys/class/net/enp32s0f0/statistics/rx_bytes"):
        os.makedirs(os.path.dirname(f"{server}/{name}"), exist_ok=True)
        Path(server, name).write_text("not read by facts")
    path = tmp_path / "r.tar"
    record.record(str(path), server)
    assert b"not read by facts" not in path.read_bytes()
    with tarfile.open(path) as tar:
        assert all(member.name == "r" or member.name.startswith("r/") for member in tar)
        assert {member.uid for member in tar} == {0}
    assert facts.read(str(path)) == MACHINE


def test_this_host_is_recorded_as_it_is(tmp_path: Path) -> None:
    """On the running kernel, whatever it is: the recording tells the same, apart from /dev/kvm and free huge pages."""

    def steady(machine: Machine) -> Machine:
        pools = tuple(dataclasses.replace(pool, free=0) for pool in machine.memory.hugepages)
        return dataclasses.replace(machine, memory=dataclasses.replace(machine.memory, hugepages=pools), kvm=None)

    path = str(tmp_path / "host.tar.gz")
    record.record(path)
    assert steady(facts.read(path)) == steady(facts.read("/"))


def test_recording_a_recording_gives_the_same_bytes(server: str, tmp_path: Path) -> None:
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
    record.record(str(tmp_path / "1/r.tar"), server)
    record.record(str(tmp_path / "2/r.tar"), str(tmp_path / "1/r.tar"))
    assert (tmp_path / "1/r.tar").read_bytes() == (tmp_path / "2/r.tar").read_bytes()


def test_what_could_not_be_read_is_in_the_recording(tmp_path: Path) -> None:
    machine = dataclasses.replace(MACHINE, unreadable=("/sys/class/dmi/id/product_serial",))
    synthetic.write_tree(str(tmp_path / "s"), machine)
    record.record(str(tmp_path / "r.tar"), str(tmp_path / "s"))
    assert facts.read(str(tmp_path / "r.tar")).unreadable == machine.unreadable


def test_the_command(server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "r.tar.xz")
    Path(path).write_text("an older file")
    assert record_command.main(["--root", server, path]) == 0
    assert re.fullmatch(rf"{re.escape(path)}: \d+ files, \d+ bytes\n", capsys.readouterr().out)
    assert facts.read(path) == MACHINE
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert record_command.main(["--root", path, "--anonymize", path]) == 0
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644
    assert facts.read(path).dmi.product_serial != MACHINE.dmi.product_serial
    assert sorted(os.listdir(tmp_path)) == ["r.tar.xz", "server"]


def test_the_command_tells_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = dataclasses.replace(MACHINE, unreadable=("/a", "/b"))
    synthetic.write_tree(str(tmp_path / "s"), machine)
    assert record_command.main(["--root", str(tmp_path / "s"), str(tmp_path / "r.tar")]) == 0
    assert "2 files could not be read" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["r910", "r910.zip", ".tar", "..tar.gz", "r910.tar.zst", ""])
def test_a_name_that_does_not_say_how_to_pack(server: str, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"must end in one of"):
        record.record(str(tmp_path / name) if name else "", server)


def test_a_directory_that_is_missing_or_is_none(server: str, tmp_path: Path) -> None:
    for path in (tmp_path / "missing/r.tar", tmp_path / "server/proc/cpuinfo/r.tar"):
        with pytest.raises(HostError, match="there is no directory"):
            record.record(str(path), server)
    (tmp_path / "taken.tar").mkdir()
    with pytest.raises(HostError, match="cannot write") as caught:
        record.record(str(tmp_path / "taken.tar"), server)
    assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["server", "taken.tar"]


def test_a_root_that_is_no_recording_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "r.tar"
    path.write_text("old")
    with pytest.raises(FileFormatError):
        record.record(str(path), str(tmp_path))
    assert path.read_text() == "old"


# Everything that identifies the server below, in every form that it takes there.
SECRETS = (
    "SN42XK7", "4c4c4544-0042-4a10-8053-b4c04f4e3132", "CN7016342F00AB", "AT-99817", "6XP00Q1B", "Z300ABCD",
    "5000c500a1b2c3d4", "6b8ca3a0e6f1b3001a2b3c4d5e6f7a8b", "6b8ca3a0e6f1b300", "0025385b71b0c1d2", "500056b3deadbeef",
    "001b21aabbcc", "00:1b:21:aa:bb:cc", "00:1B:21:AA:BB:CD", "00:1b:21:aa:bb:cd", "HALKEY0001",
    "1c5e9a2f-aaaa-bbbb-cccc-0123456789ab", "customer-vg", "customer--vg", "CUSTOMERDATA",
    "fileserver.customer.example", "iqn.2001-05.com.customer:target", "192.0.2.77", "secretparameter", "0a1b2c3d-02",
)  # fmt: skip


def secret_server() -> Recording:
    """A server whose identities stand in all the places where real ones have them."""
    disks = (
        synthetic.disk(
            0, serial="6XP00Q1B", wwn="0x5000c500a1b2c3d4", by_path="pci-0000:02:00.0-sas-0x500056b3deadbeef-lun-0"
        ),
        synthetic.disk(1, serial="", wwn="0x6b8ca3a0e6f1b3001a2b3c4d5e6f7a8b", by_path="pci-0000:02:00.0-scsi-0:2:1:0"),
        synthetic.disk(2, serial="Z300ABCD", wwn="eui.0025385b71b0c1d2"),
        synthetic.disk(
            3, serial="S1", wwn="", by_path="ip-192.0.2.77:3260-iscsi-iqn.2001-05.com.customer:target-lun-1"
        ),
        synthetic.usb_key(4),
    )
    nics = (
        synthetic.nic(0, name="enx001b21aabbcc", mac="00:1b:21:aa:bb:cc"),
        synthetic.nic(1, mac="00:1b:21:aa:bb:cd"),
    )
    dmi = dataclasses.replace(
        synthetic.DMI, product_serial="SN42XK7", chassis_serial="SN42XK7",
        product_uuid="4C4C4544-0042-4A10-8053-B4C04F4E3132", board_serial="..CN7016342F00AB.",
        chassis_asset_tag="AT-99817", board_asset_tag="Not Specified",
    )  # fmt: skip
    optical = (Optical("sr0", "DVD", "HL", "Z300ABCD", "", "scsi"),)
    layout = synthetic.layout(synthetic.machine(packages=1, cores=1, disks=0, nics=0, hal_disk=True))
    machine = facts.read_tree(sysfs.tree(layout))
    layout = synthetic.layout(dataclasses.replace(machine, disks=disks, nics=nics, dmi=dmi, optical=optical))
    files = dict(layout.files)
    sda = "/sys/devices/pci0000:00/0000:02:00.0/host0/target0:0:0/0:0:0:0"
    sdb = "/sys/devices/pci0000:00/0000:02:00.0/host0/target0:0:1/0:0:1:0"
    files[f"{sda}/wwid"] = b"naa.5000c500a1b2c3d4\n"
    files[f"{sda}/vpd_pg80"] = b"\0\x80\0\x08" + b"6XP00Q1B"
    files[f"{sdb}/vpd_pg80"] = b"\0\x80\0\x08" + b"Z300ABCD"
    files["/run/udev/data/b8:0"] += (
        b"S:disk/by-id/scsi-SSEAGATE_ST9300605SS_6XP00Q1B\nE:ID_SERIAL=35000c500a1b2c3d4\nE:ID_SCSI_SERIAL=6XP00Q1B\n"
    )
    files["/run/udev/data/b8:16"] += (
        b"E:ID_WWN=0x6b8ca3a0e6f1b300\nE:ID_WWN_WITH_EXTENSION=0x6b8ca3a0e6f1b3001a2b3c4d5e6f7a8b\n"
    )
    files["/run/udev/data/b8:65"] = (
        b"E:ID_FS_UUID=1c5e9a2f-aaaa-bbbb-cccc-0123456789ab\nE:ID_FS_LABEL=CUSTOMERDATA\nE:ID_PART_ENTRY_UUID=0a1b2c3d-02\n"
    )
    files["/run/udev/data/n2"] = b"E:ID_NET_NAME_MAC=enx001b21aabbcc\n"
    files["/hal/nics/enx001b21aabbcc/permaddr"] = b"00:1b:21:aa:bb:cc\n"
    files["/proc/self/net/bonding/bond0"] = (
        b"MII Status: up\nSystem MAC: 00:1B:21:AA:BB:CD\n"
        b"Slave Interface: enp32s0f1\nPermanent HW addr: 00:1b:21:aa:bb:cd\n"
    )
    files["/sys/class/block/dm-0/dm/name"] = b"customer--vg-root\n"
    files["/sys/class/block/dm-0/slaves/sde2/x"] = b""
    files["/proc/self/mountinfo"] = (
        b"27 1 0:99 / / rw - btrfs /dev/mapper/customer--vg-root rw,x=secretparameter\n"
        b"28 1 0:44 / /mnt/CUSTOMERDATA rw - nfs fileserver.customer.example:/CUSTOMERDATA rw,addr=192.0.2.77\n"
    )
    files["/proc/swaps"] = b"Filename\tType\n/dev/customer-vg/swap partition 1 0 -2\n/CUSTOMERDATA/swap file 1 0 -3\n"
    files["/proc/cmdline"] = b"root=UUID=1c5e9a2f-aaaa-bbbb-cccc-0123456789ab ip=192.0.2.77 secretparameter=1 quiet\n"
    return Recording(files, {**layout.links, "/proc/net": "self/net"}, layout.directories)


def masked(machine: Machine) -> Machine:
    """Without the identities, which are the only thing that may have changed."""
    return dataclasses.replace(
        machine,
        disks=tuple(dataclasses.replace(disk, serial="", wwn="", by_path="") for disk in machine.disks),
        optical=tuple(dataclasses.replace(drive, serial="") for drive in machine.optical),
        nics=tuple(dataclasses.replace(nic, name="", mac="") for nic in machine.nics),
        usb=tuple(dataclasses.replace(device, serial="") for device in machine.usb),
        dmi=dataclasses.replace(machine.dmi, **dict.fromkeys(dmi.IDENTITIES, "")),
    )


def collected(server: Recording) -> Recording:
    """What 'hal record' takes of a server."""
    tree = sysfs.tree(server)
    facts.read_tree(tree)
    directories = tree.directories()
    return Recording(dict(tree.files), dict(tree.links), tuple(directories))


@pytest.fixture
def original() -> Machine:
    return facts.read_tree(sysfs.tree(secret_server()))


@pytest.fixture(params=[b"k" * 32, bytes(range(32)), b"another key that is long enough."], ids=["k", "range", "text"])
def hidden(request: pytest.FixtureRequest) -> Recording:
    return anonymize.anonymize(collected(secret_server()), request.param)


def test_nothing_of_the_secrets_is_left(hidden: Recording) -> None:
    before = record.pack(secret_server(), "r").lower()
    after = record.pack(hidden, "r").lower()
    for secret in SECRETS:
        assert secret.lower().encode() in before, f"{secret}: the test server lacks it"
        assert secret.lower().encode() not in after
        assert secret.encode().hex().encode() not in after


def test_even_a_server_recorded_whole_keeps_none_of_them() -> None:
    """Files that today's facts do not read, as an older or newer HAL may have recorded them."""
    after = record.pack(anonymize.anonymize(secret_server(), b"k" * 32), "r").lower()
    assert [secret for secret in SECRETS if secret.lower().encode() in after] == []


def test_everything_else_is_the_same(hidden: Recording, original: Machine) -> None:
    machine = facts.read_tree(sysfs.tree(hidden))
    assert masked(machine) == masked(original)
    assert machine != original
    assert [disk.name for disk in machine.disks if disk.hal_device] == ["sde"]


def test_equal_stays_equal_and_different_stays_different(hidden: Recording, original: Machine) -> None:
    machine = facts.read_tree(sysfs.tree(hidden))
    disks = {disk.name: disk for disk in machine.disks}
    assert machine.dmi.product_serial == machine.dmi.chassis_serial
    assert disks["sdc"].serial == disks["sdb"].serial == machine.optical[0].serial  # all Z300ABCD
    assert machine.usb[0].serial == disks["sde"].serial
    assert machine.dmi.board_asset_tag == "Not Specified"
    for before, after in zip(original.disks, machine.disks):
        for field in ("serial", "wwn"):
            assert bool(getattr(before, field)) == bool(getattr(after, field))
            assert getattr(before, field) == "" or getattr(before, field) != getattr(after, field)
    identities = [nic.mac for nic in machine.nics] + [disk.identity for disk in machine.disks]
    assert len(set(identities)) == len(identities)


def test_the_shapes_stay(hidden: Recording) -> None:
    machine = facts.read_tree(sysfs.tree(hidden))
    disks = {disk.name: disk for disk in machine.disks}
    assert re.fullmatch("00:1b:21:[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2}", machine.nics[0].mac)
    assert machine.nics[0].name == "enx" + machine.nics[0].mac.replace(":", "")
    assert re.fullmatch("0x5000c50[0-9a-f]{9}", disks["sda"].wwn)
    assert re.fullmatch("0x6b8ca3a[0-9a-f]{25}", disks["sdb"].wwn)
    assert re.fullmatch(r"eui\.[0-9a-f]{16}", disks["sdc"].wwn)
    assert re.fullmatch(r"pci-0000:02:00\.0-sas-0x500056b[0-9a-f]{9}-lun-0", disks["sda"].by_path)
    assert re.fullmatch("[0-9][A-Z]{2}[0-9]{2}[A-Z][0-9][A-Z]", disks["sda"].serial)
    assert re.fullmatch(r"\.\.[A-Z]{2}[0-9]{7}[A-Z][0-9]{2}[A-Z]{2}\.", machine.dmi.board_serial)
    assert re.fullmatch("[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", machine.dmi.product_uuid)
    both = hidden.files["/run/udev/data/b8:16"].decode()
    short, extended = (
        re.search(f"{key}=0x([0-9a-f]+)", both)[1]  # type: ignore[index]  # no match is a failed test
        for key in ("ID_WWN", "ID_WWN_WITH_EXTENSION")
    )
    assert extended.startswith(short)


def test_two_recordings_of_one_server_cannot_be_matched() -> None:
    server = collected(secret_server())
    first, second = (facts.read_tree(sysfs.tree(anonymize.anonymize(server))) for _ in range(2))
    assert first.dmi.product_uuid != second.dmi.product_uuid
    assert first.nics[0].mac != second.nics[0].mac


def test_volumes_with_plain_names_do_not_garble_the_rest() -> None:
    files = {
        "/proc/cmdline": b"root=/dev/root/boot quiet\n",
        "/proc/mounts": b"/dev/mapper/root / ext4 rw 0 0\n/dev/cciss/c0d0p1 /boot ext4 rw 0 0\n",
        "/sys/class/block/dm-0/dm/name": b"root\n",
        "/sys/class/dmi/id/chassis_asset_tag": b"DELL\n",
        "/sys/class/dmi/id/product_serial": b"7\n",
        "/sys/class/dmi/id/sys_vendor": b"DELL 7\n",
    }
    after = anonymize.anonymize(Recording(files, {}, ()), b"k" * 32).files
    assert after["/sys/class/dmi/id/sys_vendor"] == b"DELL 7\n"
    assert after["/sys/class/dmi/id/chassis_asset_tag"] != b"DELL\n"
    assert after["/sys/class/dmi/id/product_serial"] != b"7\n"
    assert b"/dev/cciss/c0d0p1 " in after["/proc/mounts"]
    assert after["/proc/cmdline"].startswith(b"root=/dev/")
    assert b"/dev/mapper/" + after["/sys/class/block/dm-0/dm/name"].strip() + b" " in after["/proc/mounts"]
    assert b"root" not in after["/proc/mounts"]


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40))
@settings(max_examples=200)
def test_a_serial_number_keeps_its_shape_and_nothing_else(serial: str) -> None:
    made_up = Disguise(b"k" * 32)
    made_up.learn([serial])
    new = made_up.whole(serial)
    assert len(new) == len(serial)
    if disguise.is_placeholder(serial):
        assert new == serial
        return
    for before, after in zip(serial, new):
        assert before.isalnum() == after.isalnum()
        assert before == after or before.isalnum()
    if any(char.isalnum() for char in serial):
        assert new != serial
        assert made_up.text(f"disk/by-id/ata-MODEL {serial} x") == f"disk/by-id/ata-MODEL {new} x"


@pytest.mark.parametrize(
    "placeholder",
    ["", "Not Specified", "To Be Filled By O.E.M.", "Default string", "None", "0000000000", "System Serial Number",
     "0123456789", "Unknown", "N/A", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "No Asset Tag"],
)  # fmt: skip
def test_placeholders_identify_nothing_and_stay(placeholder: str) -> None:
    assert Disguise(b"k" * 32).whole(placeholder) == placeholder
