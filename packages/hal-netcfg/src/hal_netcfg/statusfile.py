"""The resident's status file, /run/hal/netcfg/status.json."""

from hal_core.statusfile import StatusFile

STATUS = StatusFile("netcfg")
