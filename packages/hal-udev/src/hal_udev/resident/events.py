"""What wakes the loop: udev has finished with a USB device, one of HID, a disk or a DVD drive.

An event says "look again", and nothing else; but for a button: see :mod:`hal_udev.dvd.room`.

udev's own events, not the kernel's: when they come, its rules are through with the device, and nobody else on the host
is about to open it.
"""

from __future__ import annotations

import contextlib
from typing import Any

from hal_core.errors import HostError
from hal_udev.resident import libudev


class Events:
    """:raise HostError: they cannot be heard."""

    def __init__(self) -> None:
        try:
            pyudev = libudev.load()
            self._monitor: Any = pyudev.Monitor.from_netlink(pyudev.Context(), source="udev")
            self._monitor.filter_by("usb")
            self._monitor.filter_by("hid")  # comes later: what tells a token from a keyboard is there by then
            self._monitor.filter_by("block", "disk")
            self._monitor.start()
        except (ImportError, OSError) as error:
            raise HostError(f"cannot listen to udev's events: {error}", "run this as root") from None

    def fileno(self) -> int:
        number: int = self._monitor.fileno()
        return number

    def drain(self) -> list[dict[str, str]]:
        """Take everything that is there; of block devices what udev says of them: an eject button is nowhere else."""
        heard: list[dict[str, str]] = []
        while True:
            try:
                device = self._monitor.poll(timeout=0)
                if device is None:
                    return heard
                if device.subsystem == "block":
                    heard.append(_properties(device))
            except OSError:
                continue  # ENOBUFS: events were lost, which is as good as one that came


def _properties(device: Any) -> dict[str, str]:
    """Without those that are no text: nobody asks for them, and they are not to take an eject button with them."""
    found: dict[str, str] = {}
    for key in device.properties:
        with contextlib.suppress(UnicodeDecodeError):
            found[key] = device.properties[key]
    return found
