"""What other parts of the repository have to say for the modules to be installed, and the domains entered."""

from __future__ import annotations

from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1]
ROOT = PACKAGE.parents[1]
MODULES = sorted(path.stem for path in PACKAGE.glob("*.te"))


def section(spec: str, name: str) -> str:
    return spec.partition(f"\n{name}\n")[2].partition("\n\n")[0]


@pytest.mark.parametrize("module", MODULES)
def test_the_spec_installs_owns_and_removes_every_module(module: str) -> None:
    spec = (ROOT / "specs/hal-selinux.spec").read_text()
    assert f"/{module}.pp.bz2" in section(spec, "%post")
    assert f" {module}" in section(spec, "%postun")
    assert f"%{{pp}}/{module}.pp.bz2\n" in section(spec, "%files")
    assert f" %{{store}}/{module}\n" in section(spec, "%files")


def test_the_planner_asks_for_its_domain() -> None:
    """Its program is the guest manager's, so that the file cannot tell; "-" for a host without this policy."""
    unit = (ROOT / "packages/hal-vmm/systemd/hal-qemu-plan.service").read_text()
    assert "\nSELinuxContext=-system_u:system_r:hal_vmm_plan_t:s0\n" in unit
