"""The product as the people who use it know it: its command line on the server's serial port."""

from __future__ import annotations

from lab.images.product import PROMPT, READY, hardware
from lab.simulator.serialconsole import SerialConsole


class Product:
    """A product of the lab, at the other end of a serial cable."""

    def __init__(self, console: SerialConsole) -> None:
        self.console = console

    def wait_until_ready(self, seconds: float = 300.0) -> None:
        """Return when a boot that has not ended yet has led to the command line.

        :raise LabError: it did not in that time
        """
        self.console.expect(READY, seconds)
        self.console.expect(PROMPT, seconds)

    def ask(self, command: str, seconds: float = 60.0) -> str:
        """What a command answers. :raise LabError: the product does not."""
        return self.console.run(command, seconds)

    def tell(self, command: str) -> None:
        """Type a command that no answer is expected to, such as ``reboot``."""
        self.console.send(command + "\r")

    def hardware(self) -> dict[str, str]:
        """What it sees of its machine: ``show hardware``, key → value."""
        return hardware(self.ask("show hardware"))

    def wait_for_link(self, nic: int, up: bool, seconds: float = 60.0) -> None:
        """Return when its NIC of that number, from 0, has a link, or has none.

        :raise LabError: it does not change
        """
        # Nothing tells a shell, so it looks.
        self.ask(f"until grep -qx {int(up)} /sys/class/net/eth{nic}/carrier; do sleep 0.2; done", seconds)

    def uptime(self) -> float:
        """Seconds since its kernel started."""
        return float(self.ask("cat /proc/uptime").split()[0])

    def boots(self) -> int:
        """How often it has booted: a counter on its disk."""
        return int(self.ask("cat /var/boots"))
