"""From the power switch to the product's command line."""

from __future__ import annotations

from lab.plugin import Figure, long, on
from lab.simulator.server import Server
from lab.site import Site
from lab.workshop import Workshop


@long
@on("one-u", "old-box", "numa", "direct")
def test_cold_boot(off: Site, workshop: Workshop, description: Server, figure: Figure) -> None:
    """HAL boots from its key, enforcing and without a complaint, and the product boots from its own disk."""
    figure("from power-on to the product's command line", workshop.boot(off))

    assert off.product.ask("cat /proc/cmdline").startswith("BOOT_IMAGE=/boot/vmlinuz root=LABEL=product-root")
    off.wait_for_prompt()
    assert off.product.boots() == 1
    assert off.host.run("getenforce").strip() == "Enforcing"
    assert off.host.run("passwd", "--status", "root").split()[1] == "L", "root is not locked"
    off.host.wait_for_state("running")
    off.host.run("systemctl", "is-system-running", "--wait", seconds=120)
    assert off.host.failed_units() == []
    assert off.host.denials() == []
    assert off.host.status()["heartbeats"], "the product's heartbeats do not arrive"
    for lan, nic in zip(off.lan, description.nics):
        assert set(lan.seen()) <= {nic.mac}, "somebody else than the product has been on the LAN since power-on"
