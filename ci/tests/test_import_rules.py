"""Who may import whom. Every package in packages/ is covered by being there.

* Every package may import hal_core; no package imports another, and hal_core imports none.
* At run time nothing but the standard library, and the few that the packages declare.
* What is felt when it starts (the launcher, a cold ``status``) stays light.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = sorted(path.name for path in (ROOT / "packages").iterdir() if (path / "setup.cfg").is_file())
CORE = "hal_core"
THIRD_PARTY = {"pyroute2", "pyudev", "qemu.qmp", "tomli"}
FOR_TESTS = {"pytest", "hypothesis"}
BY_VERSION = {"tomllib"}  # standard, but not in every version that we run on

LIGHT = {"os", "stat", "__future__"}  # loaded by every interpreter anyway; besides them only what is written in C
LIGHT_CORE = {"hal_core.quickjson", "hal_core.atomic", "hal_core.errors", "hal_core.notify"}
HEAVY = {"argparse", "asyncio", "collections", "dataclasses", "enum", "functools", "inspect", "json", "logging", "re"}
HEAVY |= {"pathlib", "socket", "subprocess", "tempfile", "tomllib", "tomli", "typing", "importlib.metadata"}
HEAVY |= {"hal_core.rpmdb", "hal_core.selinux_status", "pyroute2", "pyudev", "rpm", "selinux"}


def module_name(package: str) -> str:
    return package.replace("-", "_")


def imports(source: str) -> Iterator[str]:
    """Every module that a source file imports, anywhere in it, except for type checking only."""
    todo: list[ast.AST] = [ast.parse(source)]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            todo.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports hide who imports whom"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        todo.extend(ast.iter_child_nodes(node))


@functools.cache
def is_standard(top: str) -> bool:
    if top in sys.builtin_module_names or top in BY_VERSION:
        return True
    spec = importlib.util.find_spec(top)
    origin = (spec.origin or "") if spec else ""
    paths = sysconfig.get_paths()
    inside = any(origin.startswith(paths[kind] + "/") for kind in ("stdlib", "platstdlib"))
    return origin == "frozen" or (inside and "-packages/" not in origin)


def is_c(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is not None and (spec.origin == "built-in" or str(spec.origin).endswith(".so"))


def is_third_party(name: str, allowed: set[str]) -> bool:
    # "from qemu.qmp import X" is seen as qemu.qmp and as qemu.qmp.X
    return any(name == one or name.startswith(f"{one}.") for one in allowed)


def broken_rules(package: str, file: Path, allowed: set[str], testing: bool) -> list[str]:
    own = module_name(package)
    wrong = []
    for name in imports(file.read_text()):
        top = name.split(".")[0]
        if top in (own, CORE):
            if not testing and ".testing" in name:
                wrong.append(f"{file}: {name} is for tests only")
        elif top.startswith("hal_"):
            wrong.append(f"{file}: imports {name}, of another package")
        elif not is_standard(top) and not is_third_party(name, allowed):
            wrong.append(f"{file}: imports {name}, which is neither standard nor one of {sorted(allowed)}")
    return wrong


def sources(package: str, *folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / "packages" / package / folder).rglob("*.py"))]


def test_there_are_packages() -> None:
    assert {"hal-console", "hal-core", "hal-netcfg", "hal-udev", "hal-vmm"} <= set(PACKAGES)
    assert all(sources(package, "src") for package in PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_shipped_imports_only_what_it_may(package: str) -> None:
    wrong = []
    for file in sources(package, "src"):
        testing = "testing" in file.parts
        wrong += broken_rules(package, file, THIRD_PARTY | (FOR_TESTS if testing else set()), testing)
    assert wrong == []


@pytest.mark.parametrize("package", PACKAGES)
def test_tests_stay_within_their_package(package: str) -> None:
    local = {path.stem for path in sources(package, "tests")} | {"conftest"}
    allowed = THIRD_PARTY | FOR_TESTS | local
    wrong = [rule for file in sources(package, "tests") for rule in broken_rules(package, file, allowed, testing=True)]
    assert wrong == []


@pytest.mark.parametrize("package", PACKAGES)
def test_scripts_only_start_their_package(package: str) -> None:
    scripts = [path for path in (ROOT / "packages" / package / "bin").iterdir() if is_python(path)]
    wrong = [rule for script in scripts for rule in broken_rules(package, script, set(), testing=False)]
    assert wrong == []


def is_python(path: Path) -> bool:
    return path.read_bytes().partition(b"\n")[0].startswith(b"#!/usr/bin/python3")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import hal_vmm.plan.guest", "of another package"),
        ("def f():\n    from hal_console import x", "of another package"),
        ("import pydantic", "neither standard"),
        ("from qemu import machine", "neither standard"),
        ("from hal_core.testing import fakeqmp", "for tests only"),
    ],
)
def test_the_rules_find_what_breaks_them(tmp_path: Path, source: str, words: str) -> None:
    file = tmp_path / "bad.py"
    file.write_text(source)
    assert words in " ".join(broken_rules("hal-core", file, THIRD_PARTY, testing=False))


def test_the_rules_accept_what_is_allowed(tmp_path: Path) -> None:
    file = tmp_path / "good.py"
    file.write_text(
        "import json, tomllib\nfrom qemu.qmp import QMPClient\nfrom hal_core import errors\nimport hal_core\n"
    )
    assert broken_rules("hal-vmm", file, THIRD_PARTY, testing=False) == []


@pytest.mark.parametrize("name", ["launcher", "opening", "readplan"])
def test_the_launcher_imports_a_handful(name: str) -> None:
    found = set(imports((ROOT / f"packages/hal-vmm/src/hal_vmm/launch/{name}.py").read_text()))
    modules = {name for name in found if is_standard(name.split(".")[0]) and "." not in name}
    core = {name for name in found if name.startswith(CORE) and name != CORE}
    assert {name for name in modules if not is_c(name)} <= LIGHT
    assert {".".join(name.split(".")[:2]) for name in core} <= LIGHT_CORE


def loaded_with(module: str) -> set[str]:
    """All modules, in a bare interpreter, so that what ``site`` brings is not counted as the module's."""
    path = ":".join(str(ROOT / "packages" / package / "src") for package in PACKAGES)
    program = f"import sys; sys.path[:0] = {path!r}.split(':'); import {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-ISc", program], check=True, capture_output=True, text=True)
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "hal_vmm.launch.launcher",
        "hal_vmm.main",
        "hal_vmm.commands.status",
        "hal_netcfg.main",
        "hal_udev.main",
        "hal_console.main",
        "hal_core.cli",
    ],
)
def test_what_is_felt_at_the_start_stays_light(module: str) -> None:
    assert HEAVY & loaded_with(module) == set()


def test_the_networks_status_does_without_netlink() -> None:
    assert {"asyncio", "pyroute2", "subprocess"} & loaded_with("hal_netcfg.commands.status_command") == set()
    assert {"asyncio", "pyudev", "subprocess"} & loaded_with("hal_udev.commands.status_command") == set()


@pytest.mark.parametrize(
    "module",
    [
        "hal_netcfg.commands.facts_command",
        "hal_netcfg.commands.plan_command",
        "hal_udev.commands.facts_command",
        "hal_udev.disks.present",
        "hal_core.facts.live",
    ],
)
def test_who_looks_at_one_kind_of_hardware_imports_no_other(module: str) -> None:
    """A machine's dataclasses alone take ten milliseconds to make."""
    other = {f"hal_core.facts.{subject}" for subject in ("archive", "cpu", "dmi", "memory", "pci", "serial")}
    assert ({"hal_core.machine"} | other) & loaded_with(module) == set()


def test_a_machine_is_all_of_them() -> None:
    """So the test above can fail."""
    assert {f"hal_core.machine_{kind}" for kind in ("disk", "nic", "usb")} <= loaded_with("hal_core.machine")
