"""The marker files: what people want outlives every program that could remember it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from hal_vmm.markers import Markers


@pytest.fixture
def markers(tmp_path: Path) -> Markers:
    return Markers(str(tmp_path))


def put(run_dir: Path, name: str, content: bytes) -> None:
    (run_dir / "vmm").mkdir(exist_ok=True)
    (run_dir / "vmm" / name).write_bytes(content)


def test_with_no_files_nothing_is_wanted(markers: Markers) -> None:
    assert not markers.stopped(None)
    assert not markers.stopped(4711)
    assert markers.maintenance_until() is None
    assert markers.rescue() is None
    markers.clear_stopped()
    markers.clear_rescue()


def test_a_stop_is_of_one_qemu_and_holds_when_it_has_gone(markers: Markers) -> None:
    markers.set_stopped(4711)
    assert markers.stopped(4711)
    assert markers.stopped(None)
    assert not markers.stopped(4712), "somebody has started another one since"
    markers.clear_stopped()
    assert not markers.stopped(None)


def test_a_stop_while_nothing_runs_holds_until_something_does(markers: Markers) -> None:
    markers.set_stopped(None)
    assert markers.stopped(None)
    assert not markers.stopped(4711)


@pytest.mark.parametrize("content", [b"", b"\n", b"yes\n", b"-1\n", b"\xff\xfe", "²\n".encode()])
def test_an_unreadable_stop_still_means_stop(markers: Markers, tmp_path: Path, content: bytes) -> None:
    put(tmp_path, "stopped", content)
    assert markers.stopped(None)
    assert markers.stopped(4711)


@pytest.mark.parametrize("until", [0.0, 12345.6789, math.inf])
def test_maintenance_is_read_back_exactly(markers: Markers, until: float) -> None:
    markers.set_maintenance(until)
    assert markers.maintenance_until() == until


@pytest.mark.parametrize("content", [b"", b"until Tuesday\n", b"nan\n", b"-nan\n", b"\xff\xfe"])
def test_an_unreadable_maintenance_is_one_without_end(markers: Markers, tmp_path: Path, content: bytes) -> None:
    put(tmp_path, "maintenance", content)
    assert markers.maintenance_until() == math.inf


def test_the_rescue_text_is_kept_line_by_line(markers: Markers) -> None:
    markers.set_rescue("It has crashed.\nTry: hal vmm start")
    assert markers.rescue() == "It has crashed.\nTry: hal vmm start"
    markers.clear_rescue()
    assert markers.rescue() is None


def test_a_marker_survives_the_program_that_set_it(tmp_path: Path) -> None:
    Markers(str(tmp_path)).set_maintenance(77.5)
    assert Markers(str(tmp_path)).maintenance_until() == 77.5
