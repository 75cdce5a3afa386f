"""Why a disk has failed, in the words of the host's kernel, which knows what the disk has said (its sense data).

QEMU hears "Input/output error" only. The kernel's log is read when there was an error, not followed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

_PATH = "/dev/kmsg"
_RECORD = 8192  # bytes: longer than any (Documentation/ABI/testing/dev-kmsg)
# More than a kernel's log has room for. One that says more while it is being read is not followed.
_MOST_RECORDS = 500_000


def reason(name: str) -> str:
    """The last that the kernel has said of this disk, "sdb"; "" where it has said nothing, or we may not read it."""
    try:
        return find(name, _records())
    except OSError:
        return ""


def find(name: str, lines: Iterable[str]) -> str:
    """The last error of this disk's: its sense data, and the sector.

    SCSI: drivers/scsi/scsi_logging.c; all disks: block/blk-core.c, blk_mq_complete_request's print_req_error.
    """
    mine = re.escape(name)
    sense = re.compile(rf"\[{mine}\] .*?(?:Sense Key|Add\. Sense) ?: (.+?)(?: \[.*\])?\s*$")
    error = re.compile(rf"(?:\w+: )?(\S.*?error), dev {mine}, sector ([0-9]+)")
    said: list[str] = []
    where = ""
    for line in lines:
        found = sense.search(line)
        if found:
            said = [found[1]] if "Sense Key" in line else [*said[-1:], found[1]]
            where = ""
        found = error.search(line)
        if found:
            said, where = said if not where else [], f"{found[1]} in sector {found[2]}"
    return ", ".join(filter(None, (*said, where)))


def _records() -> Iterator[str]:
    """Every line that the kernel still has, without waiting for more."""
    fd = os.open(_PATH, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        for _ in range(_MOST_RECORDS):
            try:
                record = os.read(fd, _RECORD)
            except BlockingIOError:
                return
            except BrokenPipeError:
                continue  # overwritten before it was read
            yield record.decode("utf-8", "replace").partition(";")[2].partition("\n")[0]
    finally:
        os.close(fd)
