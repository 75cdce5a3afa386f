"""What SELinux does here: the real libselinux, and a fake one, because no kernel with SELinux can be had everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Union

import pytest

from hal_core import selinux_status
from hal_core.selinux_status import SELinux

ROOT = "system_u:system_r:init_t:s0"


class FakeLibselinux(SimpleNamespace):
    """A fake of libselinux's bindings on a kernel with SELinux: processes and files with their contexts."""

    def __init__(self, enforcing: bool, contexts: dict[Union[int, str], str]) -> None:
        super().__init__()
        self.enforcing = enforcing
        self.contexts = contexts

    def is_selinux_enabled(self) -> int:
        return 1

    def security_getenforce(self) -> int:
        return int(self.enforcing)

    def selinux_getpolicytype(self) -> list[object]:
        return [0, "targeted"]

    def _context(self, subject: Union[int, str]) -> list[object]:
        if subject not in self.contexts:
            raise FileNotFoundError(2, "No such file or directory")
        context = self.contexts[subject]
        return [len(context) + 1, context]

    getpidcon = lgetfilecon = _context


@pytest.mark.parametrize(("enforcing", "mode"), [(True, "enforcing"), (False, "permissive")])
def test_an_enabled_kernel(enforcing: bool, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "selinux", FakeLibselinux(enforcing, {1: ROOT, "/x": "u:object_r:etc_t:s0"}))
    assert selinux_status.read() == SELinux(mode, "targeted")
    assert selinux_status.of_process(1) == ROOT
    assert selinux_status.of_file("/x") == "u:object_r:etc_t:s0"
    assert selinux_status.of_process(2) is None
    assert selinux_status.of_file("/gone") is None


def test_missing_bindings_are_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "selinux", None)  # how one says that a module is not there
    assert selinux_status.read() == SELinux("unknown", None)
    assert selinux_status.of_process(os.getpid()) is None
    assert selinux_status.of_file("/") is None


def test_a_container_without_selinuxfs(monkeypatch: pytest.MonkeyPatch) -> None:
    def getenforce() -> int:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setitem(
        sys.modules, "selinux", SimpleNamespace(is_selinux_enabled=lambda: 1, security_getenforce=getenforce)
    )
    assert selinux_status.read() == SELinux("unknown", None)


def test_what_the_environment_has_never_fails() -> None:
    """In a virtual environment the bindings may be the system's, a stand-in that only says no, or missing."""
    assert selinux_status.read().mode in ("enforcing", "permissive", "disabled", "unknown")
    assert selinux_status.of_process(os.getpid()) is None or "_t" in str(selinux_status.of_process(os.getpid()))


@pytest.mark.component
def test_the_systems_own_bindings() -> None:
    program = f"""\
import json, sys
sys.path.append({str(Path(selinux_status.__file__).parents[1])!r})
import selinux
from hal_core import selinux_status
state = selinux_status.read()
print(json.dumps([state.mode, state.policy, selinux_status.of_process(1), selinux_status.of_file("/")]))
"""
    done = subprocess.run(["/usr/bin/python3", "-Ic", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    mode, policy, process, file = json.loads(done.stdout)
    if "selinuxfs" in Path("/proc/filesystems").read_text():
        assert mode in ("enforcing", "permissive")
        assert policy
        assert process.split(":")[2]
        assert file.split(":")[2]
    else:
        assert [mode, policy, process, file] == ["disabled", None, None, None]


def test_the_type_of_a_context() -> None:
    assert selinux_status.type_of("system_u:system_r:hal_qemu_t:s0:c1,c2") == "hal_qemu_t"


def test_policy_modules_by_prefix(tmp_path: Path) -> None:
    for name in ("100/base", "200/hal_vmm", "200/hal_qemu", "400/hal_vmm", "400/local", "disabled/hal_old"):
        (tmp_path / "targeted/active/modules" / name).mkdir(parents=True)
    assert selinux_status.modules("targeted", "hal_", str(tmp_path)) == ("hal_qemu", "hal_vmm")
    assert selinux_status.modules("mls", "hal_", str(tmp_path)) == ()


def test_policy_modules_that_only_root_may_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.listdir", denied)
    assert selinux_status.modules("targeted", "hal_", str(tmp_path)) is None
