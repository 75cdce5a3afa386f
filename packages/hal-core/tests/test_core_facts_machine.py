"""The whole machine: what is written is read back, whatever is missing is not an error; and ``hal facts`` itself."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hal_core import facts, facts_command, facts_report
from hal_core.anonymize import Recording
from hal_core.errors import FileFormatError
from hal_core.facts import dmi, firmware, pci, serial, usb
from hal_core.facts.tree import Tree
from hal_core.machine import Machine, Optical, SerialPort, UsbInterface
from hal_core.testing import synthetic, sysfs

RICH = synthetic.machine(
    packages=2,
    cores=2,
    disks=3,
    nics=2,
    hal_disk=True,
    optical=(Optical("sr0", "DVD-ROM DH", "HL-DT-ST", "K1", "pci-0000:00:1f.2-ata-1", "sata"),),
    serial=(SerialPort("ttyS0", "16550A", 0x3F8, 4, True), SerialPort("ttyS1", "16750", 0x2F8, 3, False)),
    unreadable=("/proc/net/vlan/config", "/sys/class/dmi/id/board_serial"),
)
BARE = synthetic.machine(packages=1, cores=1, threads=1, disks=0, nics=0, nodes=0, serial=(), firmware="")


def tree_of(
    files: dict[str, Union[str, int]], directories: tuple[str, ...] = (), links: Optional[dict[str, str]] = None
) -> Tree:
    content = {path: f"{text}\n".encode() for path, text in files.items()}
    return sysfs.tree(Recording(content, links or {}, directories))


@given(
    packages=st.integers(1, 3),
    cores=st.integers(1, 3),
    threads=st.integers(1, 2),
    disks=st.integers(0, 4),
    nics=st.integers(0, 4),
    nodes=st.integers(0, 3),
    hal_disk=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_every_synthetic_machine_is_read_back(**shape: Any) -> None:
    machine = synthetic.machine(**shape)
    assert facts.read_tree(sysfs.tree(synthetic.layout(machine))) == machine


def test_a_rich_machine_is_read_back_from_disk(tmp_path: Path) -> None:
    nics = (
        dataclasses.replace(RICH.nics[0], master="bond0", vlans=("vlan5",), carrier=None, speed_mbps=None),
        dataclasses.replace(RICH.nics[1], bus="virtio", driver="virtio_net"),
    )
    disks = (
        synthetic.disk(0, transport="sata", vendor="ATA", rotation_rpm=7200, by_path="pci-0000:00:1f.2-ata-2"),
        synthetic.disk(
            1, name="nvme0n1", vendor="", transport="nvme", by_path="pci-0000:01:00.0-nvme-1", partitions=()
        ),
        synthetic.disk(2, transport="sas", discard=True, rotational=False, holders=("md0",), wwn="", node=0),
    )
    devices = (synthetic.usb_hub("1-1"), synthetic.usb_plugged("1-1.4"), synthetic.usb_device(hal_device=False))
    machine = dataclasses.replace(RICH, nics=nics, disks=disks, usb=devices)
    synthetic.write_tree(str(tmp_path), machine)
    assert facts.read(str(tmp_path)) == machine


LAYOUT = synthetic.layout(RICH)
PATHS = sorted({*LAYOUT.files, *LAYOUT.links})


@given(st.sets(st.sampled_from(PATHS)), st.sets(st.sampled_from(sorted(LAYOUT.files))), st.binary(max_size=40))
@settings(max_examples=150, deadline=None)
def test_missing_and_damaged_files_never_raise(missing: set[str], damaged: set[str], garbage: bytes) -> None:
    files = {path: garbage if path in damaged else content for path, content in LAYOUT.files.items()}
    left = Recording(
        {path: content for path, content in files.items() if path not in missing},
        {path: target for path, target in LAYOUT.links.items() if path not in missing},
        LAYOUT.directories,
    )
    machine = facts.read_tree(sysfs.tree(left))
    assert facts_report.render(machine)
    json.dumps(dataclasses.asdict(machine))


@given(st.dictionaries(st.sampled_from(sorted(LAYOUT.links)), st.text("./abc0", max_size=12)))
@settings(max_examples=50, deadline=None)
def test_links_that_lead_anywhere_never_raise(targets: dict[str, str]) -> None:
    damaged = Recording(LAYOUT.files, {**LAYOUT.links, **targets}, LAYOUT.directories)
    assert facts.read_tree(sysfs.tree(damaged)).cpu == RICH.cpu


def _touched(machine: Machine) -> int:
    tree = sysfs.tree(synthetic.layout(machine))
    facts.read_tree(tree)
    return len(tree.files) + len(tree.links)


def test_the_work_grows_with_the_machine_and_no_faster() -> None:
    one, two, four = (_touched(synthetic.machine(packages=2 * n, cores=8, disks=16 * n, nics=4 * n)) for n in (1, 2, 4))
    assert four - two == 2 * (two - one)


def test_kvm_is_asked_of_the_running_host_only() -> None:
    assert facts.read("/").kvm is not None
    assert facts.is_live("//")
    assert facts.is_live("/proc/..")
    assert facts.read_tree(sysfs.tree(LAYOUT)).kvm is None


def test_serial_ports_without_a_chip_do_not_exist() -> None:
    files: dict[str, Union[str, int]] = {
        "/sys/class/tty/ttyS0/type": 4,
        "/sys/class/tty/ttyS0/port": "0x3F8",
        "/sys/class/tty/ttyS0/irq": 4,
        "/sys/class/tty/ttyS1/type": 0,
        "/sys/class/tty/ttyS10/type": 99,
        "/sys/class/tty/ttyS10/port": "0x0",
        "/sys/class/tty/ttyUSB0/type": 4,
        "/sys/class/tty/tty0/active": "tty1",
        "/sys/class/tty/console/active": "tty0 ttyS10",
    }
    assert serial.read(tree_of(files)) == (
        SerialPort("ttyS0", "16550A", 0x3F8, 4, False),
        SerialPort("ttyS10", "type 99", 0, 0, True),
    )


def test_serial_ports_of_kernels_without_a_type() -> None:
    listing = (
        "serinfo:1.0 driver revision:\n0: uart:16550A port:000003F8 irq:4 tx:0 rx:0 RTS|DTR\n1: uart:unknown port:0"
    )
    files: dict[str, Union[str, int]] = {"/proc/tty/driver/serial": listing, "/proc/consoles": "ttyS0   -W- (EC) 4:64"}
    expected = (SerialPort("ttyS0", "16550A", 0x3F8, 4, True),)
    assert serial.read(tree_of(files)) == expected
    assert (
        serial.read(tree_of({**files, "/sys/class/tty/ttyS0/dev": "4:64", "/sys/class/tty/ttyS1/dev": "4:65"}))
        == expected
    )


def test_usb_devices_by_port_with_hubs_and_without_root_hubs() -> None:
    root = "/sys/bus/usb/devices"
    files: dict[str, Union[str, int]] = {
        f"{root}/usb1/idVendor": "1d6b",
        f"{root}/usb1/serial": "0000:00:14.0",
        f"{root}/1-10/speed": "1.5",
        f"{root}/1-2/idVendor": "046d",
        f"{root}/1-2/product": "Receiver \x1b[0m",
        f"{root}/1-2/speed": "12",
        f"{root}/1-2:1.0/bInterfaceClass": "03",
        f"{root}/1-2.4/bDeviceClass": "09",
        f"{root}/1-2.4/speed": "unknown",
    }
    found = usb.read(tree_of(files))
    assert [(device.port, device.speed_mbps, device.hub) for device in found] == [
        ("1-2", 12, False),
        ("1-2.4", None, True),
        ("1-10", 1, False),
    ]
    assert (found[0].vendor_id, found[0].product) == ("046d", "Receiver [0m")


def test_what_a_usb_device_does_and_who_has_it() -> None:
    root, real = "/sys/bus/usb/devices", "/sys/devices/pci0000:00/0000:00:14.0/usb3"
    device_way = f"{real}/3-1/3-1.4"
    files: dict[str, Union[str, int]] = {
        f"{real}/version": " 2.00",
        f"{real}/3-1/bDeviceClass": "09",
        f"{device_way}/busnum": 3,
        f"{device_way}/devnum": 17,
        f"{device_way}/bConfigurationValue": "",
        f"{device_way}/3-1.4:1.11/bInterfaceNumber": "0b",
        f"{device_way}/3-1.4:1.11/bInterfaceClass": "ff",
        f"{device_way}/3-1.4:1.11/ttyUSB0/uevent": "",
        f"{device_way}/3-1.4:1.1/bInterfaceClass": "02",
        f"{device_way}/3-1.4:1.1/tty/ttyACM1/uevent": "",
    }
    ways = {
        "3-1": "3-1",
        "3-1.4": "3-1/3-1.4",
        "3-1.4:1.1": "3-1/3-1.4/3-1.4:1.1",
        "3-1.4:1.11": "3-1/3-1.4/3-1.4:1.11",
    }
    links = {f"{root}/{name}": f"{real}/{way}" for name, way in ways.items()}
    links[f"{device_way}/3-1.4:1.11/driver"] = "/sys/bus/usb/drivers/ftdi_sio"
    hub, device = usb.read(tree_of(files, links=links))
    assert (hub.hub, hub.path, hub.number, hub.interfaces) == (True, "0000:00:14.0/usb2/1", None, ())
    assert (device.path, device.bus, device.number, device.configured) == ("0000:00:14.0/usb2/1.4", 3, 17, False)
    assert device.interfaces == (
        UsbInterface(0, "02", "", "", "", ("ttyACM1",)),
        UsbInterface(11, "ff", "", "", "ftdi_sio", ("ttyUSB0",)),
    )


@pytest.mark.parametrize(
    ("device", "mounted", "own"),
    [
        ("sdb", "8:17", ["1-3"]),
        ("sdb", "8:1", []),
        # Somebody's DVD in a drive on USB, mounted by hand: not to be pulled out from under the host.
        ("sr0", "11:0", ["1-3"]),
    ],
)
def test_a_usb_device_that_carries_what_the_host_has_mounted(device: str, mounted: str, own: list[str]) -> None:
    way = "/sys/devices/pci0000:00/0000:00:14.0/usb1"
    block = f"{way}/1-3/1-3:1.0/host6/target6:0:0/6:0:0:0/block/{device}"
    files: dict[str, Union[str, int]] = {
        f"{way}/1-3/idVendor": "0781",
        f"{way}/1-30/idVendor": "0781",
        f"{block}/device/model": "x",
        f"{block}/{device}1/dev": "8:17",
        "/sys/block/sda/sda1/dev": "8:1",
        "/sys/block/sda/device/model": "x",
        "/proc/self/mountinfo": f"29 1 {mounted} / /mnt rw - ext4 /dev/x rw",
    }
    links = {
        "/sys/bus/usb/devices/1-3": f"{way}/1-3",
        "/sys/bus/usb/devices/1-30": f"{way}/1-30",
        f"/sys/block/{device}": block,
        "/sys/dev/block/8:17": f"{block}/{device}1",
        "/sys/dev/block/11:0": block,
        "/sys/dev/block/8:1": "/sys/block/sda/sda1",
    }
    assert [one.port for one in usb.read(tree_of(files, links=links)) if one.hal_device] == own


def test_pci_devices_in_wide_domains() -> None:
    root = "/sys/bus/pci/devices"
    files: dict[str, Union[str, int]] = {
        f"{root}/10000:00:02.0/class": "0x010802",
        f"{root}/0000:0a:00.0/class": "0x020000",
        f"{root}/0000:0a:00.0/vendor": "0x8086",
        f"{root}/0000:0a:00.0/device": "0x1521",
        f"{root}/0000:0a:00.0/numa_node": -1,
        f"{root}/nonsense/class": "0x1",
    }
    first, second = pci.read(tree_of(files))
    assert (first.address, first.class_id, first.vendor_id, first.device_id) == (
        "0000:0a:00.0",
        "020000",
        "8086",
        "1521",
    )
    assert (first.node, first.driver) == (None, "")
    assert (second.address, second.vendor_id) == ("10000:00:02.0", "")


def test_dmi_strings_keep_what_is_inside_and_lose_their_padding() -> None:
    files: dict[str, Union[str, int]] = {
        f"{dmi.DIRECTORY}/sys_vendor": "Acme  Inc.   ",
        f"{dmi.DIRECTORY}/board_name": " ",
    }
    read = dmi.read(tree_of(files))
    assert (read.sys_vendor, read.board_name, read.product_uuid) == ("Acme  Inc.", "", "")


def test_firmware() -> None:
    assert firmware.read(tree_of({}, ("/sys/firmware/efi",))) == "uefi"
    assert firmware.read(tree_of({}, ("/sys/firmware/acpi",))) == "bios"
    assert firmware.read(tree_of({"/sys/x": 1})) == ""


def test_the_command_shows_every_section_in_a_hundred_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    synthetic.write_tree(str(tmp_path), RICH)
    assert facts_command.main(["--root", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    titles = [line for line in shown.splitlines() if line and not line.startswith(" ")]
    assert titles == [
        "CPU", "Memory", "Disks", "Optical drives", "Network ports", "Serial ports", "USB", "PCI", "System",
        "Could not be read",
    ]  # fmt: skip
    assert max(map(len, shown.splitlines())) <= 100
    for expected in (
        "HAL's own",
        "00:1b:21:00:00:01",
        "16550A",
        "console",
        "SN42",
        "UEFI",
        "board_serial",
        "0x5000c500",
    ):
        assert expected in shown


def test_the_command_says_none_where_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    synthetic.write_tree(str(tmp_path), BARE)
    assert facts_command.main(["--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("none") >= 4


def test_the_command_gives_json_with_totals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    synthetic.write_tree(str(tmp_path), RICH)
    assert facts_command.main(["--root", str(tmp_path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["totals"] == {
        "packages": 2, "cores": 4, "threads": 8, "threads_online": 8, "nodes": 2, "memory_mib": 65536, "disks": 4,
        "disk_bytes": 3 * 300 * synthetic.GIB + 16 * synthetic.GIB, "optical": 1, "nics": 2, "serial": 2,
    }  # fmt: skip
    del shown["totals"]
    assert shown == json.loads(json.dumps(dataclasses.asdict(RICH)))


def test_a_strangers_names_cannot_reach_the_terminal() -> None:
    nic = dataclasses.replace(RICH.nics[0], name="eth\x1b[2J\r0")
    shown = facts_report.render(dataclasses.replace(RICH, nics=(nic,)))
    assert "\x1b" not in shown
    assert "eth?[2J?0" in shown


def test_the_command_has_one_line_for_what_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError) as caught:
        facts_command.main(["--root", str(tmp_path)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("program", ["hal-facts", "hal-record"])
def test_the_programs_end_with_a_status_and_one_line(tmp_path: Path, program: str) -> None:
    """As started by 'hal': help on standard output, what is wrong in one line and a hint, never a traceback."""
    path = Path(__file__).resolve().parents[1] / "bin" / program
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(path), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert os.access(path, os.X_OK)
    shown = run("--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "examples:" in shown.stdout
    wrong = run("--root", str(tmp_path), *(["x.tar"] if program == "hal-record" else []))
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert [line.startswith(f"{program}: ") for line in wrong.stderr.splitlines()] == [True, True]
    assert run("--no-such-option").returncode == 2


def test_cpu_ranges_and_sizes() -> None:
    assert facts_report.ranges((3, 1, 2, 8)) == "1-3,8"
    assert facts_report.ranges(()) == ""
    assert [facts_report.size(count) for count in (512, 16 * 10**9, 1798651772928)] == ["512 B", "16 GB", "1.799 TB"]
