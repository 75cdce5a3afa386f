"""What ci/rpms says when it cannot do what it is asked for: one line, and dist/ is as it was."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from factory import programs
from hostroot import ROOT

PYTHON = str(ROOT / ".cache/venv/bin/python")
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
NO_NETWORK = ("unshare", "--net")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh clone, in which nothing has been built."""
    programs.run("git", "-c", f"safe.directory={ROOT}/.git", "clone", "--quiet", "--shared", ROOT, tmp_path / "clone")
    return tmp_path / "clone"


def rpms(checkout: Path, *arguments: str, how: Sequence[str] = (), python: str = PYTHON) -> tuple[int, list[str]]:
    """Exit status, and the lines on standard error."""
    done = subprocess.run(
        [*how, python, "-m", "factory", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(checkout / "ci/lib"), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert not (checkout / "dist").exists()
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hal-cor"], 'ci/rpms: no package "hal-cor" (specs/hal-cor.spec); there are: hal-console, hal-core, '),
        (["--target", "el8"], 'ci/rpms: target "el8": there are el9, el10 and later, fc41 and later'),
        (["--target", "debian12"], 'ci/rpms: target "debian12": there are '),
        (["--mock"], "ci/rpms: mock is not installed: dnf install mock"),
    ],
)
def test_one_line(checkout: Path, arguments: list[str], said: str) -> None:
    if "--mock" in arguments and Path("/usr/bin/mock").exists():
        pytest.skip("mock is installed here")
    status, lines = rpms(checkout, *arguments)
    assert status == 1
    (line,) = [line for line in lines if "note: there are changes" not in line]
    assert line.startswith(said)


@pytest.mark.parametrize("arguments", [["--jobs", "0"], ["--mock", "--srpm-only"], ["--tarjet", "el9"]])
def test_wrong_usage(checkout: Path, arguments: list[str]) -> None:
    status, lines = rpms(checkout, *arguments)
    assert status == 2
    assert lines[-1].startswith("ci/rpms: error: ")


def test_no_root(checkout: Path) -> None:
    """With the system's Python and a place that everybody may read: the checkout may be in a home directory."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        public = Path(directory)
        public.chmod(0o755)
        programs.run("cp", "-r", checkout, public / "clone")
        status, lines = rpms(public / "clone", how=NOBODY, python="/usr/bin/python3")
    assert status == 1
    assert lines == [
        "ci/rpms: clean roots need root (dnf --installroot, chroot): use sudo; or --mock, where mock is installed; "
        "or --srpm-only"
    ]


def test_no_network(checkout: Path) -> None:
    """Nothing is kept from earlier times here, so that it needs everything, and has nothing to get it from."""
    status, lines = rpms(checkout, how=NO_NETWORK)
    assert status == 1
    assert lines[-1].startswith("ci/rpms: ")
    assert len([line for line in lines if line.startswith("ci/rpms: ")]) == 1


def test_what_is_no_checkout(tmp_path: Path, checkout: Path) -> None:
    programs.run("rm", "-r", checkout / ".git")
    status, lines = rpms(checkout, "--srpm-only")
    assert status == 1
    assert lines[-1].startswith(f"ci/rpms: {checkout}: source archives are made with git, and git says: ")


def test_a_spec_that_cannot_be_parsed(checkout: Path) -> None:
    with (checkout / "specs/hal-host.spec").open("a") as spec:
        spec.write("\n%if 1\n")
    status, lines = rpms(checkout)
    assert status == 1
    assert lines[-1].startswith(f"ci/rpms: {checkout}/specs/hal-host.spec: ")
