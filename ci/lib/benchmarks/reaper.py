"""Runs a daemon, and is to its orphans what systemd is: they are reaped at once.

Where process 1 is no proper init, in a container or a small virtual machine, an ended QEMU stays a zombie for a second
or two, and libvirt waits for it. That would be held against libvirt.

usage: reaper.py COMMAND [ARGUMENT]...
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_CHILD_SUBREAPER = 36  # include/uapi/linux/prctl.h


def main(command: list[str]) -> int:
    """Until the command ends; its exit status."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    daemon = os.posix_spawn(command[0], command, os.environ)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(daemon, signal.SIGTERM))
    while True:
        pid, status = os.wait()
        if pid == daemon:
            return abs(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
