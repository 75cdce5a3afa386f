"""``hal-console restore``: what is left of a terminal when the resident was killed, made usable again."""

from __future__ import annotations

import os
import re
import sys

from hal_console.terminal.vt import Terminal
from hal_core import arguments
from hal_core.errors import HostError, UsageError

USAGE = """\
usage: hal-console restore [--tty /dev/ttyN]

Bring a virtual terminal back to text and characters, without lamps and sound, as a getty wants it. hal-console.service
does this when the resident has ended, however it has ended.

options:
  --tty PATH  this one; /dev/tty1 otherwise

examples:
  hal console restore
"""


def main(argv: list[str]) -> int:
    """:raise HostError: it is no virtual terminal, or this is not root."""
    given = arguments.parse("hal-console restore", argv, (), {"--tty"})
    if "help" in given:
        sys.stdout.write(USAGE)
        return 0
    path = given.get("tty", "/dev/tty1")
    if not re.fullmatch(r"/dev/tty[1-9]\d?", path):
        raise UsageError(f"restore: --tty {path}: allowed are /dev/tty1 to /dev/tty63")
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            Terminal(fd).restore()
        finally:
            os.close(fd)
    except OSError as error:
        raise HostError(f"{path} cannot be restored: {error.strerror}", "run this as root") from None
    return 0
