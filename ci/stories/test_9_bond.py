"""Two NICs of the server as one of the product's: bonding is the host's, and the product keeps its virtual hardware."""

from __future__ import annotations

from lab.plugin import on
from lab.simulator.server import Server
from lab.site import Site

_FILE = "/etc/hal/hal.toml.d/90-story.toml"
_BONDING = "/sys/class/net/halbond0/bonding"
_SWITCH = "02:00:00:00:00:aa"
_BONDS = (
    'bond = "802.3ad"\nlacp_rate = "fast"\n',
    'bond = "balance-xor"\narp_interval = 200\narp_targets = ["10.77.0.1", "10.77.1.1"]\n',
    'bond = "active-backup"\n',
)


@on("one-u")
def test_bond(running: Site, description: Server) -> None:
    """LAN 0 becomes a bond of both NICs, of three kinds: the product's NIC keeps its link when one cable is pulled."""
    host, product, mac = running.host, running.product, description.nics[0].mac
    names = ", ".join(f'"{nic.mac}"' for nic in description.nics)
    for number, port in enumerate(running.lan, 1):
        port.aggregate(_SWITCH, number)
    for bond in _BONDS:
        host.shell.write(_FILE, f"[netcfg.lan.0]\nnics = [{names}]\n{bond}")
        host.run("systemctl", "reload", "hal-netcfg")
        host.wait_until("grep", "-q", "-w", "-e", bond.split('"')[1], f"{_BONDING}/mode")
        if "802.3ad" in bond:
            # The switch's two ports are one aggregate, and both NICs are in it.
            host.wait_until("grep", "-q", _SWITCH, f"{_BONDING}/ad_partner_mac")
            host.wait_until("grep", "-qx", "2", f"{_BONDING}/ad_num_ports")
        if "arp_targets" in bond:
            host.wait_until("grep", "-q", "10.77.0.1 10.77.1.1", f"{_BONDING}/arp_ip_target")

    product.wait_for_link(1, False)
    product.wait_for_link(0, True)
    # All frames leave by the NIC that had its link first, and that may be either: from here on it is NIC 0.
    running.server.pull_cable(1)
    host.wait_until("grep", "-qx", host.netcfg()["lans"][0]["nics"][0]["name"], f"{_BONDING}/active_slave")
    running.server.plug_cable(1)
    assert running.lan[0].ping("10.77.0.2", seconds=60)
    assert host.run("hal", "netcfg", "apply", seconds=180).strip() == "nothing to change"
    mark = running.lan[1].mark()
    running.server.pull_cable(0)
    # Its frames leave by the other NIC now, still with the address of the first.
    product.ask("ping -c 5 -W 5 10.77.0.1 || true", seconds=60)
    running.lan[1].wait_for(lambda frame: frame.source == mac, 60, mark)
    running.server.pull_cable(1)
    product.wait_for_link(0, False)
    running.server.plug_cable(0)
    product.wait_for_link(0, True)
    assert running.lan[0].ping("10.77.0.2", seconds=60)

    host.shell.write(_FILE, "")
    host.run("systemctl", "reload", "hal-netcfg")
    running.server.plug_cable(1)
    product.wait_for_link(1, True)
    assert running.lan[1].ping("10.77.1.2", seconds=60)
    assert host.failed_units() == []
    assert host.denials() == []
