"""The command ci/pythons: the unit tests of the Python packages, on the hosts' Pythons, where they are here."""

from __future__ import annotations

import argparse
import concurrent.futures
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

sys.path.insert(0, str(Path(__file__).parent))  # run with -I: nothing but this directory is added

import interpreters
from hal_core import table
from interpreters import Interpreter

HOSTS = {"3.9": "EL9", "3.12": "EL10", "3.14": "Fedora"}  # who has which as its own Python
AT_ONCE = 3  # on two cores: unit tests wait at times
DEADLINE_S = 1200  # for one run of all unit tests, half a minute usually

_installing = threading.Lock()  # editable installations write into the working tree: one after the other


@dataclass(frozen=True)
class Result:
    """What came out on one interpreter."""

    passed: bool
    summary: str  # pytest's last line, or what went wrong before it
    seconds: float
    log: str


def main(arguments: Sequence[str]) -> int:
    """Find them, test them, and show the table. 1 if tests fail on one of them, 2 for one that is not here."""
    options = _parser().parse_args(arguments)
    found = interpreters.find()
    missing = [series for series in options.versions if series not in found]
    if missing:
        here = ", ".join(found) or "none"
        print(f"ci/pythons: no Python {', '.join(missing)} here; found: {here}", file=sys.stderr)
        return 2
    if options.list:
        rows = [(one.version, HOSTS.get(series), one.path) for series, one in found.items()]
        print(table.render(("PYTHON", "OF", "WHERE"), rows))
        return 0
    chosen = {series: found[series] for series in options.versions or by_default(found)}
    results = run_all(options.root, chosen)
    expected = [] if options.versions else [series for series in HOSTS if series not in found]
    print(render(chosen, results, expected))
    if not options.versions and set(found) <= {f"3.{sys.version_info.minor}"}:
        print("Only the system's own Python is here: the others were NOT tested. HAL_PYTHONS may name some.")
    return int(not all(result.passed for result in results.values()))


def by_default(found: Collection[str]) -> list[str]:
    """Of those found, oldest first: the hosts' own, and the newest, which is the nearest to what comes next."""
    *_, newest = found
    return [series for series in found if series in HOSTS or series == newest]


def run_all(root: Path, chosen: dict[str, Interpreter]) -> dict[str, Result]:
    """The result of each series; a line for each as soon as it is known, and the whole log of a failure."""
    results = {}
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        runs = {pool.submit(run_one, root, interpreter): series for series, interpreter in chosen.items()}
        for run in concurrent.futures.as_completed(runs):
            series, result = runs[run], run.result()
            results[series] = result
            if not result.passed:
                print(result.log, file=sys.stderr)
            print(f"==> Python {series}: {result.summary}", file=sys.stderr, flush=True)
    return results


def run_one(root: Path, interpreter: Interpreter) -> Result:
    """Make the environment, if need be, and run the tests in it."""
    began = time.monotonic()
    try:
        with _installing:
            environment = make_environment(root, interpreter)
        status, log = run_tests(root, environment)
    except subprocess.CalledProcessError as error:
        return Result(False, "no environment", time.monotonic() - began, error.stdout)
    except OSError as error:
        return Result(False, str(error), time.monotonic() - began, "")
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        log = output.decode(errors="replace") if isinstance(output, bytes) else output
        return Result(False, f"not done after {DEADLINE_S} s", time.monotonic() - began, log)
    lines = log.splitlines() or [f"pytest said nothing, exit status {status}"]
    return Result(status == 0, lines[-1].strip("= "), time.monotonic() - began, log)


def make_environment(root: Path, interpreter: Interpreter) -> Path:
    """A virtual environment with the packages of the working tree and what their tests need, pinned as everywhere.

    :raise CalledProcessError: pip failed; ``stdout`` has what it said.
    """
    environment = root / ".cache/pythons" / interpreter.series
    packages = sorted(path.parent for path in root.glob("packages/*/setup.cfg"))
    pins = root / "ci/requirements.txt"
    key = hashlib.sha256(f"{root} {interpreter}".encode())
    # Modules are the working tree's own, metadata and scripts are copies.
    copied = [file for package in packages for file in (package / "setup.cfg", *sorted(package.glob("bin/*")))]
    for path in [pins, *copied]:
        key.update(str(path).encode() + path.read_bytes())
    stamp = environment / "key"
    if stamp.is_file() and stamp.read_text() == key.hexdigest():
        return environment
    shutil.rmtree(environment, ignore_errors=True)
    python = environment / "bin/python"
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--constraint", str(pins)]
    _check(root, [interpreter.path, "-m", "venv", str(environment)])
    _check(root, [*pip, "setuptools", "wheel"])
    # Run-time requirements come from the packages themselves: that they are declared is tested along with them.
    editable = [f"--editable={package}" for package in packages]
    _check(root, [*pip, "--no-build-isolation", *editable, "pytest", "hypothesis"])
    stamp.write_text(key.hexdigest())
    return environment


def run_tests(root: Path, environment: Path) -> tuple[int, str]:
    """The exit status and output of pytest.

    :raise TimeoutExpired: a test hangs.
    """
    variables = {
        **os.environ,
        "PATH": f"{environment}/bin:{os.environ['PATH']}",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(environment / "hypothesis"),
    }
    tests = [str(path.parent / "tests") for path in sorted(root.glob("packages/*/setup.cfg"))]  # those in Python
    argv = [str(environment / "bin/pytest"), "-p", "no:cacheprovider", *tests, "-m", "not component"]
    done = subprocess.run(
        argv,
        cwd=root,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return done.returncode, done.stdout


def render(tested: dict[str, Interpreter], results: dict[str, Result], expected: Sequence[str]) -> str:
    """The table: what was tested, and what a host has and this machine has not."""
    rows: dict[str, tuple[Optional[str], ...]] = {
        series: (series, HOSTS[series], "not found", None, None) for series in expected
    }
    for series, result in results.items():
        word = "passed" if result.passed else "FAILED"
        rows[series] = (tested[series].version, HOSTS.get(series), word, f"{result.seconds:.0f} s", result.summary)
    ordered = sorted(rows, key=lambda series: int(series.split(".")[1]))
    return table.render(("PYTHON", "OF", "RESULT", "TIME", "TESTS"), [rows[series] for series in ordered])


def _check(root: Path, argv: list[str]) -> None:
    subprocess.run(
        argv,
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ci/pythons", description="Run the unit tests on the Pythons of HAL's hosts.")
    parser.add_argument("root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("versions", nargs="*", metavar="VERSION", help="only these, 3.9 for instance")
    parser.add_argument("--list", action="store_true", help="only say what is found, and where")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
