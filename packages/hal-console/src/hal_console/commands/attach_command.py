"""``hal-console attach``: the product's screen and keyboard, or a serial port of its, in this terminal."""

from __future__ import annotations

import sys

from hal_core import arguments, paths

USAGE = """\
usage: hal-console attach [--serial com1]

Show the product's screen in this terminal, and type to it: for remote hands, over ssh. What it shows is read off its
picture, so this is for text; of graphics, only the size is told. The server's own screen goes on as before. Keys are
those of a US keyboard.

Ctrl+] detaches.

options:
  --serial PORT  a serial port of the product's instead, com1 to com4: what it has said last, says, and is told

examples:
  hal console --attach
  ssh -t root@server hal console --attach
  hal console attach --serial com1
"""


def main(argv: list[str]) -> int:
    """:raise HostError: this is no terminal, or not root. :raise QmpError: QEMU refuses, or does not answer."""
    given = arguments.parse("hal-console attach", argv, (), {"--serial"})
    if "help" in given:
        sys.stdout.write(USAGE)
    elif "serial" in given:
        from hal_console.remote import serialport

        serialport.attach(paths.run_dir(), given["serial"])
    else:
        from hal_console.remote import screen

        screen.attach(paths.run_dir())
    return 0
