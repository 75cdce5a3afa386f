"""Makes this directory's helper modules importable, and its property tests independent of how busy the machine is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from hal_udev.plan import udevrules

sys.path.insert(0, str(Path(__file__).parent))

# How long an example takes says something about the machine's other work, and nothing about the code.
settings.register_profile(
    "hal-udev",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=int(os.environ.get("HAL_EXAMPLES", "100")),  # fewer for who waits: ci/test --quick
)
settings.load_profile("hal-udev")


@pytest.fixture(autouse=True)
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """None of this machine's own: etc, run and state below what is given."""
    for variable, name in (("HAL_CONFIG_DIR", "etc"), ("HAL_DEFAULTS_DIR", "lib"), ("HAL_RUN_DIR", "run")):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.setenv("HAL_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "run/udev").mkdir()
    (tmp_path / "rules.d").mkdir()
    monkeypatch.setattr(udevrules, "DIRECTORY", str(tmp_path / "rules.d"))
    return tmp_path
