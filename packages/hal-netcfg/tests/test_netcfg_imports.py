"""What a boot waits for is imported, and no more. Of pyroute2, too, and that takes nothing away from others.

In a process each: imports happen once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

IMPORT = "from hal_netcfg.links.netlink import IPRoute, NetlinkError\n"
# None of it is needed by any version; a new one that drags in another database is to be noticed.
NEEDLESS = {"unittest", "multiprocessing", "platform", "sqlite3", "pyroute2.ndb", "pyroute2.ndb.main", "http", "email"}


# What HAL's own part of `hal netcfg apply` does without; each has been there, or would be with one careless line.
HEAVY = {"argparse", "asyncio", "hashlib", "http", "importlib.metadata", "shutil", "ssl", "tempfile", "urllib.parse"}
HEAVY |= {"bz2", "gzip", "lzma", "tarfile", "zlib", "tomllib", "tomli", "qemu", "pathlib", "random", "uuid"}
HEAVY |= {"hal_core.machine", "hal_core.facts.archive", "hal_core.facts.cpu", "hal_core.facts.disks"}
HEAVY |= {"hal_netcfg.resident", "hal_netcfg.plan.show"}


def run(program: str, path: str = "") -> str:
    environment = {**os.environ, "PYTHONPATH": f"{path}:{':'.join(sys.path)}" if path else ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def made_up(directory: Path, linux: str) -> str:
    """Where a pyroute2 is that imports what the test wants."""
    for name, text in (
        ("__init__", "import sqlite3"),
        ("iproute/__init__", ""),
        ("iproute/linux", f"{linux}\nclass IPRoute: made_up = True"),
        ("netlink/__init__", ""),
        ("netlink/exceptions", "class NetlinkError(Exception): pass"),
    ):
        file = directory / f"pyroute2/{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return str(directory)


def test_what_applies_the_network_imports_no_more_than_that_takes(tmp_path: Path) -> None:
    """With a pyroute2 that imports nothing: what the real one does differs with its version."""
    program = "import hal_netcfg.main, hal_netcfg.commands.apply_command, hal_netcfg.engine, sys; print(*sys.modules)"
    bare = {*run("import sys; print(*sys.modules)").split()}
    loaded = {*run(program, made_up(tmp_path, "")).split()}
    assert {"hal_netcfg.links.kernel", "pyroute2.iproute.linux"} <= loaded
    assert (HEAVY | NEEDLESS) & (loaded - bare) == set()


def test_what_it_does_without_is_not_imported() -> None:
    assert NEEDLESS & set(run(f"{IMPORT}import sys; print(*sys.modules)").split()) == set()


def test_otherwise_it_would_be() -> None:
    """So the test above can fail."""
    assert {"multiprocessing", "platform"} <= set(run("import sys, pyroute2; print(*sys.modules)").split())


def test_it_knows_this_machine_all_the_same() -> None:
    program = "from pyroute2 import config; print(config.uname[0], config.machine, config.kernel[0], config.arch)"
    assert run(IMPORT + program) == run(program)


def test_whoever_wants_the_rest_later_gets_it() -> None:
    program = "import multiprocessing, platform, unittest.mock\n"
    program += "print(unittest.mock.Mock().x, multiprocessing.cpu_count, platform.python_version())"
    assert len(run(IMPORT + program).splitlines()) == 1


def test_only_pyroute2_has_what_stands_in() -> None:
    program = """
import sys
for name, module in list(sys.modules.items()):
    for value in list(vars(module).values()):
        is_made_here = type(value) is type(sys) and value.__spec__ is None
        if is_made_here and value.__name__ in ("unittest", "multiprocessing", "platform"):
            print(name)
"""
    holders = run(IMPORT + program).split()
    assert holders
    assert {name.partition(".")[0] for name in holders} == {"pyroute2"}


def test_no_program_is_run_to_know_what_machine_this_is(tmp_path: Path) -> None:
    """As pyroute2 did until 0.7: tuple() of uname's answer runs uname(1), architecture() file(1)."""
    path = made_up(tmp_path, "import platform\nNOW = tuple(platform.uname()), platform.architecture()[0]")
    watch = "import sys; sys.addaudithook(lambda event, _: event in ('subprocess.Popen', 'os.fork') and print(event))\n"
    assert run(f"{watch}{IMPORT}from pyroute2.iproute.linux import NOW; print(NOW[1])", path) == "64bit"
    assert "subprocess.Popen" in run(f"{watch}import pyroute2.iproute.linux", path)


@pytest.mark.parametrize(
    ("wish", "all_of_it"),
    [
        ("from unittest import mock; mock.Mock()", False),
        ("import unittest.mock", True),
        ("from multiprocessing import Pool", True),
        ("import multiprocessing\nclass Mine(multiprocessing.Process): pass", True),
        ("import platform; platform.python_version()", True),
    ],
)
def test_a_version_that_wants_more_gets_all_of_it(tmp_path: Path, wish: str, all_of_it: bool) -> None:
    program = f"{IMPORT}import sys; print(IPRoute.made_up, 'sqlite3' in sys.modules)"
    assert run(program, made_up(tmp_path, wish)) == f"True {all_of_it}"


def test_where_all_of_it_is_there_it_is_taken() -> None:
    assert run(f"import pyroute2\n{IMPORT}print(IPRoute is pyroute2.IPRoute)") == "True"


def test_without_it_that_is_said(tmp_path: Path) -> None:
    program = "import os, sys; sys.path = [one for one in sys.path if not os.path.isdir(f'{one}/pyroute2')]\n"
    program += f"try:\n    {IMPORT}"
    program += "except ModuleNotFoundError as error: print(error)"
    assert run(program) == "No module named 'pyroute2'"
