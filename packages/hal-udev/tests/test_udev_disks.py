"""Disks: which are exchanged, and when hal-vmm has to plan anew. All pure."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_core.testing import synthetic
from hal_udev.disks import bays, difference, ioerrors, kernellog
from hal_udev.disks.bays import Bay, Bays
from hal_udev.disks.difference import Found, Step
from hal_udev.disks.notice import Notice
from hal_udev.disks.present import Present

KEY = Present(replace(synthetic.usb_key(0), name="sdz", hal_device=True), "65:144")


def present(index: int, **changes: Any) -> Present:
    return Present(replace(synthetic.disk(index), hal_device=False, **changes), f"8:{16 * index}")


def bay(one: Present, slot: int) -> Bay:
    node = {"node-name": f"disk{slot}-node", "driver": "raw", "file": {"driver": "host_device", "filename": ""}}
    return Bay(f"disk{slot}", one.disk.path, one.disk.identity, False, node, {"driver": "scsi-hd", "id": f"disk{slot}"})


def launched(one: Present, slot: int) -> Found:
    return Found(f"disk{slot}", one.disk.path, 16 + slot)


def plugged(one: Present, slot: int) -> Found:
    return Found(f"disk{slot}", one.number, difference.fdset(one.number))


def steps(
    planned: dict[int, Present], here: list[Present], found: list[Found], swap: bool = True, own: bool = True
) -> tuple[Step, ...]:
    known = Bays(tuple(bay(one, slot) for slot, one in planned.items()), frozenset(), swap)
    return difference.steps(known, here, {one.id: one for one in found}, own)


def test_where_all_is_as_planned_nothing_is_done() -> None:
    disks = [present(index) for index in range(4)]
    found = [launched(disks[0], 0), launched(disks[1], 1), plugged(disks[2], 2), plugged(disks[3], 3)]
    assert steps(dict(enumerate(disks)), [*disks, KEY], found) == ()


def test_a_disk_that_is_pulled_out_goes_whatever_the_plan_says() -> None:
    one, two = present(0), present(1)
    pulled = launched(one, 0)
    assert steps({0: one, 1: two}, [two], [pulled, launched(two, 1)]) == (Step("disk0", pulled),)
    assert steps({}, [], [pulled]) == (Step("disk0", pulled),)


def test_another_disk_in_the_same_bay_takes_the_slot() -> None:
    old, new = present(0), present(1)
    gone = launched(old, 3)
    ((step),) = steps({3: new}, [new], [gone])
    assert (step.id, step.remove) == ("disk3", gone)
    assert step.add
    assert step.add[1] == new


def test_a_disk_that_is_still_there_is_never_taken_from_a_running_product() -> None:
    one, two = present(0), present(1)
    assert steps({}, [one], [launched(one, 0)]) == ()  # hal.toml keeps it, from the next start on
    assert steps({0: two}, [one, two], [launched(one, 0)]) == ()  # and the slot is taken until then


def test_what_is_not_the_disk_that_was_planned_is_not_plugged_in() -> None:
    one = present(0)
    other = replace(one, disk=replace(one.disk, serial="another", wwn="0x5000c500deadbeef"))
    assert steps({0: one}, [other], []) == ()
    assert (
        difference.out_of_date(Bays((bay(one, 0),)), [other])
        == "/dev/sda is another disk than the one that was planned"
    )


def test_hals_own_disk_is_never_plugged_in_and_without_knowing_it_none_is() -> None:
    one = present(0)
    own = replace(one, disk=replace(one.disk, hal_device=True))
    assert steps({0: own}, [own], []) == ()
    assert steps({0: one}, [one], [], own=False) == ()


def test_a_disk_that_udev_is_not_through_with_is_not_plugged_in_yet() -> None:
    one = present(0)
    assert steps({0: one}, [replace(one, settled=False)], []) == ()


def test_an_older_product_keeps_its_disks_until_it_ends() -> None:
    one, new = present(0), present(1)
    assert steps({0: new}, [new], [launched(one, 0)], swap=False) == ()


def test_a_disk_half_pulled_out_or_half_plugged_in_is_finished() -> None:
    one = present(0)
    half = replace(plugged(one, 0), device=False)
    ((step),) = steps({0: one}, [one], [half])
    assert step.remove == half
    assert step.add
    nameless = Found("disk0", "", 16, device=False)  # we were killed between two commands
    assert steps({}, [one], [nameless]) == (Step("disk0", nameless),)


def test_a_disk_that_qemu_does_not_tell_the_name_of_is_not_taken_from_the_product() -> None:
    assert steps({}, [], [Found("disk0", "", 16)]) == ()


@pytest.mark.parametrize(
    "changes", [{"hal_device": True}, {"transport": "usb"}, {"size_bytes": 0}], ids=["HAL's own", "USB", "no medium"]
)
def test_a_disk_that_cannot_be_the_products_needs_no_new_plan(changes: dict[str, Any]) -> None:
    one = present(0)
    assert difference.out_of_date(Bays(), [replace(one, disk=replace(one.disk, **changes))]) == ""


def test_a_new_plan_is_wanted_for_a_disk_that_came_and_for_one_that_went() -> None:
    one, two = present(0), present(1)
    assert difference.out_of_date(Bays((bay(one, 0),)), [one, two]) == "/dev/sdb is new"
    assert difference.out_of_date(Bays((bay(one, 0),)), []) == "/dev/sda is gone"
    assert difference.out_of_date(Bays((bay(one, 0),), frozenset({"/dev/sdb"})), [one, two, KEY]) == ""


def test_one_of_two_disks_with_one_identity_is_told_by_its_place() -> None:
    one = present(0)
    planned = replace(bay(one, 0), identity=f"{one.disk.identity} at {one.disk.by_path}")
    assert difference.out_of_date(Bays((planned,)), [one]) == ""


@given(st.integers(0, 1023), st.integers(0, (1 << 20) - 1))
def test_a_set_of_descriptors_tells_its_disk_and_qemu_can_parse_its_number(major: int, minor: int) -> None:
    number = difference.fdset(f"{major}:{minor}")
    assert difference.number_of(number) == f"{major}:{minor}"
    assert difference.FIRST_FDSET <= number < 1 << 31


@given(st.integers(0, difference.FIRST_FDSET - 1))
def test_other_sets_are_not_ours(number: int) -> None:
    assert difference.number_of(number) == ""


slots = st.dictionaries(st.integers(0, 7), st.integers(0, 15), max_size=8)


@given(slots, st.sets(st.integers(0, 15)), slots, st.booleans())
def test_after_the_steps_there_is_nothing_left_to_do(
    planned: dict[int, int], here: set[int], has: dict[int, int], by_launcher: bool
) -> None:
    """Whatever is planned, plugged in and in QEMU: what is gone is out, what is there stays, and it comes to rest."""
    disks = {index: present(index) for index in range(16)}
    known = Bays(tuple(bay(disks[index], slot) for slot, index in planned.items()), frozenset(), True)
    there = [disks[index] for index in sorted(here)]
    make = launched if by_launcher else plugged
    found = {f"disk{slot}": make(disks[index], slot) for slot, index in has.items()}
    before = dict(found)
    for step in difference.steps(known, there, found, True):
        if step.remove:
            assert int(before[step.id].source.rpartition(":")[2]) // 16 not in here if not by_launcher else True
            del found[step.id]
        if step.add:
            assert step.id not in found
            found[step.id] = plugged(step.add[1], int(step.id[4:]))
    assert difference.steps(known, there, found, True) == ()
    assert all(difference.is_behind(one, there) for one in found.values())
    assert all(found[id_] == one for id_, one in before.items() if difference.is_behind(one, there))


def test_a_plan_is_read() -> None:
    one = present(0)
    entry = {
        "id": "disk2",
        "host": "/dev/sda",
        "identity": one.disk.identity,
        "read_only": True,
        "blockdev": {"node-name": "disk2-node", "file": {"driver": "host_device"}},
        "device": None,
    }
    planned = {"hotplug": {"hot_swap": False, "disks": [entry]}, "held_back": [{"what": "/dev/sdb", "reason": "kept"}]}
    known = bays.parse(planned)
    assert known
    assert known.held == {"/dev/sdb"}
    assert not known.hot_swap
    assert (known.bays[0].id, known.bays[0].read_only, known.bays[0].device) == ("disk2", True, None)
    assert bays.parse({"held_back": []}) is None  # of a hal-vmm that is older than this
    with pytest.raises(ValueError, match="the same slot twice"):
        bays.parse({"hotplug": {"hot_swap": True, "disks": [entry, entry]}, "held_back": []})
    for key, value in (("id", 1), ("host", ""), ("device", {"driver": None}), ("blockdev", {"node-name": "x"})):
        with pytest.raises((ValueError, KeyError, TypeError)):
            bays.parse({"hotplug": {"hot_swap": True, "disks": [{**entry, key: value}]}, "held_back": []})


def test_errors_are_counted_all_and_logged_once_a_minute() -> None:
    ledger = ioerrors.Ledger()
    error = ioerrors.from_event({"device": "", "node-name": "disk3-node", "operation": "read", "reason": "I/O error"})
    assert error == ioerrors.IoError("disk3", "read", "I/O error")
    assert ledger.note(error), "the first is news"
    assert ledger.due(100.0) == {"disk3": "read: I/O error"}
    assert [ledger.note(error) for _ in range(5000)] == [True] + 4999 * [False]
    assert ledger.due(159.0) == {}
    assert ledger.next_time() == 160.0
    assert ledger.due(160.0) == {"disk3": "5000 I/O errors, the last one: read: I/O error"}
    assert ledger.of("disk3") == (5001, "read: I/O error")
    assert ledger.due(1000.0) == {}
    ledger.forget("disk3")
    assert ledger.of("disk3") == (0, "")


def test_an_error_of_something_else_is_none_of_ours() -> None:
    assert ioerrors.from_event({"device": "", "node-name": "#block123"}) is None
    assert ioerrors.from_event({"device": "", "node-name": "dvd0-medium"}) is None
    assert ioerrors.from_event({}) is None


# As Linux 6.1 writes them, for a scsi_debug disk with a medium error, and for one that was pulled out.
KERNEL = """\
sd 2:0:0:0: [sdb] tag#97 FAILED Result: hostbyte=DID_OK driverbyte=DRIVER_OK cmd_age=0s
sd 2:0:0:0: [sdb] tag#97 Sense Key : Medium Error [current]
sd 2:0:0:0: [sdb] tag#97 Add. Sense: Unrecovered read error
sd 2:0:0:0: [sdb] tag#97 CDB: Read(10) 28 00 00 00 12 34 00 00 08 00
critical medium error, dev sdb, sector 4660 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2
I/O error, dev sdbc, sector 1 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2
blk_update_request: I/O error, dev sdc, sector 8 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 0
I/O error, dev nvme0n1, sector 77 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2
""".splitlines()


def test_the_kernels_own_words_about_a_disk_are_found() -> None:
    text = "Medium Error, Unrecovered read error, critical medium error in sector 4660"
    assert kernellog.find("sdb", KERNEL) == text
    assert kernellog.find("sdc", KERNEL) == "I/O error in sector 8"
    assert kernellog.find("nvme0n1", KERNEL) == "I/O error in sector 77"
    assert kernellog.find("sd", KERNEL) == ""
    later = "I/O error, dev sdb, sector 9 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2"
    assert kernellog.find("sdb", [*KERNEL, later]) == "I/O error in sector 9"
    assert kernellog.find("sdb", [*KERNEL, later, *KERNEL]) == text


def test_a_disk_that_the_product_reads_from_is_announced_once() -> None:
    notice = Notice()
    assert notice.knows(set())
    assert notice.follow({"disk2"}, {"disk0"}, 10.0) == []  # it may still look
    assert not notice.knows({"disk2"})
    assert notice.follow({"disk2"}, {"disk0", "disk2"}, 12.0) == []
    assert notice.knows({"disk2"})
    assert notice.announced("disk2") == 0
    assert notice.next_time(12.0) == math.inf


def test_a_disk_that_is_overlooked_is_announced_again_and_not_for_ever() -> None:
    notice, now, when = Notice(), 100.0, []
    while now < 1000.0:
        for id_ in notice.follow({"disk2"}, set(), now):
            when.append(now - 100.0)
            notice.announce(id_, now)
        now = min(notice.next_time(now), now + 5.0)
    assert when == [2.0, 6.0, 14.0, 30.0, 60.0, 90.0, 120.0]
    assert notice.announced("disk2") == 8
    assert notice.follow({"disk2"}, {"disk2"}, now) == []  # it was made to look
    assert notice.announced("disk2") == 0


def test_what_could_not_be_announced_just_now_does_not_count() -> None:
    notice = Notice()
    notice.follow({"disk2"}, set(), 10.0)
    assert [notice.follow({"disk2"}, set(), now) for now in (12.0, 13.0, 90.0)] == [["disk2"]] * 3
    assert notice.announced("disk2") == 1
    assert notice.next_time(90.0) == 91.0


def test_that_the_product_has_looked_is_seen_soon() -> None:
    notice = Notice()
    notice.follow({"disk2"}, set(), 10.0)
    notice.announce("disk2", 12.0)
    assert notice.next_time(12.5) == 13.5, "not only when it would be announced again"


def test_another_disk_in_the_same_slot_is_looked_after_anew() -> None:
    notice = Notice()
    notice.follow({"disk2"}, {"disk2"}, 10.0)
    notice.forget("disk2")  # it was exchanged before anybody saw that it had gone
    assert not notice.knows({"disk2"})
    assert notice.follow({"disk2"}, set(), 20.0) == []
    assert notice.follow({"disk2"}, set(), 22.0) == ["disk2"]
    assert notice.follow(set(), set(), 23.0) == []  # pulled out
    assert (notice.announced("disk2"), notice.next_time(23.0)) == (0, math.inf)
