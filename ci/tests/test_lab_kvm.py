"""Whether this machine's KVM can simulate a server is found out before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import LabError
from lab.simulator import installed


def test_without_a_device_it_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="without --accel kvm"):
        installed.check_kvm(tmp_path / "kvm", tmp_path)


@pytest.mark.parametrize(("nested", "good"), [("Y\n", True), ("1\n", True), ("N\n", False), ("0\n", False)])
def test_nesting_has_to_be_on(tmp_path: Path, nested: str, good: bool) -> None:
    (tmp_path / "kvm").touch()
    parameter = tmp_path / "kvm_amd/parameters/nested"
    parameter.parent.mkdir(parents=True)
    parameter.write_text(nested)
    if good:
        installed.check_kvm(tmp_path / "kvm", tmp_path)
    else:
        with pytest.raises(LabError, match="cannot nest"):
            installed.check_kvm(tmp_path / "kvm", tmp_path)
