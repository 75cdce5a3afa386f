"""The server's network is the product's, and nobody but the product gets to the host."""

from __future__ import annotations

import random

import pytest

from lab.errors import LabError
from lab.lan.frames import BROADCAST, Arp, Echo, Ethernet, Flag, Ipv4, Tcp
from lab.plugin import on
from lab.simulator.server import Server
from lab.site import Site

# Both ends of the private link.
HOST, PRODUCT = "169.254.72.1", "169.254.72.2"
TIMES = 3

PORT = 2514
CARD = "00:1b:21:0a:00:09"
_DECLARED = f"""\
[[port]]
protocol = "tcp"
port = {PORT}
what = "a story"
"""
# systemd-run returns when this listens.
_LISTENER = f"""
import socket
from hal_core.notify import notify
server = socket.create_server(("{HOST}", {PORT}))
notify("READY=1")
server.accept()[0].sendall(b"welcome")
"""
_AS_ADMINISTRATOR = "--property=SELinuxContext=system_u:system_r:unconfined_t:s0"


@on("one-u", "old-box")
def test_cable(running: Site, description: Server) -> None:
    """A network cable is pulled out and plugged in again: the product's NIC shows it, and no other does."""
    changes = running.product.ask("cat /sys/class/net/eth[1-9]/carrier_changes")

    running.server.pull_cable(0)
    running.product.wait_for_link(0, False)
    assert not running.lan[0].ping("10.77.0.2", seconds=2)

    running.server.plug_cable(0)
    running.product.wait_for_link(0, True)
    for number in range(len(description.nics)):
        assert running.lan[number].ping(f"10.77.{number}.2", seconds=60)
    assert running.product.ask("cat /sys/class/net/eth[1-9]/carrier_changes") == changes
    assert running.host.denials() == []


def test_host_is_silent_and_unreachable(running: Site, description: Server) -> None:
    """The LAN sees no frame of the host's, has no answer from it, and cannot pass for it."""
    lan, mac = running.lan[0], description.nics[0].mac
    host_mac = running.host.run("cat", "/sys/class/net/hallan0/address").strip()
    (port,) = set(running.host.run("ls", "/sys/class/net/hallan0/brif").split()) - {"haltap0"}
    on_lan, to_host = "dropped: link address, from a LAN", f"dropped: frame from {port} to the host"
    mark, before = lan.mark(), running.host.firewall()
    frames = [
        Ethernet(BROADCAST, lan.mac, Arp(False, lan.mac, lan.address, HOST)),
        Ethernet(host_mac, lan.mac, Arp(False, lan.mac, lan.address, HOST)),
        *(Ethernet(to, lan.mac, Ipv4(lan.address, HOST, Echo(False, 1, 1))) for to in (BROADCAST, host_mac, mac)),
        Ethernet(host_mac, lan.mac, Ipv4(lan.address, HOST, Tcp(40000, PORT, 1, 0, Flag.SYN))),
        # As if the host had sent them.
        Ethernet(mac, lan.mac, Arp(True, lan.mac, HOST, PRODUCT)),
        *(Ethernet(mac, lan.mac, Ipv4(HOST, to, Echo(False, 1, 1))) for to in (PRODUCT, "10.77.0.2")),
        Ethernet(mac, lan.mac, Ipv4(HOST, "10.77.0.2", Echo(False, 1, 1)), tag=0),
    ]

    assert all(lan.send(frame.pack()) for frame in frames)

    # What was sent before a ping has been dealt with when that is answered.
    assert lan.ping("10.77.0.2", seconds=60)
    after = running.host.firewall()
    assert after[on_lan] - before[on_lan] == sum(frame.destination != host_mac for frame in frames)
    # A broadcast is for both; among them may be one that the ping has taken.
    assert after[to_host] - before[to_host] >= sum(frame.destination != mac for frame in frames)
    assert not [one for one in lan.frames_since(mark) if _about_the_link(one.frame)]
    with pytest.raises(LabError, match="no such frame"):  # since it was switched on, and for another minute
        lan.wait_for(lambda frame: frame.source != mac, 60)
    for peer, nic in zip(running.lan, description.nics):
        assert set(peer.seen()) <= {nic.mac}
    assert running.host.denials() == []


def test_private_link(running: Site) -> None:
    """The product reaches the ports of its host that are declared; all others refuse it at once."""
    host, product = running.host, running.product
    connect = f"nc -w 20 {HOST} {PORT} </dev/null"
    host.run("systemd-run", "--service-type=notify", _AS_ADMINISTRATOR, "python3", "-Ic", _LISTENER)

    assert "1 packets received" in product.ask(f"ping -c 1 -W 20 {HOST}")
    assert "Connection refused" in product.ask(connect)
    host.shell.write("/etc/hal/ports.d/story.toml", _DECLARED)
    assert product.ask(f"until {connect} 2>/dev/null; do sleep 0.2; done") == "welcome"
    assert host.firewall()[f"port tcp/{PORT} a story"] >= 1
    assert host.denials() == []


def test_network_repaired(running: Site) -> None:
    """Somebody deletes a bridge, and flushes the firewall: both are back, and so is the product on its LAN."""
    running.host.run("ip", "link", "delete", "hallan0")
    running.host.wait_until("ip", "link", "show", "hallan0")
    running.product.wait_for_link(0, True)
    assert running.lan[0].ping("10.77.0.2", seconds=60)

    rules = running.host.run("nft", "--stateless", "list", "ruleset")
    running.host.run("nft", "flush", "ruleset")
    for family in ("inet", "bridge"):
        running.host.wait_until("nft", "list", "table", family, "hal")
    assert running.host.run("nft", "--stateless", "list", "ruleset") == rules
    assert running.host.failed_units() == []
    assert running.host.denials() == []


@on("one-u")
def test_new_nic(running: Site, description: Server) -> None:
    """A card is put in while everything runs, and nobody types anything: the product has it when it starts anew."""
    host, number = running.host, len(description.nics)
    boots = running.product.boots()
    peer = running.insert_card(0, CARD)
    host.wait_until("ip", "link", "show", f"haltap{number}", seconds=180)
    host.wait_until("sh", "-c", "hal netcfg status | grep -w 'next start'")
    (lan,) = [lan for lan in host.netcfg()["lans"] if lan["number"] == number]
    assert (lan["mac"], lan["product_sees"], lan["next_start"]) == (CARD, None, True)
    assert host.netcfg()["problems"] == []
    assert running.product.boots() == boots, "it goes on meanwhile"

    host.run("hal", "vmm", "stop", seconds=180)
    host.run("hal", "vmm", "start")
    running.product.wait_until_ready()
    assert running.product.ask(f"cat /sys/class/net/eth{number}/address").strip() == CARD
    assert peer.ping(f"10.77.{number}.2", seconds=60)
    assert [lan["product_sees"] for lan in host.netcfg()["lans"]] == [True] * (number + 1)
    for before in range(number):
        assert running.lan[before].ping(f"10.77.{before}.2", seconds=60), "and the others are what they were"
    assert set(peer.seen()) <= {CARD}
    assert host.failed_units() == []
    assert host.denials() == []


def test_netcfg_killed(running: Site) -> None:
    """hal-netcfg is killed three times, at random moments of its life: it costs the product nothing."""
    moments = random.Random(running.server.server.name)
    uptime = running.product.uptime()
    changes = running.product.ask("cat /sys/class/net/eth*/carrier_changes")
    killed: list[int] = []
    for _ in range(TIMES):
        killed.append(running.host.wait_for_service("hal-netcfg", killed))
        running.host.kill_at_random_moment(killed[-1], 3, moments)
        assert running.lan[0].ping("10.77.0.2", seconds=60)

    running.host.wait_for_service("hal-netcfg", killed)
    assert running.product.ask("cat /sys/class/net/eth*/carrier_changes") == changes
    assert running.product.boots() == 1
    assert running.product.uptime() > uptime
    assert running.host.denials() == []


def _about_the_link(frame: Ethernet) -> bool:
    payload = frame.payload
    if isinstance(payload, Arp):
        return bool({payload.sender, payload.target} & {HOST, PRODUCT})
    return isinstance(payload, Ipv4) and bool({payload.source, payload.destination} & {HOST, PRODUCT})
