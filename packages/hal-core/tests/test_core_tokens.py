"""Security tokens that look like keyboards: told by their report descriptors, and remembered when these are gone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_core import anonymize, facts, record, tokens
from hal_core.anonymize import Recording
from hal_core.facts import usb
from hal_core.machine import Machine, UsbDevice, UsbInterface
from hal_core.testing import hid, synthetic, sysfs

RECEIVER, TOKEN = synthetic.usb_keyboard("1-2"), synthetic.usb_token("1-4.1", number=6, serial="TOKEN4711X")
LENT = synthetic.usb_token("1-4.2", number=7, driver="usbfs")
MACHINE = synthetic.machine(packages=1, cores=1, disks=1, nics=1, usb=(RECEIVER, TOKEN, LENT))


def read(recording: Recording) -> dict[str, UsbDevice]:
    return {device.port: device for device in usb.read(sysfs.tree(recording))}


def descriptors(recording: Recording, port: str) -> list[str]:
    return sorted(one for one in recording.files if f"/{port}:" in one and one.endswith("/report_descriptor"))


def test_what_looks_like_a_keyboard() -> None:
    assert RECEIVER.keyboard
    assert TOKEN.keyboard, "by its interfaces"
    keys, mouse = UsbInterface(0, "03", "01", "01", ""), UsbInterface(1, "03", "01", "02", "")
    card = UsbInterface(1, "0b", "00", "00", "")
    for interfaces, is_one in (((), False), ((keys,), True), ((mouse,), False), ((keys, card), False)):
        assert synthetic.usb_plugged("1-1", interfaces=interfaces).keyboard == is_one


def test_a_token_is_told_from_a_keyboard_also_when_the_product_has_it(tmp_path: Path) -> None:
    laid_out = synthetic.layout(MACHINE)
    assert read(laid_out) == {"1-2": RECEIVER, "1-4.1": TOKEN, "1-4.2": LENT}
    assert (RECEIVER.token, TOKEN.token, LENT.token) == (False, True, True)
    assert descriptors(laid_out, "1-4.2") == [], "only hal-udev's word tells"
    synthetic.write_tree(str(tmp_path / "server"), MACHINE)
    record.record(str(tmp_path / "r.tar.gz"), str(tmp_path / "server"))
    assert facts.read(str(tmp_path / "r.tar.gz")) == MACHINE, "and so it is in a recording"


def test_an_anonymous_recording_tells_it_too() -> None:
    tree = sysfs.tree(synthetic.layout(MACHINE))
    facts.read_tree(tree)
    recording = Recording(dict(tree.files), dict(tree.links), tuple(tree.directories()))
    hidden = anonymize.anonymize(recording, b"k" * 32)
    found: Machine = facts.read_tree(sysfs.tree(hidden))
    assert [one.token for one in found.usb] == [False, True, True]
    assert found.usb[1].serial != TOKEN.serial
    for path in (path for path in recording.files if path.endswith("/report_descriptor")):
        assert hidden.files[path] == recording.files[path]


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_while_not_every_interface_has_told_it_is_not_known_what_it_is(missing: int) -> None:
    """USB's driver has not got there yet (0, 1), or no driver of its kind has (2): the descriptor is empty."""
    laid_out = synthetic.layout(MACHINE)
    files = dict(laid_out.files)
    for port in ("1-2", "1-4.1"):
        path = descriptors(laid_out, port)[min(missing, 1)]
        if missing < 2:
            del files[path]
        else:
            files[path] = b""
    found = read(Recording(files, laid_out.links, laid_out.directories))
    assert found["1-2"].token is None
    assert found["1-4.1"].token == (True if missing == 0 else None), "one that says FIDO is enough"


@pytest.mark.parametrize("written_down", [False, True])
def test_as_long_as_the_kernel_is_at_it_a_token_may_be_told_as_a_keyboard_alone(written_down: bool) -> None:
    """Its second interface comes a moment after the first; also when the product configures it anew."""
    one = dataclasses.replace(TOKEN, interfaces=TOKEN.interfaces[:1])
    laid_out = synthetic.layout(dataclasses.replace(MACHINE, usb=(one,)))
    directory = "/sys/devices/pci0000:00/0000:f0:00.0/usb1/1-4/1-4.1"
    assert f"{directory}/devnum" in laid_out.files
    if written_down:
        laid_out.files[tokens.RECORDED] = tokens.text([tokens.of(one)]).encode()
    laid_out.files[f"{directory}/bNumInterfaces"] = b" 2\n"
    assert read(laid_out)["1-4.1"].token == (True if written_down else None)
    laid_out.files[f"{directory}/bNumInterfaces"] = b" 1\n"
    assert read(laid_out)["1-4.1"].token is False


def test_nothing_is_asked_of_what_is_no_keyboard() -> None:
    mouse = synthetic.usb_plugged("1-1", interfaces=(UsbInterface(0, "03", "01", "02", "usbhid"),))
    laid_out = synthetic.layout(dataclasses.replace(MACHINE, usb=(mouse,)))
    path = "/sys/devices/pci0000:00/0000:f0:00.0/usb1/1-1/1-1:1.0/0003:0781:5571.0001/report_descriptor"
    laid_out.files[path] = hid.FIDO
    tree = sysfs.tree(laid_out)
    assert usb.read(tree)[0].token is None
    assert path not in tree.files


@given(st.binary(max_size=300))
def test_whatever_a_device_says_its_descriptor_harms_nothing(garbage: bytes) -> None:
    laid_out = synthetic.layout(MACHINE)
    files = dict.fromkeys(descriptors(laid_out, "1-4.1"), garbage)
    found = read(Recording({**laid_out.files, **files}, laid_out.links, laid_out.directories))
    assert (found["1-2"], found["1-4.2"]) == (RECEIVER, LENT)


# --- what is written down


def test_what_is_written_down_is_read_again(tmp_path: Path) -> None:
    assert tokens.read(str(tmp_path)) == frozenset()
    both = {tokens.of(TOKEN), tokens.of(LENT)}
    tokens.write(str(tmp_path), both)
    assert tokens.read(str(tmp_path)) == both
    assert tokens.text(both) == (
        '[{"port": "1-4.1", "bus": 1, "number": 6, "id": "1050:0403"},'
        ' {"port": "1-4.2", "bus": 1, "number": 7, "id": "1050:0403"}]\n'
    )


@pytest.mark.parametrize("change", [{"number": 8}, {"port": "1-4.3"}, {"id": "1050:0401"}, {"bus": 2}])
def test_it_is_about_this_plugging_in_and_no_other(change: dict[str, Any]) -> None:
    laid_out = synthetic.layout(MACHINE)
    written = tokens.text([dataclasses.replace(tokens.of(LENT), **change)])
    files = {**laid_out.files, tokens.RECORDED: written.encode()}
    assert read(Recording(files, laid_out.links, laid_out.directories))["1-4.2"].token is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "7", "[7]", '["1-4.2"]', '[{"port": "1-4.2"}]', "[" * 100000),
        '[{"port": 1, "bus": 1, "number": 7, "id": "1050:0403"}]',
        '[{"port": [], "bus": 1, "number": 7, "id": "1050:0403"}]',
    ],
)
def test_what_is_damaged_says_nothing(text: str, tmp_path: Path) -> None:
    path = Path(tokens.path(str(tmp_path)))
    path.parent.mkdir()
    path.write_text(text)
    assert tokens.read(str(tmp_path)) == frozenset()
    laid_out = synthetic.layout(MACHINE)
    files = {**laid_out.files, tokens.RECORDED: text.encode()}
    assert read(Recording(files, laid_out.links, laid_out.directories))["1-4.2"].token is None


def test_bytes_that_are_no_text_and_a_directory_in_its_place(tmp_path: Path) -> None:
    path = Path(tokens.path(str(tmp_path)))
    path.parent.mkdir()
    path.write_bytes(b"\xff")
    assert tokens.read(str(tmp_path)) == frozenset()
    path.unlink()
    path.mkdir()
    assert tokens.read(str(tmp_path)) == frozenset()


def test_this_servers_own_are_among_its_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAL_RUN_DIR", str(tmp_path))
    assert facts.open_tree("/").text(tokens.RECORDED) == ""
    tokens.write(str(tmp_path), {tokens.of(LENT)})
    assert tokens.parsed(facts.open_tree("/").text(tokens.RECORDED)) == {tokens.of(LENT)}
