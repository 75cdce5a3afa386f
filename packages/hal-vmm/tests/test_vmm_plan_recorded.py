"""Plans for recorded real servers against what is known of them; skipped where the recordings are not at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hal_vmm.launch import commandline
from hal_vmm.launch.commandline import Site
from hal_vmm.plan import inputs

_MACHINES = Path(os.environ.get("HAL_MACHINES") or Path(__file__).resolve().parents[4] / "shared" / "machines")
_TRUTH_FILE = _MACHINES / "truth.json"
_TRUTH: dict[str, dict[str, Any]] = json.loads(_TRUTH_FILE.read_text()) if _TRUTH_FILE.exists() else {}

pytestmark = pytest.mark.skipif(not _TRUTH, reason=f"no recorded machines at {_MACHINES} (set HAL_MACHINES)")


@pytest.fixture(autouse=True)
def no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HAL_CONFIG_DIR", "HAL_DEFAULTS_DIR", "HAL_STATE_DIR", "HAL_RUN_DIR"):
        monkeypatch.setenv(variable, str(tmp_path))


@pytest.mark.parametrize("flavour", ["debian12", "el9", "el10", "fedora"])
@pytest.mark.parametrize("name", sorted(_TRUTH))
def test_the_product_sees_the_recorded_server(name: str, flavour: str) -> None:
    truth = _TRUTH[name]
    gathered = inputs.for_planning(str(_MACHINES / f"{name}.tar.bz2"), flavour)
    planned = gathered.plan()
    value = planned.to_json()
    cpus = [pin["cpu"] for pin in value["cpu"]["pinning"]]
    assert len(set(cpus)) == value["cpu"]["vcpus"] == truth["physical_cores"]
    assert {nic["host"]: nic["mac"] for nic in value["nics"]} == truth["ethernet_nics"]
    assert [disk["host"] for disk in value["disks"]] == [f"/dev/{disk}" for disk in truth["disks"]]
    assert [drive["host"] for drive in value["optical"]] == [f"/dev/{drive}" for drive in truth["optical"]]
    if truth["dmi"]:
        assert value["smbios"]["system"]["manufacturer"] == truth["dmi"]["sys_vendor"]
        assert value["smbios"]["system"]["product"] == truth["dmi"]["product_name"]
    if truth["mem_total_kib"]:
        total = value["memory"]["guest_mib"] + value["memory"]["host_mib"]
        pages = 2 * max(1, len(value["cpu"]["nodes"]))
        assert 0 <= truth["mem_total_kib"] // 1024 - total < pages
    launch = commandline.compile_plan(planned, gathered.flavour, Site("/run/hal", vhost=True))
    assert f"{truth['physical_cores']}," in launch.argv[launch.argv.index("-smp") + 1]
