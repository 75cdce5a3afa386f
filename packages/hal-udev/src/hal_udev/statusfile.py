"""The resident's status file, /run/hal/udev/status.json."""

from hal_core.statusfile import StatusFile

STATUS = StatusFile("udev")
