"""hal-udev with the real umockdev and the real libudev: recorded devices, udev's events, and what is pulled out.

The recordings are written as ``umockdev-record`` writes them, from the descriptors of devices that are sold: nothing
was plugged in where they were written.
"""

from __future__ import annotations

import operator
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import umockdev_bed
from hal_core.machine import UsbDevice
from hal_udev.config import KeepConfig, UdevConfig
from umockdev_bed import Server, numbered, path_of, recording

pytestmark = [
    pytest.mark.component,
    pytest.mark.skipif(not umockdev_bed.WRAPPER, reason="no umockdev is installed"),
]

STICK, KEY, DVD = recording("stick"), recording("key"), recording("dvd")
HUB, AUDIO, SERIAL = recording("hub"), recording("audio"), recording("serial")  # all three behind the hub
TOKEN = recording("token")  # a keyboard and FIDO, and nothing else
TOLD_APART = ("port", "path", "bus", "number", "vendor_id", "product_id", "serial")
ADD_CHANGE_REMOVE = ("add", "change", "remove")


@pytest.fixture
def server() -> Iterator[Server]:
    with umockdev_bed.server() as one:
        yield one


@pytest.fixture
def full(server: Server) -> Server:
    """A server that HAL runs on, with a stick, a DVD drive, and a hub with a receiver, a sound card and a cable."""
    server.add(KEY, STICK, DVD, HUB, AUDIO, SERIAL)
    server.do("mount", "8:1")
    return server


def another(text: str, *changes: tuple[str, str]) -> str:
    """A recording of a device of the same kind, elsewhere."""
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def without(text: str, kind: str) -> str:
    """A recording of the same device without those devices of which a driver has made it so many: "/0003:"."""
    return "\n\n".join(one for one in text.split("\n\n") if kind not in one.partition("\n")[0])


# A cable like the one in port 3 of the hub, in port 4. udev gives the name that is in both their rights to one of them.
SECOND_CABLE = another(
    numbered(SERIAL, "1-4.3", 9),
    ("S: serial/by-id/usb-1a86_USB_Serial-if00-port0\n", ""),
    ("1-4.3", "1-4.4"),
    ("0:4.3", "0:4.4"),
    ("port3", "port4"),
    ("ttyUSB0", "ttyUSB1"),
    ("188:0", "188:1"),
)


def test_a_process_that_does_not_answer_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(umockdev_bed, "PATIENCE", 0.1)
    with subprocess.Popen(["sleep", "infinity"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            with pytest.raises(AssertionError, match=r"^look: the process .* has not answered within 0\.1 s$"):
                Server(process).look()
            assert process.wait(60) == -signal.SIGKILL
        finally:
            process.kill()


# --- what is plugged in


def test_recorded_devices_are_seen_as_they_are(full: Server) -> None:
    def told(one: UsbDevice) -> tuple[object, ...]:
        does = [
            "/".join(filter(None, (each.class_id, each.subclass, each.protocol, each.driver, *each.ttys)))
            for each in one.interfaces
        ]
        return f"{one.vendor_id}:{one.product_id}", one.path, one.serial, one.speed_mbps, (one.bus, one.number), does

    found = full.look()
    audio = ["01/01/00/snd-usb-audio", "01/02/00/snd-usb-audio", "01/02/00/snd-usb-audio", "03/00/00/usbhid"]
    hid = ["03/01/01/usbhid", "03/01/02/usbhid", "03/00/00/usbhid"]
    storage, ultra = ["08/06/50/usb-storage"], "0781:5581"
    assert {port: told(one) for port, one in found.items()} == {
        "1-4": ("05e3:0610", "0000:00:14.0/usb2/4", "", 480, (1, 2), ["09/00/00/hub"]),
        "1-4.1": ("046d:c52b", "0000:00:14.0/usb2/4.1", "", 12, (1, 6), hid),
        "1-4.2": ("0d8c:0014", "0000:00:14.0/usb2/4.2", "", 12, (1, 7), audio),
        "1-4.3": ("1a86:7523", "0000:00:14.0/usb2/4.3", "", 12, (1, 8), ["ff/01/02/ch341/ttyUSB0"]),
        "1-5": ("0e8d:1887", "0000:00:14.0/usb2/5", "KZ1D52E3401", 480, (1, 4), ["08/02/50/usb-storage"]),
        "2-1": (ultra, "0000:00:14.0/usb3/1", "4C530001230115109585", 5000, (2, 2), storage),
        "2-2": (ultra, "0000:00:14.0/usb3/2", "4C530001090323117474", 5000, (2, 3), storage),
    }
    assert all(one.configured for one in found.values())
    assert [port for port, one in found.items() if one.hub] == ["1-4"], "and no root hub"
    assert [port for port, one in found.items() if one.hal_device] == ["2-2"]
    assert (found["1-4.2"].manufacturer, found["1-4.2"].product) == ("C-Media Electronics Inc.", "USB Audio Device")
    assert full.do("look_through_the_c_library") == {port: found[port] for port in found}, (
        "in /sys it is the same as in a directory that is one"
    )


def test_every_device_is_behind_the_node_that_hal_udev_opens(full: Server) -> None:
    """The numbers of the node, and the descriptors that are read from it, are those of the device in sysfs."""
    assert {port: full.do("is_the_devices_node", port) for port in full.look()} == dict.fromkeys(full.look(), True)


def test_a_device_is_settled_when_it_has_a_file_in_udevs_database(full: Server) -> None:
    """Of that name, with these numbers: also on the second bus, where minor numbers go on at 128."""
    assert full.do("is_settled", "2-1")
    full.do("forget", "c189:129")
    assert not full.do("is_settled", "2-1")
    assert full.do("is_settled", "1-4.1"), "with all three of its interfaces"
    full.pull(path_of(HUB, "1-4.1:1.2"))
    assert not full.do("is_settled", "1-4.1")


def test_disks_are_seen_as_udev_knows_them_and_a_dvd_drive_is_none(full: Server) -> None:
    found = full.do("disks")
    assert {name: (one.number, one.sequence, one.settled, one.disk.hal_device) for name, one in found.items()} == {
        "sda": ("8:0", "3", True, True),
        "sdb": ("8:16", "4", True, False),
    }
    stick = found["sdb"].disk
    assert (stick.serial, stick.by_path) == ("4C530001230115109585", "pci-0000:00:14.0-usb-0:1:1.0-scsi-0:0:0:0")
    assert (stick.transport, stick.vendor, stick.model) == ("usb", "SanDisk", "Ultra")
    assert [part.name for part in stick.partitions] == ["sdb1"]
    full.do("forget", "b8:16")
    assert not full.do("disks")["sdb"].settled


def test_the_built_in_rules_know_each_of_them(full: Server) -> None:
    plan = full.plan()
    assert {port: one.rule for port, one in plan.items() if one.keep} == {
        "1-4": "built in: a hub; what is behind it goes to the product",
        "1-4.1": "built in: the keyboard of hal-console",
        "2-2": "built in: the host has a file system of it mounted",
    }
    assert {port: str(one.place) for port, one in plan.items() if not one.keep and not one.problem} == {
        "1-4.2": "xhci.0 port 1",
        "1-4.3": "xhci.0 port 2",
        "1-5": "xhci.0 port 3",
        "2-1": "xhci.0 port 4",
    }
    full.do("mount", "0:40")
    assert {port: one.rule for port, one in full.plan().items() if one.keep and port > "1-4.1"} == dict.fromkeys(
        ("1-5", "2-1", "2-2"), "built in: storage, and it is not known what HAL runs from"
    )


def test_a_token_is_told_from_a_keyboard_by_what_hids_drivers_have_read(server: Server) -> None:
    server.add(KEY, HUB, TOKEN)
    server.do("mount", "8:1")
    found = server.look()
    kinds = [(one.class_id, one.subclass, one.protocol, one.driver) for one in found["1-6"].interfaces]
    assert kinds == [("03", "01", "01", "usbhid"), ("03", "00", "00", "usbhid")]
    assert (found["1-6"].keyboard, found["1-6"].token) == (True, True)
    assert (found["1-4.1"].keyboard, found["1-4.1"].token) == (True, False)
    assert server.do("is_settled", "1-6")
    plan = server.plan()
    assert (plan["1-4.1"].keep, plan["1-4.1"].rule) == (True, "built in: the keyboard of hal-console")
    assert (plan["1-6"].keep, plan["1-6"].rule) == (
        False,
        "built in: a security token (FIDO), no keyboard though it types",
    )
    assert str(plan["1-6"].place) == "xhci.0 port 1"
    assert server.do("look_through_the_c_library") == {port: found[port] for port in found}


def test_until_hids_drivers_have_read_it_a_token_may_be_a_keyboard(server: Server) -> None:
    def is_doubtful() -> bool:
        one = server.look()["1-6"]
        return one.keyboard and one.token is None and server.plan()["1-6"].keep and not server.do("is_settled", "1-6")

    server.add(without(TOKEN, "/0003:"))
    assert is_doubtful()
    server.add(TOKEN)
    server.do("set_attribute", path_of(TOKEN, "0003:1050:0403.0005"), "report_descriptor", "")
    assert is_doubtful(), "usbhid has it, and no driver of its kind"
    server.do("set_attribute", path_of(TOKEN, "0003:1050:0403.0005"), "report_descriptor", "\x06\x00\x7f")
    assert server.look()["1-6"].token is False


def test_rules_of_hal_toml_find_a_recorded_device(full: Server) -> None:
    by_rule = (
        (KeepConfig(class_="audio"), {"1-4.2"}),
        (KeepConfig(id="0781:5581"), {"2-1"}),
        (KeepConfig(serial="KZ1D52E3401"), {"1-5"}),
        (KeepConfig(port="1-4"), {"1-4.1", "1-4.2", "1-4.3"}),  # and what is behind it; itself it stays as a hub
        (KeepConfig(port="0000:00:14.0/usb3/1"), {"2-1"}),
    )
    for rule, kept in by_rule:
        plan = full.plan(UdevConfig((rule,)))
        assert {port for port, one in plan.items() if one.rule.startswith("udev.keep[0]")} == kept, rule


def test_two_devices_without_a_serial_number_are_told_apart_by_their_ports(server: Server) -> None:
    server.add(SERIAL, SECOND_CABLE)
    found = server.look()
    one, other = found["1-4.3"], found["1-4.4"]
    assert (one.vendor_id, one.product_id, one.serial) == (other.vendor_id, other.product_id, "")
    assert (one.interfaces[0].ttys, other.interfaces[0].ttys) == (("ttyUSB0",), ("ttyUSB1",))
    both = server.plan()
    assert (both["1-4.3"].id, both["1-4.4"].id) == ("usb-1-4.3", "usb-1-4.4")
    assert both["1-4.3"].place != both["1-4.4"].place
    assert both["1-4.3"].fdset != both["1-4.4"].fdset
    kept = server.plan(UdevConfig((KeepConfig(port="0000:00:14.0/usb2/4.4"),)))
    assert (kept["1-4.3"].keep, kept["1-4.4"].keep) == (False, True)
    server.pull(path_of(SERIAL, "1-4.3"))
    assert server.look() == {"1-4": found["1-4"], "1-4.4": other}


def test_a_device_whose_descriptors_cannot_be_read_is_told_and_harms_no_other(server: Server) -> None:
    """What Linux leaves of it: no configuration, no interfaces, and with some, no class."""
    server.add(SERIAL, AUDIO)
    cable = path_of(SERIAL, "1-4.3")
    server.pull(f"{cable}/1-4.3:1.0")
    for attribute in ("descriptors", "bDeviceClass", "bNumInterfaces", "idVendor", "idProduct", "product"):
        server.do("set_attribute", cable, attribute, None)
    server.do("set_attribute", cable, "bConfigurationValue", "")
    one = server.look()["1-4.3"]
    assert (one.number, one.configured, one.hub, one.interfaces) == (8, False, False, ())
    assert not server.do("is_settled", "1-4.3")
    plan = server.plan()
    assert (plan["1-4.3"].keep, plan["1-4.3"].name) == (False, "????:????")
    assert plan["1-4.3"].problem.startswith("the host's kernel could not read what it is")
    assert {port for port, each in plan.items() if each.problem} == {"1-4.3"}
    assert str(plan["1-4.2"].place) == "xhci.0 port 1"


# --- what udev says


def test_a_usb_device_a_disk_and_a_drive_wake_the_resident(server: Server) -> None:
    server.add(HUB, STICK, DVD)
    server.do("listen")
    for action in ADD_CHANGE_REMOVE:
        for text, name in ((HUB, "1-4.1"), (HUB, "1-4"), (STICK, "2-1:1.0"), (STICK, "sdb"), (DVD, "sr0")):
            assert not server.is_heard()
            server.uevent(path_of(text, name), action)
            assert server.is_heard(), f"{action} of {name}"
            said = [(each["ACTION"], each["DEVNAME"]) for each in server.drain()]
            assert said == ([(action, f"/dev/{name}")] if name in ("sdb", "sr0") else [])


def test_a_device_of_hid_wakes_it(server: Server) -> None:
    """It comes last, and tells a token from a keyboard."""
    server.add(TOKEN)
    server.do("listen")
    for action in ("add", "bind", "change", "unbind", "remove"):
        server.uevent(path_of(TOKEN, "0003:1050:0403.0005"), action)
        assert server.is_heard(), action
        assert server.drain() == []
        assert not server.is_heard()


def test_nothing_else_wakes_it(server: Server) -> None:
    """A partition, what a disk is to SCSI, a serial port, the raw device of HID, the USB controller."""
    server.add(SERIAL, STICK, TOKEN)
    server.do("listen")
    of_the_stick = ((STICK, "sdb1"), (STICK, "6:0:0:0"), (STICK, "host6"))
    others = (*of_the_stick, (SERIAL, "ttyUSB0"), (TOKEN, "hidraw4"), (SERIAL, "0000:00:14.0"))
    for action in ADD_CHANGE_REMOVE:
        for text, name in others:
            server.uevent(path_of(text, name), action)
            assert not server.is_heard(), f"{action} of {name}"
    assert server.drain() == []


def test_a_button_is_heard_among_others(server: Server) -> None:
    server.add(DVD, STICK)
    server.do("listen")
    drive = path_of(DVD, "sr0")
    server.uevent(path_of(STICK, "2-1"), "change")
    server.uevent(path_of(STICK, "6:0:0:0"), "change")
    server.do("set_property", drive, "DISK_EJECT_REQUEST", b"1")
    server.uevent(drive, "change")
    server.uevent(path_of(STICK, "sdb"), "change")
    assert server.is_heard()
    button, disk = server.drain()
    assert (button["DEVNAME"], button["ACTION"], button["DISK_EJECT_REQUEST"]) == ("/dev/sr0", "change", "1")
    assert (disk["DEVNAME"], disk.get("DISK_EJECT_REQUEST")) == ("/dev/sdb", None)
    assert not server.is_heard()


def test_a_property_that_is_no_text_takes_nothing_else_with_it(server: Server) -> None:
    """It is left out. Whoever pushes the button has not made the disc's label."""
    server.add(DVD, STICK)
    server.do("listen")
    drive = path_of(DVD, "sr0")
    server.do("set_property", drive, "DISK_EJECT_REQUEST", b"1")
    server.do("set_property", drive, "ID_FS_LABEL", b"caf\xe9")
    server.uevent(drive, "change")
    server.uevent(path_of(STICK, "sdb"), "change")
    button, disk = server.drain()
    assert (button["DEVNAME"], button["DISK_EJECT_REQUEST"]) == ("/dev/sr0", "1")
    assert "ID_FS_LABEL" not in button
    assert disk["DEVNAME"] == "/dev/sdb"


def test_five_hundred_events_are_heard_to_the_last(server: Server) -> None:
    server.add(STICK)
    server.do("listen")
    heard = server.do("burst", path_of(STICK, "sdb"), 500)
    assert [int(each["HAL_CHANGE"]) for each in heard] == list(range(1, 501))
    assert not server.is_heard()
    assert server.do("disks")["sdb"].disk.size_bytes == 500 * 512, "and the last state is what is seen"


# --- what is pulled out


def test_what_was_yanked_before_its_event_is_read_is_just_not_there(server: Server) -> None:
    """Udev's word comes late: sysfs has nothing of it any more."""
    server.add(KEY, STICK)
    server.do("listen")
    before = server.look()
    for name in ("sdb", "2-1:1.0", "2-1"):
        server.uevent(path_of(STICK, name), "remove")
    server.pull(path_of(STICK, "2-1"))
    assert server.is_heard()
    ((said),) = server.drain()
    assert (said["ACTION"], said["DEVNAME"], said["ID_SERIAL_SHORT"]) == ("remove", "/dev/sdb", "4C530001230115109585")
    assert server.look() == {port: one for port, one in before.items() if port != "2-1"}
    assert server.do("look_at", "2-1") is None
    assert list(server.do("disks")) == ["sda"]
    server.add(STICK)
    assert server.look() == before


@pytest.mark.parametrize(
    ("what", "text", "name", "gone"),
    [("usb", HUB, "1-4.1", "1-4.1"), ("usb", STICK, "2-1", "2-1"), ("disks", STICK, "2-1", "sdb")],
    ids=["a keyboard", "a stick", "a stick's disk"],
)
def test_pulled_out_at_any_moment_of_a_look_it_harms_nothing(
    server: Server, what: str, text: str, name: str, gone: str
) -> None:
    server.add(KEY, text)
    server.do("mount", "8:1")
    *torn, whole = server.do("look_while_it_is_pulled", what, path_of(text, name))
    assert len(torn) > 50, "accesses"
    assert gone in whole
    assert gone not in torn[0], "before the first access"
    # By these it is told from another one that may come to its place: it has all of them, or it is not there.
    identity = operator.attrgetter(*(TOLD_APART if what == "usb" else ("number", "sequence")))
    for found in torn:
        one = found.pop(gone, None)
        assert found == {each: whole[each] for each in whole if each != gone}
        assert one is None or identity(one) == identity(whole[gone])


# --- all of it together


@pytest.fixture
def needed_keyboard(directories: Path) -> None:
    """Hal-console needs it. Before the server, whose process is told where that is written."""
    (directories / "run/console").mkdir()
    (directories / "run/console/keyboard").touch()


@pytest.mark.usefixtures("needed_keyboard")
class TestTokensAndKeyboards:
    """The host's keyboard stays, and the token goes, whatever happens to either."""

    def test_a_token_goes_and_stays_with_the_product_and_a_keyboard_never_goes(self, server: Server) -> None:
        server.add(KEY, HUB)
        server.do("mount", "8:1")
        again = without(numbered(TOKEN, "1-6", 9), "/hidraw/")  # which umockdev 0.17 does not take a second time
        told = server.do(
            "resident",
            ([("plug", TOKEN, "1-6")], {"1-4.1": 0, "1-6": 5}),
            ([("plug", DVD, "1-5")], {"1-4.1": 0, "1-5": 4, "1-6": 5}),  # it looks again
            ([("restart", "", "")], {"1-4.1": 0, "1-5": 4, "1-6": 5}),
            ([("unplug", DVD, "1-5")], {"1-4.1": 0, "1-6": 5}),
            ([("unplug", TOKEN, "1-6"), ("plug", again, "1-6")], {"1-4.1": 0, "1-6": 9}),
            ([("restart", "", ""), ("restart", "", "")], {"1-4.1": 0, "1-6": 9}),
        )
        assert told.count("device_add") == 3, "the token, the drive, the token"
        assert told.count("device_del") == 2, "and two that were pulled out"

    def test_a_driver_that_comes_late_gives_a_token_to_the_product(self, server: Server) -> None:
        server.add(KEY)
        server.do("mount", "8:1")
        early = without(TOKEN, "/0003:")
        server.do(
            "resident",
            ([("plug", early, "1-6")], {"1-6": 0}),
            ([("plug", without(TOKEN, "0403.0005"), "0003:1050:0403.0004")], {"1-6": 0}),
            ([("plug", TOKEN, "0003:1050:0403.0005")], {"1-6": 5}),
        )

    def test_in_the_place_of_a_token_a_keyboard_is_a_keyboard(self, server: Server) -> None:
        """Plugged in while hal-udev is not there to see it."""
        server.add(KEY)
        server.do("mount", "8:1")
        plain = without(without(TOKEN, "/1-6:1.1"), "/0003:")
        told = server.do(
            "resident",
            ([("plug", TOKEN, "1-6")], {"1-6": 5}),
            ([("unplug", TOKEN, "1-6"), ("plug", numbered(plain, "1-6", 7), "1-6"), ("restart", "", "")], {"1-6": 0}),
        )
        assert told.count("device_add") == 1


def test_the_product_has_what_is_plugged_in_whatever_came_before(server: Server) -> None:
    """The resident's loop, woken by nothing else but libudev."""
    server.add(KEY, HUB, AUDIO, STICK)
    server.do("mount", "8:1")
    busy = []
    for number in range(10, 16):
        for text, name in ((STICK, "2-1"), (AUDIO, "1-4.2")):
            busy += [("unplug", text, name), ("plug", numbered(text, name, number), name)]
    busy += [("plug", SERIAL, "1-4.3"), ("unplug", AUDIO, "1-4.2")]
    server.do(
        "resident",
        (busy, {"1-4.1": 6, "1-4.3": 8, "2-1": 15}),
        ([("plug", DVD, "1-5")], {"1-4.1": 6, "1-4.3": 8, "1-5": 4, "2-1": 15}),
        ([("unplug", STICK, "2-1")], {"1-4.1": 6, "1-4.3": 8, "1-5": 4}),
        ([("unplug", HUB, "1-4")], {"1-5": 4}),
    )
