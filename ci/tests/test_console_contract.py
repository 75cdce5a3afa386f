"""hal-console and hal-vmm meet in files only: each is held against what the other one writes or reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from hal_console import notice, product
from hal_console.remote import serialport
from hal_vmm.manager import describe, exitreason, seriallog, state
from hal_vmm.manager.lastexit import LastExit
from hal_vmm.manager.markers import Markers
from hal_vmm.qemu import flavour_builtin

# States of describe.describe() that are no words of QEMU's.
STATES = ("rescue", "dumping", "stopping", "not answering", "stopped", "restarting", "starting", "ended")


def test_every_state_of_the_guest_manager_is_in_its_code() -> None:
    source = Path(describe.__file__).read_text()
    assert [word for word in STATES if f'"{word}"' not in source] == []


@pytest.mark.parametrize("word", [word for word in STATES if word != "starting"])
def test_every_state_without_a_picture_has_words_of_its_own(word: str) -> None:
    assert notice.lines(product.Product(word))[0] != notice.lines(product.Product("starting"))[0]


def test_every_reason_that_has_words_is_one_that_there_is() -> None:
    assert set(notice.REASONS) <= set(exitreason._OUTCOMES)


def test_what_the_guest_manager_saves_is_understood(tmp_path: Path) -> None:
    last = LastExit(str(tmp_path / "vmm")).note(exitreason.SILENT, "restart, counted as a crash", 60.0, "")
    saved = state.State(state="restarting", why="crashed; next start in 2 s", missed=5, last_exit=last)
    state.save(str(tmp_path), state.to_text(saved))
    assert product.read(str(tmp_path)) == product.Product("restarting", saved.why, exitreason.SILENT, 5)
    text = describe.rescue_text(5, 30, "heartbeats-missed")
    Markers(str(tmp_path)).set_rescue(text)
    assert product.read(str(tmp_path)).rescue == text


@pytest.mark.parametrize("index", range(4))
def test_the_serial_logs_are_where_both_say(index: int) -> None:
    assert serialport.log_path("/run/hal", index) == seriallog.path("/run/hal", index)


def test_every_qemu_that_hal_knows_has_what_beeps() -> None:
    assert [name for name, flavour in flavour_builtin.FLAVOURS.items() if not flavour.has("isa-pcspk")] == []
