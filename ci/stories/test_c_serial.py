"""The server's serial ports are the product's."""

from __future__ import annotations

import re

from lab.images.product import PROMPT
from lab.plugin import on
from lab.site import Site

_TALK = "exec 3<>/dev/ttyS1; stty {speed} raw -echo <&3; echo out at {speed} >&3; read -r said <&3; echo heard: $said"

_LINES = "/proc/tty/driver/serial"


def _are_on(shown: str) -> set[str]:
    """The modem lines of a kernel's second port."""
    (port,) = (line for line in shown.splitlines() if line.startswith("1:"))
    return set(re.findall(r"\b(RTS|CTS|DTR|DSR|CD|RI)\b", port))


@on("old-box")
def test_serial_port(running: Site) -> None:
    """The product talks over the server's second serial port, which has the speed and the lines that it has set."""
    cable, product = running.server.serial[1], running.product
    for speed in (9600, 115200):
        product.tell(_TALK.format(speed=speed))
        cable.expect(f"out at {speed}")
        assert running.host.run("stty", "-F", "/dev/ttyS1", "speed").strip() == str(speed)
        cable.send(f"in at {speed}\n")
        product.console.expect(f"heard: in at {speed}")
        product.console.expect(PROMPT)
    product.ask("exec 3>&-")

    # The product's two are the real port's, and the real port's three are the product's.
    product.ask("exec 4<>/dev/ttyS1")
    running.host.wait_until("grep", "-q", "^1:.*RTS.*DTR", _LINES)
    assert _are_on(product.ask(f"cat {_LINES}")) == _are_on(running.host.run("cat", _LINES))
    product.ask("exec 4>&-")  # hangs up
    running.host.wait_until("sh", "-c", f"! grep -q '^1:.*DTR' {_LINES}")
    assert _are_on(running.host.run("cat", _LINES)) == {"CTS", "DSR", "CD"}
    assert running.host.denials() == []
