"""The record of what happened to a server, who reset it, its keyboard, and its files."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.simulator import files, keyboard
from lab.simulator.control import Event, Record
from lab.simulator.power import Reset, resets


def test_an_event_is_awaited_from_a_place_on() -> None:
    record = Record()
    record.add("RESET", {"guest": True})
    assert record.wait(lambda event: event.name == "RESET", 0, 10) == 0
    assert record.wait(lambda event: event.name == "RESET", 1, 0) is None
    late = threading.Thread(target=record.add, args=("RESET",))
    late.start()
    assert record.wait(lambda event: event.name == "RESET", 1, 10) == 1
    late.join()
    assert [event.name for event in record.all()] == ["RESET", "RESET"]


def test_keys_of_a_us_keyboard() -> None:
    assert keyboard.presses("a~\n") == [["a"], ["shift", "grave_accent"], ["ret"]]
    assert len(keyboard.presses("".join(map(chr, range(32, 127))))) == 95
    with pytest.raises(LabError, match="'é' cannot be typed"):
        keyboard.presses("é")


def test_an_image_is_raw_or_qcow2(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(1 << 20))
    assert files.image(raw) == ("raw", 1 << 20)
    qcow2 = tmp_path / "qcow2"
    qcow2.write_bytes(b"QFI\xfb" + bytes(20) + (5 << 20).to_bytes(8, "big"))
    assert files.image(qcow2) == ("qcow2", 5 << 20)
    with pytest.raises(LabError, match="none: No such file"):
        files.image(tmp_path / "none")
    with pytest.raises(LabError, match=r"raw has 1 MiB: too much for disk, which has 0\.5"):
        files.overlay(tmp_path / "disk", raw, 1 << 19)


def test_who_reset_a_server() -> None:
    guest = {"guest": True, "reason": "guest-reset"}
    person = {"guest": False, "reason": "host-qmp-system-reset"}
    events = [
        Event("RESET", guest, 100.0),
        Event("RESET", guest, 100.1),  # the BIOS again
        Event("RESET", person, 101.0),
        Event("RESET", guest, 101.1),
        Event("STOP", {}, 150.0),
        Event("WATCHDOG", {"action": "reset"}, 200.0),
        Event("RESET", guest, 200.0),
        Event("RESET", guest, 200.1),
        Event("RESET", guest, 300.0),
    ]
    assert resets(events) == (
        Reset("guest", 100.0),
        Reset("person", 101.0),
        Reset("watchdog", 200.0),
        Reset("guest", 300.0),
    )
