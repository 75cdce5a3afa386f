"""What is plugged in, read from files; a device's node, and the drivers that let go of it."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import Optional

import pytest

from hal_core import paths, tokens
from hal_core.errors import HostError
from hal_core.facts.tree import DirectoryStore
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


# --- what looks like a keyboard


RECEIVER, TOKEN = synthetic.usb_keyboard("1-2", number=7), synthetic.usb_token("1-4", number=8)


class Typing:
    """A server with a receiver and a token that types, and what the host's drivers and hal-udev do."""

    def __init__(self, root: Path) -> None:
        self.root = root
        synthetic.write_tree(str(root), synthetic.machine(disks=1, hal_disk=True, usb=(RECEIVER, TOKEN)))
        (root / "run/udev/data").mkdir(parents=True, exist_ok=True)
        for device in (RECEIVER, TOKEN):
            (root / f"run/udev/data/c189:{node.minor(device)}").write_text("I:1\n")

    def let_go(self, port: str) -> dict[str, bytes]:
        """The host's drivers let go of it; what was read from it goes with them, and is given back for :meth:`take`."""
        gone = {}
        for interface in (self.root / "sys/bus/usb/devices").glob(f"{port}:*"):
            (interface / "driver").unlink()
            for descriptor in interface.resolve().glob("0003:*/report_descriptor"):
                gone[str(descriptor)] = descriptor.read_bytes()
                descriptor.unlink()
                descriptor.parent.rmdir()
        return gone

    def take(self, port: str, read: dict[str, bytes]) -> None:
        for interface in (self.root / "sys/bus/usb/devices").glob(f"{port}:*"):
            (interface / "driver").symlink_to("/sys/bus/usb/drivers/usbhid")
        for name, descriptor in read.items():
            Path(name).parent.mkdir()
            Path(name).write_bytes(descriptor)

    def renumber(self, port: str, number: int) -> None:
        (self.root / f"sys/bus/usb/devices/{port}/devnum").write_text(f"{number}\n")


@pytest.fixture
def typing(tmp_path: Path) -> Typing:
    return Typing(tmp_path / "typing")


def told(hardware: Hardware) -> tuple[Optional[bool], Optional[bool]]:
    found = {device.port: device.token for device in hardware.look()}
    return found["1-2"], found["1-4"]


def test_a_token_is_one_until_it_is_pulled_out(typing: Typing) -> None:
    hardware = Hardware(str(typing.root))
    assert told(hardware) == (False, True)
    assert hardware.tokens == {tokens.of(TOKEN)}
    typing.let_go("1-4")
    for _ in range(4):
        assert told(hardware) == (False, True), "the product has it"
    after = hardware.look_at("1-4")
    assert after
    assert (after.token, [one.driver for one in after.interfaces]) == (True, ["", ""])
    for interface in (typing.root / "sys/bus/usb/devices").glob("1-4:*"):
        interface.rename(interface.with_name(f"aside{interface.name[-1]}"))
    assert told(hardware) == (False, None), "the product configures it: it looks like nothing at all"
    assert hardware.tokens == {tokens.of(TOKEN)}
    for interface in (typing.root / "sys/bus/usb/devices").glob("aside*"):
        interface.rename(interface.with_name(f"1-4:1.{interface.name[-1]}"))
    assert told(hardware) == (False, True)
    typing.renumber("1-4", 9)
    assert told(hardware) == (False, None), "another one, which may be a keyboard"
    assert hardware.tokens == frozenset()


def test_the_next_resident_knows_what_was_written_down(typing: Typing) -> None:
    first = Hardware(str(typing.root))
    first.look()
    typing.let_go("1-4")
    assert told(Hardware(str(typing.root))) == (False, None), "nobody has written anything down"
    tokens.write(paths.run_dir(), first.tokens)
    second = Hardware(str(typing.root))
    assert told(second) == (False, True)
    assert second.tokens == first.tokens
    plain = Hardware(str(typing.root))
    assert (after := plain.look_at("1-4"))
    assert after.token, "also who has never looked at all of them"


def test_what_a_driver_says_counts_more_than_what_was_written_down(typing: Typing) -> None:
    tokens.write(paths.run_dir(), {tokens.of(RECEIVER)})
    hardware = Hardware(str(typing.root))
    assert told(hardware) == (False, True)
    assert hardware.tokens == {tokens.of(TOKEN)}
    typing.let_go("1-2")
    assert told(hardware) == (None, True)


def test_a_driver_that_comes_late_is_seen_however_late_it_comes(typing: Typing) -> None:
    read = typing.let_go("1-4")
    hardware = Hardware(str(typing.root))
    for _ in range(4):
        assert told(hardware) == (False, None)
    typing.take("1-4", {})
    for _ in range(4):
        assert told(hardware) == (False, None), "usbhid has it, and no driver of its kind"
    for name in read:
        Path(name).parent.mkdir()
        Path(name).write_bytes(b"")
    for _ in range(4):
        assert told(hardware) == (False, None)
    for name, descriptor in read.items():
        Path(name).write_bytes(descriptor)
    assert told(hardware) == (False, True)


def test_what_may_be_a_keyboard_or_a_token_is_not_settled(typing: Typing) -> None:
    """Where no keyboard stays with the host, it would go at once, and nobody would ever know when one is to stay."""
    hardware = Hardware(str(typing.root))

    def settled() -> dict[str, bool]:
        return {device.port: hardware.is_settled(device) for device in hardware.look()}

    assert settled() == {"1-2": True, "1-4": True}
    for port in ("1-2", "1-4"):
        typing.let_go(port)
    assert settled() == {"1-2": False, "1-4": True}
    typing.renumber("1-4", 9)
    (typing.root / "run/udev/data/c189:8").write_text("I:1\n")
    assert settled() == {"1-2": False, "1-4": False}


def test_a_look_asks_no_keyboard_twice_that_has_told(typing: Typing, monkeypatch: pytest.MonkeyPatch) -> None:
    hardware = Hardware(str(typing.root))
    asked: list[str] = []
    real = DirectoryStore.data

    def data(store: DirectoryStore, path: str) -> bytes:
        asked.extend([path] if path.endswith("report_descriptor") else [])
        return real(store, path)

    monkeypatch.setattr(DirectoryStore, "data", data)
    hardware.look()
    assert len(asked) == 4
    hardware.look()  # a driver's serial ports come a moment after the driver: see there
    asked.clear()
    for _ in range(3):
        hardware.look()
    assert asked == []


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
