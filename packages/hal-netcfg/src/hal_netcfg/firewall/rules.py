"""The firewall as nftables commands (libnftables-json(5)): pure, from what there is to guard.

Two tables. ``inet hal`` is for what the host itself sends and receives: nothing of the LANs; of the product what is
declared, over the host-only link; on its own NICs whatever its other firewalls let through. ``bridge hal`` keeps the
LANs and the host apart one layer below, where ARP is, and keeps the link's addresses off the LANs in both directions:
Linux answers for each of its addresses on every NIC, so a LAN could otherwise talk to the product as its host does.

Every rule that drops, refuses or opens a port counts, and no other has its comment.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hal_netcfg.firewall.ports import Port
from hal_netcfg.names import HOST_LINK, HOST_TAP, LAN_BRIDGE, LAN_TAP, LINK_ON_LAN, PRODUCT_LINK_MAC

TABLE = "hal"
FAMILIES = ("inet", "bridge")

Json = dict[str, Any]  # one object of libnftables-json(5)

# Before the usual filters: what is dropped here must not look accepted there. After connection tracking (-200).
_INET_PRIORITY = -10
_BRIDGE_PRIORITY = -300

_TAPS = f"{LAN_TAP}*"  # the one of the host-only link, too: a rule for that comes first

# Where the two addresses begin, in bits from the network header (RFC 791, RFC 826); a tag comes before (IEEE 802.1Q).
_IP, _ARP, _TAG = (12 * 8, 16 * 8), (14 * 8, 24 * 8), 32
# And the protocol that ARP asks for; the EtherType behind a second tag is at the same place.
_PROTOCOL = 2 * 8
_ETHERTYPE_IP, _ETHERTYPE_ARP = 0x0800, 0x0806

_ACCEPT: Json = {"accept": None}
_DROP: Json = {"drop": None}
_REFUSE_TCP: Json = {"reject": {"type": "tcp reset"}}
_REFUSE: Json = {"reject": {"type": "icmp", "expr": "port-unreachable"}}

PING = "ping"
REFUSED_TCP = "refused: from the product, tcp"
REFUSED = "refused: from the product"
FROM_PRODUCT = "dropped: from the product, wrong address"
TO_PRODUCT = "dropped: to the product, wrong address"
LINK_SOURCE_IN = "dropped: link source, received elsewhere"
LINK_TARGET_IN = "dropped: link target, received elsewhere"
LINK_SOURCE_OUT = "dropped: link source, sent elsewhere"
LINK_TARGET_OUT = "dropped: link target, sent elsewhere"
FROM_LAN = "dropped: from a LAN"
TO_LAN = "dropped: to a LAN"
ROUTED = "dropped: to be routed"
WRONG_MAC = "dropped: from the product, wrong MAC address"
LINK_ON_TAP = "dropped: link address, from the product to a LAN"


def port_comment(port: Port) -> str:
    """The comment of the rule that opens the port: "port tcp/514 syslog"."""
    return f"port {port.protocol}/{port.port} {port.what}"


def frame_in_comment(name: str) -> str:
    """The comment of the rule that keeps what comes from a LAN's port, or "haltap*", from the host."""
    return f"dropped: frame from {name} to the host"


def frame_out_comment(name: str) -> str:
    """The comment of the rule that keeps what the host sends from a LAN's port, or from "haltap*"."""
    return f"dropped: frame from the host to {name}"


@dataclass(frozen=True)
class Guard:
    """What there is to guard."""

    host: str  # on the host-only link: "169.254.72.1"
    product: str  # "169.254.72.2"
    network: str  # of both: "169.254.72.0/30"
    ports: tuple[Port, ...]  # of the host, for the product
    lan_ports: tuple[str, ...]  # the NICs and bonds that are in LAN bridges
    kept: tuple[str, ...]  # the interfaces that stay the host's: NICs, and what it has made of them (VLANs, bonds)


@dataclass(frozen=True)
class _Chain:
    name: str
    rules: tuple[Json, ...]
    hook: str = ""  # "": no packet comes here but by a jump
    policy: str = "drop"


def ruleset(guard: Guard) -> list[Json]:
    """The commands that replace both tables, whatever is in them, or make them. nft does all of it, or nothing.

    :raise ValueError: the network is none.
    """
    return [
        *_table("inet", _INET_PRIORITY, _inet(guard)),
        *_table("bridge", _BRIDGE_PRIORITY, _bridge(guard)),
    ]


def removal() -> list[Json]:
    """The commands after which neither table is there."""
    return [command for family in FAMILIES for command in _emptied(family)]


def _emptied(family: str) -> list[Json]:
    # Added first, because deleting what is not there fails, and with it the whole transaction.
    table = {"table": {"family": family, "name": TABLE}}
    return [{"add": table}, {"delete": table}]


def _table(family: str, priority: int, chains: list[_Chain]) -> list[Json]:
    commands = [*_emptied(family), {"add": {"table": {"family": family, "name": TABLE}}}]
    for chain in chains:
        base = {"type": "filter", "hook": chain.hook, "prio": priority, "policy": chain.policy} if chain.hook else {}
        commands.append({"add": {"chain": {"family": family, "table": TABLE, "name": chain.name, **base}}})
    for chain in chains:
        place = {"family": family, "table": TABLE, "chain": chain.name}
        commands += [{"add": {"rule": {**place, **rule}}} for rule in chain.rules]
    return commands


# --- what the host itself sends and receives ---------------------------------------------------------------------


def _inet(guard: Guard) -> list[_Chain]:
    link_source, link_target = _address("saddr", guard.network), _address("daddr", guard.network)
    from_product = (_address("saddr", guard.product), _address("daddr", guard.host))
    to_product = (_address("saddr", guard.host), _address("daddr", guard.product))
    product = [
        _rule(_match({"ct": {"key": "state"}}, ["established", "related"], "in"), _ACCEPT),
        _counted(PING, _match(_payload("icmp", "type"), "echo-request"), _ACCEPT),
        *(
            _counted(port_comment(port), _match(_payload(port.protocol, "dport"), port.port), _ACCEPT)
            for port in guard.ports
        ),
        _counted(REFUSED_TCP, _match({"meta": {"key": "l4proto"}}, "tcp"), _REFUSE_TCP),
        _counted(REFUSED, _REFUSE),
    ]
    received = [
        _rule(_input("lo"), _ACCEPT),
        _rule(_input(HOST_LINK), *from_product, {"jump": {"target": "product"}}),
        _counted(FROM_PRODUCT, _input(HOST_LINK), _DROP),
        _counted(LINK_SOURCE_IN, link_source, _DROP),
        _counted(LINK_TARGET_IN, link_target, _DROP),
        *(_rule(_input(name), _ACCEPT) for name in guard.kept),
        _counted(FROM_LAN, _DROP),
    ]
    sent = [
        _rule(_output("lo"), _ACCEPT),
        _rule(_output(HOST_LINK), *to_product, _ACCEPT),
        _counted(TO_PRODUCT, _output(HOST_LINK), _DROP),
        _counted(LINK_SOURCE_OUT, link_source, _DROP),
        _counted(LINK_TARGET_OUT, link_target, _DROP),
        *(_rule(_output(name), _ACCEPT) for name in guard.kept),
        _counted(TO_LAN, _DROP),
    ]
    # Frames on a LAN's bridge come here only with br_netfilter, which hal-netcfg switches off; until it has, they pass.
    bridged = _rule(_input(f"{LAN_BRIDGE}*"), _output(f"{LAN_BRIDGE}*"), _ACCEPT)
    return [
        _Chain("input", tuple(received), "input"),
        _Chain("product", tuple(product)),
        _Chain("forward", (bridged, _counted(ROUTED, _DROP)), "forward"),
        _Chain("output", tuple(sent), "output"),
    ]


# --- frames on bridges -------------------------------------------------------------------------------------------


def _bridge(guard: Guard) -> list[_Chain]:
    """Each frame of a LAN passes here: a few glances, and where one of them hits, a look at what it is."""
    protocol: Json = {"meta": {"key": "protocol"}}  # inside the outermost tag, which the kernel has taken off by now
    chains = {"ip": "ip", "arp": "arp", "8021q": "twice-tagged", "8021ad": "twice-tagged"}
    network = ipaddress.IPv4Network(guard.network)
    half = int(network.network_address) >> 16
    # Sixteen bits are compared in the shortest time that a rule can take; to know the protocol takes as long as all of
    # these. What is 0x0800 in ARP for IPv4, or either in what has a second tag, is a packet's length in IPv4.
    glances = (*((place, half) for place in _IP), (_PROTOCOL, _ETHERTYPE_IP), (_PROTOCOL, _ETHERTYPE_ARP))
    # Other bridges that the host may have are its own affair: policy accept.
    return [
        _Chain(
            "forward",
            tuple(_rule(_match(_raw(place, 16), value), {"goto": {"target": "look"}}) for place, value in glances),
            "forward",
            policy="accept",
        ),
        _Chain(
            "look",
            tuple(_rule(_match(protocol, name), {"goto": {"target": chain}}) for name, chain in chains.items()),
        ),
        _Chain("ip", tuple(_with_address(network, _IP))),
        _Chain("arp", tuple(_with_address(network, _ARP))),
        # The second tag is where the network header begins for these. In a chain of their own, like those above:
        # listing such a rule after a match on the protocol makes nft 1.0.6 abort.
        _Chain(
            "twice-tagged", (*_with_address(network, _IP, _ETHERTYPE_IP), *_with_address(network, _ARP, _ETHERTYPE_ARP))
        ),
        _Chain("foreign", (_counted(LINK_ON_TAP, _input(_TAPS), _DROP), _counted(LINK_ON_LAN, _DROP))),
        _Chain(
            "input",
            (
                _counted(
                    WRONG_MAC, _input(HOST_TAP), _match(_payload("ether", "saddr"), PRODUCT_LINK_MAC, "!="), _DROP
                ),
                _rule(_input(HOST_TAP), _ACCEPT),
                *(_counted(frame_in_comment(name), _input(name), _DROP) for name in (*guard.lan_ports, _TAPS)),
            ),
            "input",
            policy="accept",
        ),
        _Chain(
            "output",
            (
                _rule(_output(HOST_TAP), _ACCEPT),
                *(_counted(frame_out_comment(name), _output(name), _DROP) for name in (*guard.lan_ports, _TAPS)),
            ),
            "output",
            policy="accept",
        ),
    ]


def _with_address(network: ipaddress.IPv4Network, places: tuple[int, int], inner_type: int = 0) -> Iterator[Json]:
    """Rules for packets with an address of the network.

    :param places: where sender's and receiver's begin, in bits. :param inner_type: EtherType behind a second tag.
    """
    tag_bits = _TAG if inner_type else 0
    for place in places:
        masked = {"&": [_raw(tag_bits + place, 32), int(network.netmask)]}
        inner = [_match(_raw(_PROTOCOL, 16), inner_type)] if inner_type else []
        yield _rule(*inner, _match(masked, int(network.network_address)), {"goto": {"target": "foreign"}})


# --- parts of rules ----------------------------------------------------------------------------------------------


def _rule(*expressions: Json) -> Json:
    return {"expr": list(expressions)}


def _counted(comment: str, *expressions: Json) -> Json:
    """A rule that counts what it is about to decide on; the last expression is its verdict."""
    return {"expr": [*expressions[:-1], {"counter": None}, expressions[-1]], "comment": comment}


def _match(left: Json, right: object, operator: str = "==") -> Json:
    return {"match": {"op": operator, "left": left, "right": right}}


def _payload(protocol: str, field: str) -> Json:
    return {"payload": {"protocol": protocol, "field": field}}


def _raw(offset: int, length: int) -> Json:
    """:param offset, length: in bits, from where the network header is."""
    return {"payload": {"base": "nh", "offset": offset, "len": length}}


def _input(name: str) -> Json:
    return _match({"meta": {"key": "iifname"}}, name)


def _output(name: str) -> Json:
    return _match({"meta": {"key": "oifname"}}, name)


def _address(field: str, value: str) -> Json:
    return _match(_payload("ip", field), _prefix(value) if "/" in value else value)


def _prefix(network: str) -> Json:
    address, _, length = network.partition("/")
    return {"prefix": {"addr": address, "len": int(length)}}
