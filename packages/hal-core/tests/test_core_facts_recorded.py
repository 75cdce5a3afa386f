"""Recorded real servers against what is known to be true of them; skipped where the recordings are not at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hal_core import facts, record
from hal_core.testing import sysfs

_MACHINES = Path(os.environ.get("HAL_MACHINES") or Path(__file__).resolve().parents[4] / "shared" / "machines")
_TRUTH_FILE = _MACHINES / "truth.json"
_TRUTH: dict[str, dict[str, Any]] = json.loads(_TRUTH_FILE.read_text()) if _TRUTH_FILE.exists() else {}

pytestmark = pytest.mark.skipif(not _TRUTH, reason=f"no recorded machines at {_MACHINES} (set HAL_MACHINES)")


@pytest.mark.parametrize("name", sorted(_TRUTH))
def test_a_recorded_server_gives_the_truth(name: str) -> None:
    truth = _TRUTH[name]
    machine = facts.read(str(_MACHINES / f"{name}.tar.bz2"))
    assert {
        "online_cpus": len(machine.cpu.online),
        "physical_cores": len(machine.cpu.cores),
        "mem_total_kib": machine.memory.total_kib,
        "dmi": {field: getattr(machine.dmi, field) for field in truth["dmi"]},
        "ethernet_nics": {nic.name: nic.mac for nic in machine.nics},
        "disks": [disk.name for disk in machine.disks],
        "optical": [drive.name for drive in machine.optical],
    } == truth


@pytest.mark.parametrize("name", sorted(_TRUTH))
def test_recording_a_recorded_server_changes_nothing(name: str) -> None:
    path = str(_MACHINES / f"{name}.tar.bz2")
    assert facts.read_tree(sysfs.tree(record.collect(path))) == facts.read(path)


def test_the_hybrid_laptop_has_six_fast_and_eight_slow_cores() -> None:
    names = [name for name in _TRUTH if "hybrid" in name]
    if not names:
        pytest.skip("no hybrid machine among the recordings")
    cores = facts.read(str(_MACHINES / f"{names[0]}.tar.bz2")).cpu.cores
    assert [core.core_type for core in cores] == ["performance"] * 6 + ["efficiency"] * 8


def test_the_disk_that_a_recorded_server_is_mounted_from_is_its_own() -> None:
    names = [name for name, truth in _TRUTH.items() if truth["disks"] == ["sda"]]
    if not names:
        pytest.skip("no machine with a disk among the recordings")
    machine = facts.read(str(_MACHINES / f"{names[0]}.tar.bz2"))
    assert machine.disks[0].hal_device
    assert len(machine.disks[0].partitions) == 6
    assert machine.optical[0].transport == "sata"
