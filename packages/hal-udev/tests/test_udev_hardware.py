"""What is plugged in, read from files; a device's node, and the drivers that let go of it."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

import pytest

from hal_core.errors import HostError
from hal_core.machine import UsbDevice, UsbInterface
from hal_core.testing import synthetic
from hal_udev import node
from hal_udev.hardware import Hardware

STICK = synthetic.usb_plugged("1-1.4", number=5)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A server with HAL's key, a hub and a stick."""
    devices = (synthetic.usb_device(), synthetic.usb_hub("1-1"), STICK)
    synthetic.write_tree(str(tmp_path / "root"), synthetic.machine(disks=1, hal_disk=True, usb=devices))
    return tmp_path / "root"


def test_what_is_plugged_in(root: Path) -> None:
    hardware = Hardware(str(root))
    found = {device.port: device for device in hardware.look()}
    assert found.keys() == {"1-3", "1-1", "1-1.4"}
    assert found["1-1.4"] == STICK
    assert (found["1-3"].hal_device, hardware.own_known) == (True, True)
    assert hardware.look_at("1-1.4") == STICK
    assert hardware.look_at("1-1") == found["1-1"], "and not what is behind it"


def test_what_is_being_pulled_out_is_not_there(root: Path) -> None:
    hardware = Hardware(str(root))
    real = os.path.realpath(root / "sys/bus/usb/devices/1-1.4")
    os.unlink(f"{real}/devnum")
    assert "1-1.4" not in {device.port for device in hardware.look()}
    assert hardware.look_at("1-1.4") is None
    (root / "sys/bus/usb/devices/1-1.4").unlink()
    assert hardware.look_at("1-1.4") is None
    assert hardware.look_at("7-7") is None


def test_whatever_happens_a_look_sees_what_a_first_look_would_see(root: Path) -> None:
    """What is there for a while is not read in full again."""
    hardware = Hardware(str(root))
    stick = Path(os.path.realpath(root / "sys/bus/usb/devices/1-1.4"))

    def check() -> tuple[UsbDevice, ...]:
        for _ in range(3):
            seen = hardware.look()
            assert seen == Hardware(str(root)).look()
        return seen

    check()
    (stick / "1-1.4:1.0/driver").unlink()
    assert {one.port: one.interfaces[0].driver for one in check()}["1-1.4"] == ""
    (stick / "1-1.4:1.0/driver").symlink_to("/sys/bus/usb/drivers/ftdi_sio")
    hardware.look()
    (stick / "1-1.4:1.0/ttyUSB0").mkdir()  # a moment later
    assert {one.port: one.interfaces[0].ttys for one in check()}["1-1.4"] == ("ttyUSB0",)
    (stick / "devnum").write_text("6\n")
    (stick / "serial").write_text("ANOTHER\n")
    assert {one.port: (one.number, one.serial) for one in check()}["1-1.4"] == (6, "ANOTHER")
    (stick / "bConfigurationValue").write_text("\n")
    assert not {one.port: one.configured for one in check()}["1-1.4"]
    (root / "proc/self/mountinfo").write_text("29 1 0:40 / / rw - overlay overlay rw\n")
    assert not any(one.hal_device for one in check())
    (root / "sys/bus/usb/devices/1-1.4").unlink()
    assert {one.port for one in check()} == {"1-3", "1-1"}


def test_a_server_of_which_it_is_not_known_what_hal_runs_from(root: Path) -> None:
    (root / "proc/self/mountinfo").write_text("29 1 0:40 / / rw - overlay overlay rw\n")
    hardware = Hardware(str(root))
    hardware.look()
    assert not hardware.own_known


def test_udev_is_through_with_a_device_when_its_database_has_it(root: Path) -> None:
    hardware = Hardware(str(root))
    assert not hardware.is_settled(STICK)
    (root / "run/udev/data/c189:4").write_text("I:1\n")
    assert hardware.is_settled(STICK)
    # One interface of two: the kernel is at it.
    interfaces = root / "sys/bus/usb/devices/1-1.4/bNumInterfaces"
    interfaces.write_text(" 2\n")
    assert not hardware.is_settled(STICK)
    interfaces.write_text(" 1\n")
    assert hardware.is_settled(STICK)
    assert not hardware.is_settled(synthetic.usb_plugged("1-1.4", number=5, configured=False))


def test_minor_numbers_are_those_of_linux() -> None:
    assert node.minor(synthetic.usb_plugged("1-1", number=1)) == 0
    assert node.minor(synthetic.usb_plugged("2-1", number=127)) == 254
    assert node.minor(synthetic.usb_plugged("3-1", number=2)) == 257
    assert node.minor(UsbDevice("1-1", "", "", "", "", "", None, False)) < 0


# --- the node


@pytest.mark.parametrize("kind", ["missing", "a file", "a link", "another device"])
def test_what_is_not_the_devices_node_is_not_opened(root: Path, kind: str) -> None:
    path = root / "dev/bus/usb/001/005"
    path.parent.mkdir(parents=True)
    if kind == "a file":
        path.write_text("")
    elif kind == "a link":
        path.symlink_to("/dev/null")
    elif kind == "another device":
        path = Path("/dev/null")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(HostError, match=r"No such file|is not the device at 1-1\.4|symbolic links"):
        node.open_for_qemu(str(path), STICK)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("said", "is_it"),
    [
        ("12010002000000408107715500010102", False),  # cut short
        ("120100020000004081077155000101020301", True),
        ("120100020000004082077155000101020301", False),
    ],
)
def test_what_is_behind_the_node_says_itself_which_device_it_is(
    said: str, is_it: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAKE: a file takes the place of the device; its numbers are made up."""
    path = tmp_path / "005"
    path.write_bytes(bytes.fromhex(said))
    numbers = os.stat_result((0o020664, 0, 0, 1, 0, 0, 0, 0, 0, 0), {"st_rdev": os.makedev(189, node.minor(STICK))})
    monkeypatch.setattr(os, "fstat", lambda fd: numbers)
    if is_it:
        os.close(node._open(str(path), STICK))
        return
    with pytest.raises(HostError, match="is not the device at 1-1"):
        node._open(str(path), STICK)


class Kernel:
    """A FAKE: takes the place of ioctl(2) and of opening the node."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[tuple[int, int]] = []  # interface, what
        self.answers: dict[int, int] = {}  # interface → errno
        monkeypatch.setattr(fcntl, "ioctl", self._ioctl)
        monkeypatch.setattr(node, "_open", lambda path, device: os.open("/dev/null", os.O_RDWR))

    def _ioctl(self, fd: int, request: int, argument: bytes) -> None:
        assert request == 0xC0105512  # _IOWR('U', 18, struct usbdevfs_ioctl)
        interface, what, data = struct.unpack("iiP", argument)
        assert data == 0
        self.told.append((interface, what))
        if interface in self.answers:
            raise OSError(self.answers[interface], os.strerror(self.answers[interface]))


COMPOSITE = synthetic.usb_plugged(
    "1-2",
    interfaces=(
        UsbInterface(0, "01", "", "", "snd-usb-audio"),
        UsbInterface(1, "03", "", "", ""),
        UsbInterface(2, "ff", "", "", "usbfs"),
        UsbInterface(3, "08", "", "", "usb-storage"),
    ),
)
DISCONNECT, CONNECT = 0x5516, 0x5517  # _IO('U', 22), _IO('U', 23)


def test_every_driver_of_the_hosts_lets_go_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    kernel.answers = {3: errno.ENODATA}  # it has gone by itself
    os.close(node.open_for_qemu("/dev/bus/usb/001/005", COMPOSITE))
    assert kernel.told == [(0, DISCONNECT), (3, DISCONNECT)]


def test_a_driver_that_does_not_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    kernel.answers = {0: errno.ENODEV}
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(HostError, match=r"^/dev/bus/usb/001/005: the host's driver does not let go: No such device$"):
        node.open_for_qemu("/dev/bus/usb/001/005", COMPOSITE)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_hosts_drivers_may_have_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    kernel.answers = {0: errno.EBUSY, 1: errno.ENODATA}  # has one already; nobody wants it
    node.give_back("/dev/bus/usb/001/005", COMPOSITE)
    assert kernel.told == [(number, CONNECT) for number in range(4)]
    kernel.answers = {2: errno.EIO}
    with pytest.raises(HostError, match="does not take it: Input/output error"):
        node.give_back("/dev/bus/usb/001/005", COMPOSITE)
