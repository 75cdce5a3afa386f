"""A host whose network is watched from outside: what is sent on its cables, and how it answers the product.

Its kernel, systemd and RPMs are real. So is its hal-netcfg, but for the hardware that it reads, which is FAKE: nothing
here can make a NIC, so veth pairs are taken for NICs (:mod:`hal_netcfg.testing.runner`).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hal_core.testing.systemdhost import SystemdHost
from hal_netcfg.names import HOST_LINK, HOST_LINK_MAC, HOST_TAP, PRODUCT_LINK_MAC
from hal_netcfg.testing import frames
from hal_netcfg.testing.host import Tap
from hal_netcfg.testing.netns import Namespace, received

NICS = {f"eno{number}": f"02:00:00:00:01:0{number}" for number in range(1, 6)}  # those that there may be
HOST, PRODUCT = "169.254.72.1", "169.254.72.2"
SYSLOG, SNMP, CLOSED = 6514, 1162, 7777  # tcp and declared, udp and declared, and not declared
#: In hal-netcfg's ports.d.
DECLARED = f"""\
port = [
    {{ protocol = "tcp", port = {SYSLOG}, what = "syslog" }},
    {{ protocol = "udp", port = {SNMP}, what = "SNMP traps" }},
]
"""
#: What HAL's firewall alone makes of what the product may ask.
AS_DECLARED = {
    f"tcp {SYSLOG}": "answered",
    f"udp {SNMP}": "answered",
    "ping": "answered",
    f"tcp {CLOSED}": "refused",
    f"udp {CLOSED}": "refused",
}
_NEIGHBOUR = "02:00:00:00:02:01"  # somebody on a LAN

# On the wire: where Ethernet and IPv4 end, and what is said there (RFC 791, 792, 9293).
_PROTOCOL, _PAYLOAD = 23, 34
_SYN_ACK, _RST_ACK = 0x12, 0x14
_ECHO_REPLY, _UNREACHABLE = 0, 3
_NOBODY, _PROHIBITED = 3, 13  # codes of the latter
_DHCP_SERVER = 67


class LanHost:
    """:param host: it has booted. :param lan: where its cables lead to.

    :ivar kept: the NICs that stay with the host, as they were last planned.
    """

    def __init__(self, host: SystemdHost, lan: Namespace) -> None:
        self.host = host
        self.namespace = Namespace(host.network)
        self.kept: tuple[str, ...] = ()
        self._lan = lan
        self._cables: dict[str, socket.socket] = {}  # their other ends

    def close(self) -> None:
        self.namespace.close()
        for cable in self._cables.values():
            cable.close()

    def plug_in(self, *names: str) -> None:
        """Interfaces that lead to the LAN: NICs, where these are their names."""
        for name in names:
            end, mac = f"lan-{name}", NICS.get(name, "02:00:00:00:03:01")
            self._lan.ip(
                f"link add {end} type veth peer name {name} address {mac} netns {self.host.network}",
                f"link set {end} up",  # the host's own end is not, and so nothing is missed
            )
            self._cables[name] = self._lan.packet_socket(end)

    def plan(self, *names: str, kept: Sequence[str] = ()) -> None:
        """As hal-vmm has it: these are the product's NICs 0, 1, …, and those stay with the host."""
        self.kept = tuple(kept)
        nics = [{"mac": NICS[name], "tap": f"haltap{number}"} for number, name in enumerate(names)]
        content = json.dumps({"nics": nics, "held_back": [{"what": name} for name in kept]})
        write = 'printf %s "$1" > /run/hal/new && mv /run/hal/new /run/hal/plan.json'
        self.host.run("sh", "-c", write, "sh", content)

    def start(self, *units: str) -> None:
        self.host.run("systemctl", "start", *units)

    # --- interfaces ---------------------------------------------------------------------------------------------------

    def links(self) -> dict[str, dict[str, Any]]:
        """As ``ip address`` has them, by name."""
        return {link["ifname"]: link for link in json.loads(self.namespace.run("ip", "-json", "address"))}

    def masters(self) -> dict[str, str]:
        """Which bridge each port is in."""
        return {name: link["master"] for name, link in self.links().items() if "master" in link}

    def addresses(self) -> dict[str, list[str]]:
        """Of each interface that has any, but for the loopback."""
        found = {
            name: [address["local"] for address in link["addr_info"]]
            for name, link in self.links().items()
            if name != "lo"
        }
        return {name: own for name, own in found.items() if own}

    def states(self) -> dict[str, str]:
        """How NetworkManager sees each device, but for the loopback."""
        listed = self.host.run("nmcli", "--terse", "--fields", "DEVICE,STATE", "device")
        states = dict(line.split(":", 1) for line in listed.splitlines())
        return {name: state for name, state in states.items() if name != "lo"}

    def managed(self) -> set[str]:
        """What NetworkManager has taken, or would take."""
        return {name for name, state in self.states().items() if state != "unmanaged"}

    def with_raw_socket(self) -> set[str]:
        """The interfaces on which a program of the host's sends frames itself, as a DHCP client does (packet(7))."""
        by_number = {link["ifindex"]: name for name, link in self.links().items()}
        with self.namespace.inside():
            sockets = Path("/proc/thread-self/net/packet").read_text().splitlines()[1:]
        numbers = {int(line.split()[4]) for line in sockets}
        return {by_number[number] for number in numbers if number}

    # --- cables -------------------------------------------------------------------------------------------------------

    def sent(self, name: str) -> list[bytes]:
        """The frames that have come out at a NIC since this was last asked."""
        found = []
        while (frame := received(self._cables[name])) is not None:
            found.append(frame)
        return found

    def wait_for_dhcp(self, name: str) -> None:
        """Until somebody asks for an address there."""

        def is_asked() -> bool:
            return any(
                frame[_PROTOCOL] == socket.IPPROTO_UDP and _number(frame, 2) == _DHCP_SERVER
                for frame in self.sent(name)
            )

        self.host.wait(is_asked, f"a DHCP client asks on {name}")

    def check_cable(self, number: int, name: str) -> None:
        """The product's packets pass to the LAN, and the LAN's to the product.

        :param number: of the product's NIC. :param name: of the host's.
        :raise AssertionError: they do not, or others come out than the product's.
        """
        out = frames.ipv4(_NEIGHBOUR, NICS[name], "10.0.0.1", "10.0.0.2", frames.tcp_syn(CLOSED))
        back = frames.ipv4(NICS[name], _NEIGHBOUR, "10.0.0.2", "10.0.0.1", frames.tcp_syn(CLOSED))
        tap = Tap(self.namespace, f"haltap{number}")
        with contextlib.closing(tap):
            tap.wait_for(back, lambda: self._cables[name].send(back))
            seen: list[bytes] = []

            def arrived() -> bool:
                tap.send(out)
                seen.extend(self.sent(name))
                return out in seen

            self.host.wait(arrived, f"the product's packet comes out at {name}")
        assert set(seen) == {out}

    # --- the firewall -------------------------------------------------------------------------------------------------

    def tables(self) -> str:
        """HAL's, without what they have counted."""
        families = ("inet", "bridge")
        return "".join(self.namespace.run("nft", "--stateless", "list", "table", family, "hal") for family in families)

    def loadings(self) -> int:
        """How often hal-netcfg has found its tables to be others than they ought to be."""
        return self.host.log("hal-netcfg.service").count("the firewall: loaded")

    @contextlib.contextmanager
    def product(self) -> Iterator[Product]:
        """The product is on its private link for as long."""
        self.namespace.sysctl("ipv4/icmp_ratelimit", "0")  # every refusal is told
        self.namespace.ip(f"neighbor replace {PRODUCT} lladdr {PRODUCT_LINK_MAC} dev {HOST_LINK} nud permanent")
        with contextlib.ExitStack() as stack:
            for port in (SYSLOG, CLOSED):
                tcp = stack.enter_context(self.namespace.socket(socket.AF_INET, socket.SOCK_STREAM))
                tcp.bind((HOST, port))
                tcp.listen()
            udp = stack.enter_context(self.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM))
            udp.bind((HOST, SNMP))
            tap = stack.enter_context(contextlib.closing(Tap(self.namespace, HOST_TAP)))
            yield Product(self.host, tap, udp)


class Product:
    """:param udp: a program of the host's, on its declared port: it sends back whatever comes."""

    def __init__(self, host: SystemdHost, tap: Tap, udp: socket.socket) -> None:
        self._host = host
        self._tap = tap
        self._udp = udp
        self._sources = itertools.count(20000)  # another port for every packet: which answer is to which

    def verdicts(self) -> dict[str, str]:
        """What becomes of each of :data:`AS_DECLARED`."""
        return {what: self.verdict(what) for what in AS_DECLARED}

    def verdict(self, what: str) -> str:
        """It is answered, refused (as if nobody were there), or prohibited (by a firewall that says so)."""
        asked: set[int] = set()
        found: list[str] = []

        def is_answered() -> bool:
            source = next(self._sources)
            asked.add(source)
            self._tap.send(frames.ipv4(HOST_LINK_MAC, PRODUCT_LINK_MAC, PRODUCT, HOST, _packet(what, source)))
            with contextlib.suppress(BlockingIOError):
                while True:
                    self._udp.sendto(*self._udp.recvfrom(2048))
            while (frame := self._tap.receive()) is not None:
                source, word = _answer(frame)
                if source in asked:
                    found.append(word)
            return bool(found)

        self._host.wait(is_answered, f"the host says something to {what}")
        (word,) = set(found)
        return word


def _packet(what: str, source: int) -> tuple[int, bytes]:
    kind, _, port = what.partition(" ")
    if kind == "ping":
        return frames.ping(source)
    return (frames.tcp_syn if kind == "tcp" else frames.udp)(int(port), source)


def _number(frame: bytes, offset: int) -> int:
    """Two bytes behind the IPv4 header."""
    return int.from_bytes(frame[_PAYLOAD + offset : _PAYLOAD + offset + 2], "big")


def _answer(frame: bytes) -> tuple[int, str]:
    """The port, or the ping's identifier, that it is for, and what it says; 0: it is for nobody."""
    if frame[12:14] != b"\x08\0":
        return 0, ""
    if frame[_PROTOCOL] == socket.IPPROTO_TCP:
        return _number(frame, 2), {_SYN_ACK: "answered", _RST_ACK: "refused"}[frame[_PAYLOAD + 13]]
    if frame[_PROTOCOL] == socket.IPPROTO_UDP:
        return _number(frame, 2), "answered"
    if frame[_PROTOCOL] == socket.IPPROTO_ICMP and frame[_PAYLOAD] == _ECHO_REPLY:
        return _number(frame, 4), "answered"
    if frame[_PROTOCOL] == socket.IPPROTO_ICMP and frame[_PAYLOAD] == _UNREACHABLE:
        # The packet that it is about follows: its header, and the first eight bytes behind that.
        is_ping = frame[_PAYLOAD + 8 + 9] == socket.IPPROTO_ICMP
        return _number(frame, 8 + 20 + (4 if is_ping else 0)), {_NOBODY: "refused", _PROHIBITED: "prohibited"}[
            frame[_PAYLOAD + 1]
        ]
    return 0, ""
