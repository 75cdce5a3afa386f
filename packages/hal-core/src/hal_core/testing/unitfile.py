"""A systemd unit as its tests read it, and as systemd's own tools judge it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

HAS_SYSTEMD = shutil.which("systemd-analyze") is not None


def lines(path: Path) -> list[str]:
    """Of a unit, or another file like it, without comments."""
    return [line for line in path.read_text().splitlines() if line and line[0] != "#"]


def settings(unit: Path) -> list[tuple[str, str]]:
    """Keys and values, in order; without section headings."""
    return [(key, value) for key, equals, value in (line.partition("=") for line in lines(unit)) if equals]


def setting(unit: Path, key: str) -> str:
    """Its one value; values of a list that is given in parts are joined."""
    return " ".join(value for name, value in settings(unit) if name == key)


def complaints(unit: Path, directory: Path) -> str:
    """What ``systemd-analyze verify`` has to say about it; "": nothing.

    :param directory: for a copy, which names a program that is installed.
    """
    done = _analyze(unit, directory, "verify", "--man=no")
    return done.stdout + done.stderr or f"status {done.returncode}" * bool(done.returncode)


def exposure(unit: Path, directory: Path) -> float:
    """What ``systemd-analyze security`` makes of its sandbox: 0 is best, 10 worst."""
    done = _analyze(unit, directory, "security", "--offline=true")
    found = re.search(r"Overall exposure level for .*: ([0-9.]+) ", done.stdout)
    if not found:
        raise AssertionError(done.stdout + done.stderr)
    return float(found[1])


def _analyze(unit: Path, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    copy = directory / unit.name
    copy.write_text(unit.read_text().replace(f"/usr/bin/{unit.stem}", "/usr/bin/true"))
    return subprocess.run(
        ["systemd-analyze", *arguments, str(copy)],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{directory}:"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
