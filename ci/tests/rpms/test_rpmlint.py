"""rpmlint finds nothing in the specs and the RPMs, beyond a short list of what it need not say (rpmlint.toml)."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from hostroot import ROOT


def test_rpmlint_finds_nothing(repository: Path) -> None:
    rpms = sorted(repository.glob("*.rpm"))
    sources = sorted(repository.glob("source/*.rpm"))
    specs = sorted((ROOT / "specs").glob("*.spec"))
    assert len(rpms) > len(sources) == len(specs)
    # One by one where it would otherwise hold two packages' specs against each other.
    for files in (rpms, *([path] for path in (*sources, *specs))):
        assert " 0 errors, 0 warnings" in rpmlint(files)


def rpmlint(files: Sequence[Path]) -> str:
    """What rpmlint says of these."""
    command = ["rpmlint", "-c", *map(str, (Path(__file__).with_name("rpmlint.toml"), *files))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
