"""The product has a NIC of the server's as it is, by PCI pass-through, and later shares it with nobody again."""

from __future__ import annotations

from lab.plugin import long, on
from lab.simulator.server import Server
from lab.site import Site

_FILE = "/etc/hal/hal.toml.d/90-story.toml"
_DIRECT = '[netcfg.lan.0]\nmode = "vfio"\n'


@long
@on("direct")
def test_direct_nic(running: Site, description: Server) -> None:
    """A NIC becomes the product's own at its next start, with its cable, and the host's at the one after."""
    host, product, mac = running.host, running.product, description.nics[0].mac
    driver = f"/sys/bus/pci/devices/{_address(running, mac)}/driver"

    host.shell.write(_FILE, _DIRECT)
    host.run("systemctl", "reload", "hal-netcfg")
    host.wait_until("sh", "-c", "hal netcfg status | grep -q 'setsebool -P hal_direct_nics on'")
    host.run("setsebool", "hal_direct_nics", "on")
    host.wait_until("sh", "-c", "hal netcfg status | grep -q 'haltap0 is the running product.s: at its next start'")
    assert running.lan[0].ping("10.77.0.2", seconds=60)

    _start_anew(running, f"readlink {driver} | grep -q vfio-pci")
    assert product.ask("cat /sys/class/net/eth0/address") == mac
    assert "haltap0" not in host.run("ip", "-brief", "link")
    mark = running.lan[0].mark()
    assert running.lan[0].ping("10.77.0.2", seconds=60)
    assert set(running.lan[0].seen(mark)) == {mac}
    assert "the NIC itself" in host.run("hal", "netcfg", "status")
    assert running.lan[1].ping("10.77.1.2", seconds=60)

    running.server.pull_cable(0)
    product.wait_for_link(0, False)
    product.wait_for_link(1, True)
    running.server.plug_cable(0)
    product.wait_for_link(0, True)
    assert running.lan[0].ping("10.77.0.2", seconds=60)

    host.shell.write(_FILE, "")
    host.run("systemctl", "reload", "hal-netcfg")
    host.wait_until("sh", "-c", "hal netcfg status | grep -q 'haldirect0 is the running product.s: at its next start'")
    _start_anew(running, "bridge link | grep -q 'master hallan0 state forwarding'")
    product.wait_for_link(0, True)
    assert running.lan[0].ping("10.77.0.2", seconds=60)
    assert set(running.lan[0].seen()) <= {mac}
    assert host.failed_units() == []
    assert host.denials() == []


def _address(running: Site, mac: str) -> str:
    """The PCI address of the NIC with this permanent MAC address."""
    lines = running.host.run("hal", "netcfg", "facts").splitlines()
    return next(word for line in lines if mac in line for word in line.split() if word.startswith("0000:"))


def _start_anew(running: Site, condition: str) -> None:
    """Stop the product, wait until the network is as it ought to be then, and start it."""
    running.host.run("hal", "vmm", "stop", seconds=180)
    running.host.wait_until("sh", "-c", condition)
    running.host.run("hal", "vmm", "start", seconds=180)
    running.product.wait_until_ready()
