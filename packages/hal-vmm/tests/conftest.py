"""Property tests are independent of how busy the machine is."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine's other work, and nothing about the code.
settings.register_profile(
    "hal-vmm",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=int(os.environ.get("HAL_EXAMPLES", "100")),  # fewer for who waits: ci/test --quick
)
settings.load_profile("hal-vmm")
