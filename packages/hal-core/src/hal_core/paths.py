"""Where HAL keeps its files, and the environment variables that move them (for demos and tests).

====================  ================  ==========================================
variable              default           what is there
====================  ================  ==========================================
``HAL_CONFIG_DIR``    ``/etc/hal``      ``hal.toml`` and ``hal.toml.d/``
``HAL_DEFAULTS_DIR``  ``/usr/lib/hal``  the packages' own ``hal.toml``
``HAL_RUN_DIR``       ``/run/hal``      everything that ends with this boot: plans, sockets, state
``HAL_STATE_DIR``     ``/var/lib/hal``  everything that outlives a boot: pinned hardware, reasons, dumps
====================  ================  ==========================================
"""

from __future__ import annotations

import os


def config_dir() -> str:
    return os.environ.get("HAL_CONFIG_DIR", "/etc/hal")


def defaults_dir() -> str:
    return os.environ.get("HAL_DEFAULTS_DIR", "/usr/lib/hal")


def run_dir() -> str:
    return os.environ.get("HAL_RUN_DIR", "/run/hal")


def state_dir() -> str:
    return os.environ.get("HAL_STATE_DIR", "/var/lib/hal")
