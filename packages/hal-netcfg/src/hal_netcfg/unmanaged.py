"""Telling NetworkManager, where it is, to leave alone what is not the host's: a file that it reads when it starts.

systemd starts it after hal-netcfg (hal-netcfg.service); one that runs already is told to read it again when it changes
(hal-netcfg-unmanaged.path). HAL's own interfaces are in the package's 90-hal.conf.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from hal_core import atomic

# systemd-tmpfiles makes the directory at every boot, whether or not there is a NetworkManager.
DIRECTORY = "/run/NetworkManager/conf.d"
NAME = "90-hal-nics.conf"


def write(nics: Iterable[str], directory: str = "") -> bool:
    """Name these NICs; whether that was news. NetworkManager.conf(5), keyfile section, unmanaged-devices.

    :raise OSError: no permission.
    """
    directory = directory or DIRECTORY
    if not os.path.isdir(directory):
        return False
    # One line: of several with the same key in one file, the last one counts (GKeyFile).
    devices = ";".join(f"interface-name:{nic}" for nic in sorted(nics))
    content = f"# Written by hal-netcfg: these NICs are not the host's.\n[keyfile]\nunmanaged-devices+={devices}\n"
    path = os.path.join(directory, NAME)
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() == content:
                return False
    except FileNotFoundError:
        pass  # the first time since this host booted
    atomic.write(path, content)
    return True
