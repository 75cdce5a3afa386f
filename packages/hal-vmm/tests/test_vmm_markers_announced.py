"""The kernel tells the guest manager that a marker has changed: nobody waits for the next tick."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hal_vmm.manager.markers import Markers

PATIENCE = 10.0  # seconds


@pytest.fixture(autouse=True)
def _sigio_waits() -> Iterator[None]:
    """The signal is collected by the test, not delivered."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})
    yield
    while signal.sigtimedwait({signal.SIGIO}, 0):
        pass
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def announced() -> bool:
    return signal.sigtimedwait({signal.SIGIO}, PATIENCE) is not None


CHANGES: dict[str, Callable[[Markers], None]] = {
    "stop": lambda markers: markers.set_stopped(None),
    "maintenance": lambda markers: markers.set_maintenance(1.0),
    "rescue": lambda markers: markers.set_rescue("crashed"),
    "start": lambda markers: markers.clear_stopped(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_announced(tmp_path: Path, change: str) -> None:
    markers = Markers(str(tmp_path))
    markers.set_stopped(None)
    markers.announce()
    assert signal.sigtimedwait({signal.SIGIO}, 0) is None
    CHANGES[change](markers)
    assert announced()


def test_not_only_the_first_one(tmp_path: Path) -> None:
    markers = Markers(str(tmp_path))
    markers.announce()  # the directory is made
    for _ in range(3):
        markers.set_stopped(None)
        assert announced()
        while signal.sigtimedwait({signal.SIGIO}, 0):
            pass
        markers.clear_stopped()
        assert announced()


def test_the_directory_is_not_handed_down(tmp_path: Path) -> None:
    """QEMU, started from here, must not hold a descriptor of ours."""
    Markers(str(tmp_path)).announce()
    ours = str(tmp_path / "vmm")
    held = [fd for fd in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{fd}") == ours]
    assert held
    assert not any(os.get_inheritable(int(fd)) for fd in held)
