"""udev's events, heard by the real libudev: a message as systemd-udevd sends it, in namespaces of its own."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import sys

import pytest

from hal_core.errors import HostError
from hal_udev.resident import libudev
from hal_udev.resident.events import Events

# It runs where nobody else hears it: a network of its own, and a /run of its own, in which there seems to be a udevd.
SCRIPT = r"""
import ctypes, os, select, socket, struct, subprocess, sys

subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
os.mkdir("/run/udev")
open("/run/udev/control", "w").close()

from hal_udev.resident.events import Events

def murmur(data, m=0x5BD1E995):  # MurmurHash2, which systemd's filters compare
    h = len(data)
    while len(data) >= 4:
        k = int.from_bytes(data[:4], "little") * m & 0xFFFFFFFF
        k = (k ^ k >> 24) * m & 0xFFFFFFFF
        h, data = (h * m & 0xFFFFFFFF) ^ k, data[4:]
    if data:
        h = (h ^ int.from_bytes(data, "little")) * m & 0xFFFFFFFF
    h = (h ^ h >> 13) * m & 0xFFFFFFFF
    return h ^ h >> 15

def message(subsystem, **properties):  # systemd's device-monitor.c, monitor_netlink_header
    properties = {"ACTION": "add", "SUBSYSTEM": subsystem, "SEQNUM": "7", **properties}
    body = b"".join(f"{key}={value}\0".encode() for key, value in properties.items())
    head = struct.pack("=8s", b"libudev") + struct.pack(">I", 0xFEEDCAFE) + struct.pack("=III", 40, 40, len(body))
    kinds = murmur(subsystem.encode()), murmur(properties["DEVTYPE"].encode()) if "DEVTYPE" in properties else 0
    return head + struct.pack(">IIII", *kinds, 0, 0) + body

events = Events()
sender = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)  # NETLINK_KOBJECT_UEVENT
sender.bind((0, 0))

def heard():
    return bool(select.select([events.fileno()], [], [], 0)[0])

assert not heard()
sender.sendto(message("block", DEVPATH="/devices/virtual/block/loop0"), (0, 2))
assert not heard(), "of other subsystems"
drive = {"DEVPATH": "/devices/pci0000:00/block/sr0", "DEVTYPE": "disk", "DEVNAME": "/dev/sr0"}
sender.sendto(message("block", **drive, DISK_EJECT_REQUEST="1"), (0, 2))
((button),) = events.drain()
assert (button["DEVNAME"], button["DISK_EJECT_REQUEST"]) == ("/dev/sr0", "1"), button
for _ in range(3):
    sender.sendto(message("usb", DEVPATH="/devices/pci0000:00/0000:00:14.0/usb1/1-1", DEVTYPE="usb_device"), (0, 2))
assert heard()
events.drain()
assert not heard()
sender.sendto(message("hid", DEVPATH="/devices/pci0000:00/0000:00:14.0/usb1/1-6/1-6:1.1/0003:1050:0403.0005"), (0, 2))
assert heard(), "a driver of HID has read what a device is"
events.drain()
assert not heard()
try:  # more than there is room for: the next read says so, and it is as good as an event
    for _ in range(100000):
        sender.sendto(message("usb", DEVPATH="/devices/x", PAD="x" * 1000), (0, 2))
except OSError:
    pass
assert heard()
events.drain()
assert not heard()
print("heard")
"""


def can_unshare() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-nm", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.component
@pytest.mark.skipif(not can_unshare(), reason="needs root, and namespaces")
def test_an_event_of_udevs_is_heard_and_of_no_other_subsystem() -> None:
    done = subprocess.run(
        ["unshare", "-nm", sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "heard\n", "")


def test_no_program_is_run_to_find_libudev(monkeypatch: pytest.MonkeyPatch) -> None:
    """A confined daemon may run none."""
    script = (
        "import subprocess, os\n"
        "def forbidden(*a, **k): raise AssertionError('a program is run')\n"
        "subprocess.Popen = os.popen = os.posix_spawn = forbidden\n"
        "import ctypes.util; before = ctypes.util.find_library\n"
        "from hal_udev.resident import libudev; libudev.load().Context()\n"
        "assert ctypes.util.find_library is before\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_pyudev_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ImportError("No library named udev")

    monkeypatch.setattr(libudev, "load", missing)
    with pytest.raises(
        HostError, match=r"^cannot listen to udev's events: No library named udev \(run this as root\)$"
    ):
        Events()
    assert ctypes.util.find_library.__module__ == "ctypes.util"
