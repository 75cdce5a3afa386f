"""The resident's status file, /run/hal/console/status.json."""

from hal_core.statusfile import StatusFile

STATUS = StatusFile("console")
