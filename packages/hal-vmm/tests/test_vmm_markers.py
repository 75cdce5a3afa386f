"""The marker files: what people want outlives every program that could remember it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Callable, Optional

import pytest

import hal_core
import hal_vmm
from hal_vmm.manager.markers import Markers

# Says whether it gets a SIGIO. A process of its own: the announcements last as long as it lives, and
# would end pytest when it removes the directory.
LISTENER = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})
sys.path[:0] = sys.argv[2:]
from hal_vmm.manager.markers import Markers
Markers(sys.argv[1]).announce()
print("listening", flush=True)
print("changed" if signal.sigtimedwait({signal.SIGIO}, 20) else "nothing", flush=True)
"""


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


@pytest.mark.parametrize(
    ("before", "change"),
    [
        (None, lambda markers: markers.set_stopped(4711)),
        (4711, lambda markers: markers.set_stopped(4712)),
        (4711, lambda markers: markers.clear_stopped()),
    ],
    ids=["comes", "changes", "goes"],
)
def test_a_marker_is_announced(tmp_path: Path, before: Optional[int], change: Callable[[Markers], None]) -> None:
    markers = Markers(str(tmp_path))
    if before:
        markers.set_stopped(before)
    path = [os.path.dirname(package.__path__[0]) for package in (hal_core, hal_vmm)]
    listener = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", LISTENER, str(tmp_path), *path], stdout=subprocess.PIPE, encoding="utf-8"
    )
    try:
        assert listener.stdout
        assert listener.stdout.readline() == "listening\n"
        change(markers)
        assert listener.stdout.readline() == "changed\n"
    finally:
        listener.kill()
        listener.communicate()
