"""The server's serial ports are the product's."""

from __future__ import annotations

from lab.images.product import PROMPT
from lab.plugin import on
from lab.site import Site

_TALK = "exec 3<>/dev/ttyS1; stty {speed} raw -echo <&3; echo out at {speed} >&3; read -r said <&3; echo heard: $said"


@on("old-box")
def test_serial_port(running: Site) -> None:
    """The product talks over the server's second serial port, and the server's port has the speed that it has set."""
    cable, product = running.server.serial[1], running.product
    for speed in (9600, 115200):
        product.tell(_TALK.format(speed=speed))
        cable.expect(f"out at {speed}")
        assert running.host.run("stty", "-F", "/dev/ttyS1", "speed").strip() == str(speed)
        cable.send(f"in at {speed}\n")
        product.console.expect(f"heard: in at {speed}")
        product.console.expect(PROMPT)
    assert running.host.denials() == []
