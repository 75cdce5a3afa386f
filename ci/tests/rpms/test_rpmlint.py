"""rpmlint finds nothing in the specs and the RPMs, beyond a short list of what it need not say (rpmlint.toml)."""

from __future__ import annotations

import subprocess
from pathlib import Path

from hostroot import ROOT


def test_rpmlint_finds_nothing(repository: Path) -> None:
    specs = sorted((ROOT / "specs").glob("*.spec"))
    rpms = sorted(repository.rglob("*.rpm"))
    assert len(rpms) > len(specs)
    config = Path(__file__).with_name("rpmlint.toml")
    done = subprocess.run(["rpmlint", "-c", config, *specs, *rpms], capture_output=True, text=True, check=False)
    assert " 0 errors, 0 warnings" in done.stdout, done.stdout + done.stderr
