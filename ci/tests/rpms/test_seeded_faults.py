"""The factory rejects what is wrong: each fault is planted in a copy of the checkout, and must be found."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Callable

import pytest

from factory import buildlog
from factory.build import BuildFailed
from factory.errors import FactoryError
from factory.factory import Factory
from factory.target import Target
from hostroot import ROOT, WORK, HostRoot


class Copy:
    """A copy of the checkout that a test spoils; it is built with everything that is known from the real one."""

    def __init__(self, root: Path, target: Target) -> None:
        self.root = root
        self._target = target

    def replace(self, path: str, old: str, new: str) -> None:
        text = (self.root / path).read_text()
        assert old in text, f"{path} has changed: the fault cannot be planted"
        (self.root / path).write_text(text.replace(old, new, 1))

    def build(self, package: str, tests: bool = False) -> None:
        Factory(self.root, WORK, self._target, print, tests).build([package])

    def why(self, package: str, tests: bool = False) -> str:
        """What a person is shown when the package does not build.

        :param tests: whether its own tests run: where the fault is theirs to find. Elsewhere they would only take time
        """
        with pytest.raises(BuildFailed) as caught:
            self.build(package, tests)
        shown = "\n".join(buildlog.relevant(caught.value.log.read_text(errors="replace")))
        return f"{caught.value}\n{shown}"


@pytest.fixture
def copy(os_target: Target, repository: Path, tmp_path: Path) -> Copy:
    root = tmp_path / "checkout"
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "ls-files", "-coz", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    subprocess.run(["git", "init", "-q", root], check=True)
    return Copy(root, os_target)


def test_a_dropped_build_requirement(copy: Copy) -> None:
    copy.replace("specs/hal-core.spec", "BuildRequires:  python3-hypothesis\n", "")
    assert "No module named 'hypothesis'" in copy.why("hal-core", tests=True)


def test_a_dropped_macro_package(copy: Copy) -> None:
    copy.replace("specs/hal-vmm.spec", "BuildRequires:  systemd-rpm-macros\n", "")
    assert "%{_unitdir}" in copy.why("hal-vmm")


def test_a_build_requirement_that_nobody_provides(copy: Copy) -> None:
    copy.replace("specs/hal-core.spec", "python3-hypothesis", "python3-hypotheses")
    said = copy.why("hal-core")
    assert "installing build requirements failed" in said
    assert "python3-hypotheses" in said


def test_an_unpackaged_file(copy: Copy) -> None:
    copy.replace("specs/python-qemu-qmp.spec", "%{_bindir}/qmp-shell-wrap\n", "")
    said = copy.why("python-qemu-qmp")
    assert "Installed (but unpackaged) file(s) found" in said
    assert "/usr/bin/qmp-shell-wrap" in said


def test_a_wrong_file_name(copy: Copy) -> None:
    copy.replace("specs/python-qemu-qmp.spec", "%{_bindir}/qmp-shell-wrap", "%{_bindir}/qmp-shell-warp")
    assert "qmp-shell-warp" in copy.why("python-qemu-qmp")


def test_a_wrong_package_name(copy: Copy) -> None:
    copy.replace("specs/hal-host.spec", "Name:           hal-host", "Name:           hal-hosts")
    with pytest.raises(FactoryError, match=r"its Name is hal-hosts, so it must be called hal-hosts\.spec"):
        copy.build("hal-core")


def test_a_spec_with_an_error(copy: Copy) -> None:
    copy.replace("specs/hal-host.spec", "%description", "%if 1\n%description")
    with pytest.raises(FactoryError, match=r"hal-host\.spec: .*%if"):
        copy.build("hal-core")


def test_a_test_that_fails(copy: Copy) -> None:
    """Beside a few that pass: the package's other tests would only take their time."""
    directory = copy.root / "packages/hal-core/tests"
    for other in set(directory.glob("test_*.py")) - {directory / "test_core_table.py"}:
        other.unlink()
    with (directory / "test_core_table.py").open("a") as tests:
        tests.write("\n\ndef test_planted() -> None:\n    assert 1 == 2\n")
    assert "FAILED tests/test_core_table.py::test_planted" in copy.why("hal-core", tests=True)


# A forbidden policy rule compiles: it is found when the policy is linked, by the tests in packages/hal-selinux.


def test_an_unknown_policy_interface(copy: Copy) -> None:
    with (copy.root / "packages/hal-selinux/hal_qemu.te").open("a") as module:
        module.write("\nfiles_read_anything_at_all(hal_qemu_t)\n")
    assert "files_read_anything_at_all" in copy.why("hal-selinux")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ExecStart=/usr/bin/hal-vmm run", "ExecStart=/usr/bin/hal-vmmm run", "hal-vmmm is not executable"),
        ("WatchdogSec=5min", "WatchDogSec=5min", "Unknown key"),
    ],
)
def test_a_unit_that_cannot_verify(installed_clone: HostRoot, old: str, new: str, said: str) -> None:
    spoil(installed_clone, lambda text: text.replace(old, new))
    assert said in installed_clone.units_that_do_not_verify()


def test_a_unit_that_may_do_anything(installed_clone: HostRoot) -> None:
    spoil(
        installed_clone,
        lambda text: "\n".join(line for line in text.splitlines() if "Protect" not in line and "Cap" not in line),
    )
    assert "hal-vmm.service" in installed_clone.exposed_units()


def test_a_file_that_somebody_has_changed(installed_clone: HostRoot) -> None:
    spoil(installed_clone, lambda text: text + "# changed\n")
    assert "/usr/lib/systemd/system/hal-vmm.service" in installed_clone.changed_files()


def spoil(host: HostRoot, change: Callable[[str], str]) -> None:
    unit = host.path / "usr/lib/systemd/system/hal-vmm.service"
    before = unit.read_text()
    assert change(before) != before, "the unit has changed: the fault cannot be planted"
    unit.write_text(change(before))
