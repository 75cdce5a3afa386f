"""Nobody stands in front of a server that hangs: HAL restarts the product, the hardware watchdog the host."""

from __future__ import annotations

from lab.plugin import long
from lab.site import Site
from lab.workshop import BOOT


def test_hung_product(running: Site) -> None:
    """The product hangs: after three missed heartbeats it is started again, and the host stays up."""
    running.host.wait_for_heartbeats()
    # Heartbeats count from a minute after the start on, which is enough for this product to boot again.
    running.host.configure("[vmm.heartbeat]\nboot_grace = 60\n")
    running.product.tell("hang")

    running.product.wait_until_ready()
    assert running.product.boots() == 2
    assert running.host.last_exit() == ("heartbeats-missed", "restart, counted as a crash")
    assert running.server.resets == ()
    assert running.host.denials() == []


@long
def test_hung_host(running: Site) -> None:
    """The host's kernel stops for good: the server's watchdog resets it, and everything comes back (ASR)."""
    # A panic would reboot by itself; without that it is a kernel that does nothing any more.
    running.host.run("sysctl", "kernel.panic=0")
    running.host.shell.begin("sh", "-c", "echo c > /proc/sysrq-trigger")

    reset = running.server.wait_for_reset(300)
    assert reset.by == "watchdog"
    running.product.wait_until_ready(BOOT)
    assert running.product.boots() == 2
    running.host.shell.wait_until_up(60)
    assert running.host.denials() == []
