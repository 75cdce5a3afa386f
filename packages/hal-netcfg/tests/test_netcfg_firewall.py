"""The firewall in a real kernel: every kind of packet from every side, and what becomes of it.

A host with a product, a LAN that is the product's, and an office whose NIC stays the host's, each a network namespace::

    product  eth0 ────────── haltap0 ┐
             │                hallan0 ── eno1 ──────── eth0  lan
             link0 ─ haltapint ─ halint
                                host     eno2 ──────── eth0  office
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Optional

import pytest

from hal_netcfg.firewall import firewall, nft, rules
from hal_netcfg.firewall.firewall import Loaded
from hal_netcfg.firewall.ports import Port
from hal_netcfg.firewall.rules import Guard
from hal_netcfg.names import HOST_LINK_MAC, LINK_ON_LAN, PRODUCT_LINK_MAC
from hal_netcfg.testing import frames
from hal_netcfg.testing.netns import Namespace, received, wait_for, why_not

_REASON = why_not()
pytestmark = [pytest.mark.component, pytest.mark.skipif(bool(_REASON), reason=_REASON)]

HOST, PRODUCT = "169.254.72.1", "169.254.72.2"
HOST_LAN, PRODUCT_LAN, LAN = "10.0.0.9", "10.0.0.1", "10.0.0.2"  # the first by an administrator's mistake
HOST_OFFICE, OFFICE = "10.1.0.1", "10.1.0.2"
HOST6 = "fd00:72::1"  # by mistake, too: HAL speaks no IPv6, anywhere
NEIGHBOURS6 = ("fd00:72::2", "fe80::2")
BRIDGE_MAC, PRODUCT_LAN_MAC, LAN_MAC = "02:00:00:00:00:09", "02:00:00:00:00:01", "02:00:00:00:00:02"
HOST_OFFICE_MAC, OFFICE_MAC = "02:00:00:00:01:01", "02:00:00:00:01:02"

SYSLOG, SNMP = Port("tcp", 6514, "syslog"), Port("udp", 1162, "SNMP traps")
CLOSED = 7777  # somebody listens there, too
GUARD = Guard(HOST, PRODUCT, "169.254.72.0/30", (SYSLOG, SNMP), ("eno1",), ("eno2",))

PACKETS = {
    "declared tcp": frames.tcp_syn(SYSLOG.port),
    "declared udp": frames.udp(SNMP.port),
    "undeclared tcp": frames.tcp_syn(CLOSED),
    "undeclared udp": frames.udp(CLOSED),
    "ping": frames.ping(),
}
EVERY_KIND = pytest.mark.parametrize("kind", PACKETS)
PACKETS6 = {**{kind: packet for kind, packet in PACKETS.items() if kind != "ping"}, "ping": frames.ping6()}
# What counts frames for the host, by who sends them.
TO_HOST = {"lan": rules.frame_in_comment("eno1"), "product": rules.frame_in_comment("haltap*")}

EVERY_TAG = pytest.mark.parametrize("tags", frames.TAGS.values(), ids=frames.TAGS)


@dataclass
class Site:
    """All of it, and who listens on the host and the product."""

    host: Namespace
    product: Namespace
    lan: Namespace
    office: Namespace
    tcp: dict[int, socket.socket] = field(default_factory=dict)  # the host's, by port
    udp: dict[int, socket.socket] = field(default_factory=dict)
    ends: dict[str, socket.socket] = field(default_factory=dict)  # frames: "link0", "product", "lan", "office"
    loaded: Optional[Loaded] = None  # what is remembered
    as_loaded: Optional[Loaded] = None  # what there is to be remembered of GUARD

    def ensure(self, guard: Guard = GUARD) -> bool:
        """Whether it changed something."""
        with self.host.inside():
            outcome = firewall.ensure(guard, self.loaded)
        self.loaded = outcome.loaded
        return outcome.changed

    def counts(self) -> dict[str, int]:
        """Packets by comment, of the rules that have seen any."""
        with self.host.inside():
            listing = nft.listing()
        return {comment: packets for comment, packets, _ in firewall.counts(listing) if packets}

    def wait_counts(self, wanted: dict[str, int]) -> None:
        """Until these rules have counted so many packets, and no other any."""
        wait_for(lambda: self.counts() == wanted, lambda: f"{self.counts()} where {wanted} is expected")

    def nothing_has_arrived(self) -> None:
        """Neither a packet where it was meant to go, nor an answer to whoever sent it."""
        for port, sock in self.udp.items():
            assert received(sock) is None, f"the host, port {port}"
        for name, sock in self.ends.items():
            assert received(sock) is None, name


def _build(site: Site) -> None:
    site.host.sysctl("bridge/bridge-nf-call-iptables", "0")  # as HAL has it: a bridged packet is not the host's
    site.host.ip(
        f"link add halint address {HOST_LINK_MAC} type bridge mcast_snooping 0",
        f"link add hallan0 address {BRIDGE_MAC} type bridge mcast_snooping 0",
        f"link add haltapint type veth peer name link0 address {PRODUCT_LINK_MAC} netns {site.product.path}",
        f"link add haltap0 type veth peer name eth0 address {PRODUCT_LAN_MAC} netns {site.product.path}",
        f"link add eno1 type veth peer name eth0 address {LAN_MAC} netns {site.lan.path}",
        f"link add eno2 type veth peer name eth0 address {OFFICE_MAC} netns {site.office.path}",
        f"link set eno2 address {HOST_OFFICE_MAC}",
        "link set haltapint master halint",
        "link set haltap0 master hallan0",
        "link set eno1 master hallan0",
        *(f"link set {name} up" for name in ("halint", "hallan0", "haltapint", "haltap0", "eno1", "eno2")),
        f"address add {HOST}/30 dev halint",
        f"address add {HOST_LAN}/24 dev hallan0",
        f"address add {HOST_OFFICE}/24 dev eno2",
        # Known neighbours: only what a test sends is on the wires.
        f"neighbor add {PRODUCT} lladdr {PRODUCT_LINK_MAC} dev halint",
        f"neighbor add {LAN} lladdr {LAN_MAC} dev hallan0",
        f"neighbor add {OFFICE} lladdr {OFFICE_MAC} dev eno2",
    )
    site.product.ip(
        "link set link0 up",
        "link set eth0 up",
        f"address add {PRODUCT}/30 dev link0",
        f"address add {PRODUCT_LAN}/24 dev eth0",
        f"neighbor add {HOST} lladdr {HOST_LINK_MAC} dev link0",
        f"neighbor add {LAN} lladdr {LAN_MAC} dev eth0",
    )
    site.lan.ip("link set eth0 up", f"address add {LAN}/24 dev eth0")
    site.office.ip(
        "link set eth0 up",
        f"address add {OFFICE}/24 dev eth0",
        f"neighbor add {HOST_OFFICE} lladdr {HOST_OFFICE_MAC} dev eth0",
    )
    site.host.sysctl("ipv4/icmp_ratelimit", "0")  # every refusal is told
    # Nothing but the firewall is to stop what is sent here; and it would route, if the firewall let it.
    site.host.sysctl("ipv4/ip_forward", "1")
    for interface in ("all", "halint", "hallan0", "eno2"):
        site.host.sysctl(f"ipv4/conf/{interface}/rp_filter", "0")


@pytest.fixture(scope="module")
def built() -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        host, product, lan, office = (stack.enter_context(Namespace()) for _ in range(4))
        site = Site(host, product, lan, office)
        _build(site)
        for port in (SYSLOG.port, SNMP.port, CLOSED):
            site.tcp[port] = stack.enter_context(host.socket(socket.AF_INET, socket.SOCK_STREAM))
            site.tcp[port].bind(("", port))
            site.tcp[port].listen()
            site.udp[port] = stack.enter_context(host.socket(socket.AF_INET, socket.SOCK_DGRAM))
            site.udp[port].bind(("", port))
        ends = {
            "link0": (product, "link0"),
            "product": (product, "eth0"),
            "lan": (lan, "eth0"),
            "office": (office, "eth0"),
        }
        for name, (namespace, interface) in ends.items():
            site.ends[name] = stack.enter_context(namespace.packet_socket(interface))
        site.ensure()
        site.as_loaded = site.loaded
        yield site


@pytest.fixture
def site(built: Site) -> Site:
    """Freshly loaded, so that all counters are at 0; and nothing left to be read."""
    with built.host.inside():
        nft.load(rules.ruleset(GUARD))
    built.loaded = built.as_loaded
    for sock in (*built.udp.values(), *built.ends.values()):
        while received(sock) is not None:
            continue
    return built


# --- over the host-only link -------------------------------------------------------------------------------------


def connect(namespace: Namespace, address: str, port: int) -> socket.socket:
    """A TCP connection. :raise OSError: refused, or nobody has answered."""
    sock = namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(10)
    try:
        sock.connect((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def accept(listener: socket.socket) -> socket.socket:
    listener.settimeout(10)
    sock = listener.accept()[0]
    listener.setblocking(False)
    sock.settimeout(10)
    return sock


def ask(namespace: Namespace, address: str, port: int) -> socket.socket:
    """A UDP socket that has sent a question. :raise OSError: it could not."""
    sock = namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(10)
    try:
        sock.connect((address, port))
        sock.send(b"question")
    except OSError:
        sock.close()
        raise
    return sock


def arrivals(sock: socket.socket, number: int) -> list[bytes]:
    """So many frames, as they have arrived."""
    found: list[bytes] = []

    def are_complete() -> bool:
        while (frame := received(sock)) is not None:
            found.append(frame)
        return len(found) >= number

    wait_for(are_complete, lambda: f"{len(found)} of {number} frames have arrived")
    return found


def test_a_declared_tcp_port_answers_the_product(site: Site) -> None:
    with connect(site.product, HOST, SYSLOG.port) as sock, accept(site.tcp[SYSLOG.port]) as peer:
        peer.sendall(b"welcome")
        assert sock.recv(100) == b"welcome"
    assert site.counts() == {"port tcp/6514 syslog": 1}


def test_a_declared_udp_port_answers_the_product(site: Site) -> None:
    with ask(site.product, HOST, SNMP.port) as sock:
        site.udp[SNMP.port].settimeout(10)
        question, sender = site.udp[SNMP.port].recvfrom(100)
        site.udp[SNMP.port].setblocking(False)
        assert (question, sender[0]) == (b"question", PRODUCT)
        site.udp[SNMP.port].sendto(b"answer", sender)
        assert sock.recv(100) == b"answer"
    assert site.counts() == {"port udp/1162 SNMP traps": 1}


@pytest.mark.parametrize("port", [CLOSED, SNMP.port])
def test_an_undeclared_tcp_port_refuses_the_product(site: Site, port: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        connect(site.product, HOST, port)
    assert site.counts() == {rules.REFUSED_TCP: 1}


@pytest.mark.parametrize("port", [CLOSED, SYSLOG.port])
def test_an_undeclared_udp_port_refuses_the_product(site: Site, port: int) -> None:
    with ask(site.product, HOST, port) as sock, pytest.raises(ConnectionRefusedError):
        sock.recv(100)
    assert received(site.udp[port]) is None
    assert site.counts() == {rules.REFUSED: 1}


def test_the_host_answers_a_ping_of_the_product(site: Site) -> None:
    ping = frames.ipv4(HOST_LINK_MAC, PRODUCT_LINK_MAC, PRODUCT, HOST, frames.ping())
    site.ends["link0"].send(ping)
    (answer,) = arrivals(site.ends["link0"], 1)
    # A copy of the question with the addresses exchanged, and type 0 instead of 8 (RFC 792).
    assert answer[26:34] == ping[30:34] + ping[26:30]
    assert (answer[34], answer[38:]) == (0, frames.ping()[1][4:])
    assert site.counts() == {rules.PING: 1}


def test_the_host_reaches_any_port_of_the_product(site: Site) -> None:
    with site.product.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((PRODUCT, 22))
        listener.listen()
        with connect(site.host, PRODUCT, 22) as sock, accept(listener) as peer:
            peer.sendall(b"SSH-2.0-old")
            assert sock.recv(100) == b"SSH-2.0-old"
    assert site.counts() == {}


def test_the_host_reaches_itself_by_each_of_its_addresses(site: Site) -> None:
    for address in (HOST, HOST_OFFICE, HOST_LAN, "127.0.0.1"):
        with connect(site.host, address, CLOSED), accept(site.tcp[CLOSED]):
            continue
    assert site.counts() == {}


@EVERY_KIND
def test_other_addresses_do_not_pass_from_the_product(site: Site, kind: str) -> None:
    pairs = ((OFFICE, HOST), ("192.0.2.1", HOST), (PRODUCT, HOST_OFFICE), (PRODUCT, HOST_LAN), (LAN, HOST_LAN))
    for source, target in pairs:
        site.ends["link0"].send(frames.ipv4(HOST_LINK_MAC, PRODUCT_LINK_MAC, source, target, PACKETS[kind]))
    site.wait_counts({rules.FROM_PRODUCT: len(pairs)})
    site.nothing_has_arrived()


@EVERY_KIND
def test_another_mac_address_does_not_pass_on_the_link(site: Site, kind: str) -> None:
    site.ends["link0"].send(frames.ipv4(HOST_LINK_MAC, PRODUCT_LAN_MAC, PRODUCT, HOST, PACKETS[kind]))
    site.wait_counts({rules.WRONG_MAC: 1})
    site.nothing_has_arrived()


@EVERY_TAG
def test_no_tag_leads_around_the_ports_that_are_declared(site: Site, tags: tuple[int, ...]) -> None:
    if tags:
        for kind in PACKETS.values():
            site.ends["link0"].send(frames.ipv4(HOST_LINK_MAC, PRODUCT_LINK_MAC, PRODUCT, HOST, kind, tags))
    site.ends["link0"].send(frames.ipv4(HOST_LINK_MAC, PRODUCT_LINK_MAC, PRODUCT, HOST, frames.tcp_syn(CLOSED)))
    site.wait_counts({rules.REFUSED_TCP: 1})


def test_the_host_sends_nothing_else_over_the_link(site: Site) -> None:
    site.host.ip(f"route add 192.0.2.0/24 via {PRODUCT}")
    with pytest.raises(PermissionError):
        ask(site.host, "192.0.2.1", 9)
    site.host.ip("route delete 192.0.2.0/24")
    assert site.counts() == {rules.TO_PRODUCT: 1}
    site.nothing_has_arrived()


# --- between the LAN and the host --------------------------------------------------------------------------------


@EVERY_TAG
@pytest.mark.parametrize(
    ("sender", "own", "counted"),
    [
        ("lan", LAN_MAC, TO_HOST["lan"]),
        ("product", PRODUCT_LAN_MAC, TO_HOST["product"]),
    ],
)
def test_the_host_is_not_there_for_a_lan(
    site: Site, tags: tuple[int, ...], sender: str, own: str, counted: str
) -> None:
    for packet in PACKETS.values():
        site.ends[sender].send(frames.ipv4(BRIDGE_MAC, own, LAN, HOST_LAN, packet, tags))
    site.wait_counts({counted: len(PACKETS)})
    site.nothing_has_arrived()


@EVERY_KIND
def test_a_lan_does_not_reach_the_host_without_a_bridge_either(site: Site, kind: str) -> None:
    site.ensure(replace(GUARD, kept=()))
    site.ends["office"].send(frames.ipv4(HOST_OFFICE_MAC, OFFICE_MAC, OFFICE, HOST_OFFICE, PACKETS[kind]))
    site.wait_counts({rules.FROM_LAN: 1})
    site.nothing_has_arrived()


@pytest.mark.parametrize("address", [LAN, PRODUCT_LAN])
def test_the_host_sends_nothing_to_a_lan(site: Site, address: str) -> None:
    with pytest.raises(PermissionError):
        ask(site.host, address, 9)
    assert site.counts() == {rules.TO_LAN: 1}
    site.nothing_has_arrived()


@pytest.mark.parametrize("target", ["02:00:00:00:00:77", "ff:ff:ff:ff:ff:ff"])
def test_no_frame_leaves_the_host_for_a_lan(site: Site, target: str) -> None:
    with site.host.packet_socket("hallan0") as sock:
        sock.send(frames.arp(target, BRIDGE_MAC, HOST_LAN, LAN))
    # The bridge does not know where the one is, and the other is for all: both go to every port.
    site.wait_counts({rules.frame_out_comment("eno1"): 1, rules.frame_out_comment("haltap*"): 1})
    site.nothing_has_arrived()


def test_nothing_is_routed(site: Site) -> None:
    for sender, source, own, gateway, target in (
        ("office", OFFICE, OFFICE_MAC, HOST_OFFICE_MAC, LAN),
        ("link0", PRODUCT, PRODUCT_LINK_MAC, HOST_LINK_MAC, OFFICE),
        ("office", OFFICE, OFFICE_MAC, HOST_OFFICE_MAC, PRODUCT),
    ):
        site.ends[sender].send(frames.ipv4(gateway, own, source, target, frames.udp(9)))
    site.wait_counts({rules.ROUTED: 3})
    site.nothing_has_arrived()


# --- the link's addresses, elsewhere -----------------------------------------------------------------------------


@EVERY_TAG
@pytest.mark.parametrize(
    ("sender", "own", "to", "counted"),
    [
        ("lan", LAN_MAC, PRODUCT_LAN_MAC, LINK_ON_LAN),
        ("lan", LAN_MAC, BRIDGE_MAC, TO_HOST["lan"]),
        ("product", PRODUCT_LAN_MAC, LAN_MAC, rules.LINK_ON_TAP),
        ("product", PRODUCT_LAN_MAC, BRIDGE_MAC, TO_HOST["product"]),
    ],
    ids=["lan to product", "lan to host", "product to lan", "product to host"],
)
def test_the_links_addresses_are_not_on_a_lan(
    site: Site, tags: tuple[int, ...], sender: str, own: str, to: str, counted: str
) -> None:
    pairs = ((HOST, PRODUCT), (PRODUCT, HOST), (LAN, HOST), (LAN, PRODUCT), (HOST, LAN), (PRODUCT, LAN))
    for (source, target), packet in itertools.product(pairs, PACKETS.values()):
        site.ends[sender].send(frames.ipv4(to, own, source, target, packet, tags))
    site.wait_counts({counted: len(pairs) * len(PACKETS)})
    site.nothing_has_arrived()


@EVERY_TAG
@pytest.mark.parametrize(
    ("sender", "own", "counted"), [("lan", LAN_MAC, LINK_ON_LAN), ("product", PRODUCT_LAN_MAC, rules.LINK_ON_TAP)]
)
def test_nobody_asks_for_the_links_addresses_on_a_lan(
    site: Site, tags: tuple[int, ...], sender: str, own: str, counted: str
) -> None:
    for source, target in ((HOST, PRODUCT), (LAN, HOST), (LAN, PRODUCT), (HOST, LAN), (PRODUCT, PRODUCT)):
        site.ends[sender].send(frames.arp("ff:ff:ff:ff:ff:ff", own, source, target, tags))
    site.wait_counts({counted: 5, TO_HOST[sender]: 5})  # a broadcast is for the host, too
    site.nothing_has_arrived()


@EVERY_TAG
@pytest.mark.parametrize(
    ("sender", "own", "receiver", "to"),
    [("lan", LAN_MAC, "product", PRODUCT_LAN_MAC), ("product", PRODUCT_LAN_MAC, "lan", LAN_MAC)],
)
def test_everything_else_passes_between_product_and_lan(
    site: Site, tags: tuple[int, ...], sender: str, own: str, receiver: str, to: str
) -> None:
    # 198.51.100.1: nobody's, so that nobody answers. The neighbours of the link's addresses are outside its /30.
    sent = [frames.ipv4(to, own, "198.51.100.1", "198.51.100.2", packet, tags) for packet in PACKETS.values()]
    sent += [frames.ipv4(to, own, "169.254.71.255", "169.254.72.4", frames.udp(9), tags)]
    sent += [
        frames.arp(to, own, "198.51.100.1", "198.51.100.2", tags),
        frames.arp(to, own, "169.254.72.4", "169.254.72.4", tags),
        # 169.254.72.1 and .2 where they are in IPv4, and are something else here.
        frames.ipv6(to, own, "2001:db8:a9fe:4801:a9fe:4802::1", "2001:db8::2", frames.udp(9), tags),
    ]
    for frame in sent:
        site.ends[sender].send(frame)
    arrived = arrivals(site.ends[receiver], len(sent))
    # The kernel has taken off the outermost tag of what it delivers to a packet socket.
    assert arrived == [frame[:12] + frame[16:] if tags else frame for frame in sent]
    assert site.counts() == {}


@EVERY_KIND
def test_the_links_addresses_are_not_on_the_hosts_own_nics(site: Site, kind: str) -> None:
    for source, target in ((OFFICE, HOST), (PRODUCT, HOST_OFFICE), (PRODUCT, HOST)):
        site.ends["office"].send(frames.ipv4(HOST_OFFICE_MAC, OFFICE_MAC, source, target, PACKETS[kind]))
    site.wait_counts({rules.LINK_TARGET_IN: 1, rules.LINK_SOURCE_IN: 2})
    site.nothing_has_arrived()


def test_the_host_does_not_use_the_links_addresses_elsewhere(site: Site) -> None:
    with site.host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        with pytest.raises(PermissionError):
            sock.sendto(b"x", (OFFICE, 9))
    site.host.ip(f"route add {PRODUCT} via {OFFICE} dev eno2")
    with pytest.raises(PermissionError):
        ask(site.host, PRODUCT, 9)
    site.host.ip(f"route delete {PRODUCT} via {OFFICE} dev eno2")
    assert site.counts() == {rules.LINK_SOURCE_OUT: 1, rules.LINK_TARGET_OUT: 1}
    site.nothing_has_arrived()


# --- the host's own NICs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", [SYSLOG.port, CLOSED])
def test_the_hosts_own_nics_are_its_own_affair(site: Site, port: int) -> None:
    with connect(site.office, HOST_OFFICE, port) as sock, accept(site.tcp[port]) as peer:
        peer.sendall(b"welcome")
        assert sock.recv(100) == b"welcome"
    with ask(site.office, HOST_OFFICE, port), ask(site.host, OFFICE, 9):
        wait_for(lambda: received(site.udp[port]) == b"question", lambda: "the question has not arrived")
    assert site.counts() == {}


# --- IPv6, which no rule lets in ---------------------------------------------------------------------------------


@pytest.fixture
def site6(site: Site) -> Iterator[Site]:
    """With a host that speaks IPv6 on each of its interfaces, and has somebody who listens. It tells nobody: it has no
    address there, but one that it takes packets for wherever they come from, as Linux does.
    """
    interfaces = ("lo", "halint", "hallan0", "eno2")
    site.host.ip(*(f"link set {name} addrgenmode none" for name in interfaces))
    for name in interfaces:
        site.host.sysctl(f"ipv6/conf/{name}/disable_ipv6", "0")
    site.host.ip(f"address add {HOST6}/128 dev lo nodad")
    with site.host.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((HOST6, CLOSED))
        yield replace(site, udp={**site.udp, CLOSED: sock})
    for name in interfaces:
        site.host.sysctl(f"ipv6/conf/{name}/disable_ipv6", "1")


@pytest.mark.parametrize("source", NEIGHBOURS6)
@pytest.mark.parametrize(
    ("sender", "own", "to", "counted"),
    [
        ("link0", PRODUCT_LINK_MAC, HOST_LINK_MAC, rules.FROM_PRODUCT),
        ("product", PRODUCT_LAN_MAC, BRIDGE_MAC, TO_HOST["product"]),
        ("lan", LAN_MAC, BRIDGE_MAC, TO_HOST["lan"]),
        ("office", OFFICE_MAC, HOST_OFFICE_MAC, rules.FROM_LAN),
    ],
    ids=["private link", "product", "lan", "office"],
)
def test_no_ipv6_reaches_the_host(site6: Site, sender: str, own: str, to: str, counted: str, source: str) -> None:
    """Not even what is declared, or would be answered on the private link."""
    site6.ensure(replace(GUARD, kept=()))
    for packet in PACKETS6.values():
        site6.ends[sender].send(frames.ipv6(to, own, source, HOST6, packet))
    site6.wait_counts({counted: len(PACKETS6)})
    site6.nothing_has_arrived()


def test_ipv6_reaches_the_host_where_it_is_its_own_affair(site6: Site) -> None:
    """On a NIC that it keeps: so what does not get in elsewhere would, without the firewall."""
    packet = frames.ipv6(HOST_OFFICE_MAC, OFFICE_MAC, NEIGHBOURS6[0], HOST6, frames.udp(CLOSED))

    def arrives() -> bool:
        """Sent anew each time: where IPv6 has just been switched on, the first one may come too soon."""
        site6.ends["office"].send(packet)
        return received(site6.udp[CLOSED]) is not None

    wait_for(arrives, lambda: f"nothing has arrived: {site6.counts()}")


@pytest.mark.parametrize(
    ("interface", "neighbour", "counted"),
    [("halint", PRODUCT_LINK_MAC, rules.TO_PRODUCT), ("hallan0", LAN_MAC, rules.TO_LAN)],
)
def test_the_host_sends_no_ipv6(site6: Site, interface: str, neighbour: str, counted: str) -> None:
    site6.host.ip(
        f"route add {NEIGHBOURS6[0]} dev {interface} src {HOST6}",
        f"neighbor add {NEIGHBOURS6[0]} lladdr {neighbour} dev {interface}",
    )
    with pytest.raises(PermissionError):
        site6.udp[CLOSED].sendto(b"x", (NEIGHBOURS6[0], 9))
    assert site6.counts() == {counted: 1}
    site6.nothing_has_arrived()


# --- loading, and keeping it loaded ------------------------------------------------------------------------------


def host_nft(site: Site, *commands: str) -> str:
    return site.host.run("nft", *commands)


def test_a_second_look_changes_nothing(site: Site) -> None:
    site.ends["link0"].send(frames.ipv4(HOST_LINK_MAC, PRODUCT_LAN_MAC, PRODUCT, HOST, frames.ping()))
    site.wait_counts({rules.WRONG_MAC: 1})
    before = host_nft(site, "-a", "list", "ruleset")
    assert not site.ensure()
    assert host_nft(site, "-a", "list", "ruleset") == before


def rule_handle(site: Site, comment: str) -> str:
    with site.host.inside():
        listing = nft.listing()
    return next(str(entry["rule"]["handle"]) for entry in listing if entry.get("rule", {}).get("comment") == comment)


@pytest.mark.parametrize(
    "damage",
    [
        "flush ruleset",
        "delete table inet hal",
        "delete table bridge hal",
        "flush chain inet hal product",
        "delete rule inet hal product handle {refused}",
        "insert rule inet hal input accept",
        "add rule bridge hal forward accept",
        "add chain inet hal input {{ policy accept; }}",
        "add table inet hal {{ flags dormant; }}",
        "add set inet hal nothing {{ type mark; }}",
    ],
)
def test_what_somebody_breaks_is_restored(site: Site, damage: str) -> None:
    host_nft(site, damage.format(refused=rule_handle(site, rules.REFUSED_TCP)))
    with site.host.inside():
        assert len(firewall.difference(GUARD, site.loaded)) == 1 + (damage == "flush ruleset")
    assert site.ensure()
    with pytest.raises(ConnectionRefusedError):
        connect(site.product, HOST, CLOSED)
    assert site.counts() == {rules.REFUSED_TCP: 1}
    assert site.loaded == site.as_loaded, "it is listed as it was before"
    assert not site.ensure()


def test_connections_stay_when_all_rules_are_replaced(site: Site) -> None:
    with contextlib.ExitStack() as stack:
        near = stack.enter_context(connect(site.product, HOST, SYSLOG.port))
        far = stack.enter_context(accept(site.tcp[SYSLOG.port]))
        for guard in (replace(GUARD, ports=()), GUARD, replace(GUARD, lan_ports=())):
            assert site.ensure(guard)
            near.sendall(b"still here")
            assert far.recv(100) == b"still here"
            far.sendall(b"me too")
            assert near.recv(100) == b"me too"
        site.ensure(replace(GUARD, ports=()))
        with pytest.raises(ConnectionRefusedError):
            connect(site.product, HOST, SYSLOG.port)


def test_no_packet_slips_through_while_rules_are_replaced(site: Site) -> None:
    """A storm of forbidden packets, while the rules are replaced again and again."""
    stop = threading.Event()
    forbidden = frames.ipv4(HOST_LINK_MAC, PRODUCT_LINK_MAC, PRODUCT, HOST, frames.udp(CLOSED))
    foreign = frames.ipv4(PRODUCT_LAN_MAC, LAN_MAC, HOST, PRODUCT, frames.udp(CLOSED))
    sent = 0

    def storm() -> None:
        nonlocal sent
        while not stop.is_set():
            with contextlib.suppress(BlockingIOError):
                site.ends["link0"].send(forbidden)
                site.ends["lan"].send(foreign)
                sent += 1

    def wait_for_more() -> None:
        enough = sent + 10
        wait_for(lambda: sent > enough, lambda: "the storm has ended")

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        for _ in range(10):
            site.loaded = None
            assert site.ensure()
            wait_for_more()
    finally:
        stop.set()
        thread.join()
    assert received(site.udp[CLOSED]) is None
    assert received(site.ends["product"]) is None
    assert set(site.counts()) == {rules.REFUSED, LINK_ON_LAN}


def test_other_tables_are_left_alone(site: Site) -> None:
    host_nft(
        site,
        "add table inet filter; add chain inet filter input { type filter hook input priority 0; }; "
        'add rule inet filter input tcp dport 6514 counter reject with tcp reset comment "the host\'s own firewall"; '
        "add table bridge filter; add table ip hal",
    )

    def others() -> str:
        listing = json.loads(host_nft(site, "-j", "list", "ruleset"))["nftables"]
        return firewall.content([entry for entry in listing if not is_ours(entry)])

    before = others()
    try:
        site.loaded = None
        assert site.ensure()
        assert others() == before
        with pytest.raises(ConnectionRefusedError):
            connect(site.product, HOST, SYSLOG.port)
        assert site.counts() == {"port tcp/6514 syslog": 1}, "what one firewall accepts, the other may still refuse"
        with site.host.inside():
            nft.remove()
            assert nft.listing() == []
            nft.remove()
        assert others() == before
    finally:
        host_nft(site, "delete table inet filter; delete table bridge filter; delete table ip hal")
    assert others() != before


def is_ours(entry: rules.Json) -> bool:
    (what,) = entry.values()
    return (what.get("family"), what.get("table", what.get("name"))) in (("inet", "hal"), ("bridge", "hal"))


def test_a_guard_with_everything_is_accepted(site: Site) -> None:
    ports = tuple(Port(protocol, port, "x" * 60) for protocol in ("tcp", "udp") for port in (1, 514, 65535))
    guard = replace(GUARD, ports=ports, lan_ports=("enp130s0f1np1.40", "halbond12"), kept=("a", "eth0.4094"))
    assert site.ensure(replace(guard, lan_ports=("enp130s0f1np1", "halbond12")))
    with site.host.inside():
        comments = [comment for comment, _, _ in firewall.counts(nft.listing())]
    assert [rules.port_comment(port) for port in ports] == [text for text in comments if text.startswith("port ")]


def test_all_or_nothing(site: Site) -> None:
    with site.host.inside():
        before = nft.listing()
        bad = {"add": {"rule": {"family": "inet", "table": "hal", "chain": "nowhere", "expr": [{"drop": None}]}}}
        with pytest.raises(Exception, match="No such file or directory"):
            nft.load([*rules.ruleset(replace(GUARD, ports=())), bad])
        assert nft.listing() == before


def test_nothing_is_left_where_it_is_never_loaded() -> None:
    with Namespace() as empty, empty.inside():
        assert nft.listing() == []
        assert firewall.difference(GUARD, None) == ["table inet hal is not loaded", "table bridge hal is not loaded"]
        assert nft.listing() == []
