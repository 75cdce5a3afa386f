"""From the network plan to the interfaces that it takes: pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from hal_netcfg import names
from hal_netcfg.links import direct
from hal_netcfg.links.link import Group, Link, Wanted
from hal_netcfg.plan.direct import MODES
from hal_netcfg.plan.macs import host_mac
from hal_netcfg.plan.network import Bond, HostLink, Lan, Network

# Every group address of a bridge that Linux can forward: LLDP, 802.1X and others pass. Bits 0 to 2 (STP, pause, LACP)
# are refused by the kernel; STP passes all the same, because the bridge's own STP is off (net/bridge/br_input.c).
FORWARDED_GROUPS = 0xFFF8

BRIDGE: Mapping[str, object] = {
    "stp_state": 0,
    "forward_delay": 0,
    "mcast_snooping": 0,
    "group_fwd_mask": FORWARDED_GROUPS,
    "nf_call_iptables": 0,
    "nf_call_ip6tables": 0,
    "nf_call_arptables": 0,
}

# include/uapi/linux/if_bonding.h
BOND_MODES = {
    "balance-rr": 0,
    "active-backup": 1,
    "balance-xor": 2,
    "broadcast": 3,
    "802.3ad": 4,
    "balance-tlb": 5,
}

_OURS = re.compile(f"({names.LAN_BRIDGE}|{names.LAN_TAP}|{names.BOND}|{names.DIRECT})([0-9]+)")
_USUAL_MTU = 1500  # bytes

HOST_LINK_GROUP = "the private link"


def groups(network: Network, links: Mapping[str, Link]) -> tuple[Group, ...]:
    """The interfaces that ought to be, grouped by what changes together.

    :param links: the interfaces that there are: a bridge and a tap follow their NIC's MTU, and what is left of an
        earlier configuration is cleared away.
    """
    found = [_host_link(network.link)]
    found += [_lan(lan, network, links) for lan in network.lans]
    left_over = _left_over(network, links)
    return (left_over, *found) if left_over.wanted or left_over.unwanted else tuple(found)


def lan_number(name: str) -> int:
    """The number of the LAN that an interface of this name belongs to; -1: none of HAL's."""
    match = _OURS.fullmatch(name)
    return int(match[2]) if match else -1


def _host_link(link: HostLink) -> Group:
    address = f"{link.host}/30"
    bridge = Wanted(
        names.HOST_LINK,
        "bridge",
        mac=names.HOST_LINK_MAC,
        master="",
        up=True,
        noarp=False,
        ipv6=False,
        addresses=(address,),
        settings=BRIDGE,
    )
    return Group(HOST_LINK_GROUP, (bridge, _tap(names.HOST_TAP, names.HOST_LINK, _USUAL_MTU)))


def _lan(lan: Lan, network: Network, links: Mapping[str, Link]) -> Group:
    mtu = _mtu(lan, links)
    up = not network.down_with_product or _is_attached(lan, links)
    wanted: tuple[Wanted, ...]
    if lan.mode == "macvtap":
        wanted = tuple(_macvtap(lan, mtu, up))
        keep = {lan.tap, *(port.name for port in lan.ports)}
    elif lan.mode in MODES:
        wanted = tuple(_direct(lan, mtu))
        keep = {one.name for one in wanted}
    else:
        wanted = tuple(_bridged(lan, mtu, up))
        keep = {one.name for one in wanted}
    # Another mode's, or a bond that is none any more.
    others = (lan.bridge, f"{names.BOND}{lan.number}", lan.tap, lan.direct)
    return Group(f"LAN {lan.number}", wanted, tuple(name for name in others if name in links and name not in keep))


def _mtu(lan: Lan, links: Mapping[str, Link]) -> int:
    """What is configured, as far as the NICs can; else what they have."""
    here = [links[port.name] for port in lan.ports if port.name in links]
    if lan.mtu:
        return min([lan.mtu, *(link.max_mtu for link in here if link.max_mtu)])
    return min((link.mtu for link in here), default=_USUAL_MTU)


def _is_attached(lan: Lan, links: Mapping[str, Link]) -> bool:
    """Whether a QEMU has the product's end: a tap has a carrier exactly then (drivers/net/tun.c). Nothing tells of a
    macvtap, and so it is taken for attached.
    """
    tap = links.get(lan.tap)
    return lan.mode == "macvtap" or (tap is not None and tap.kind == "tun" and tap.carrier)


def _bridged(lan: Lan, mtu: int, up: bool) -> Iterator[Wanted]:
    host = lan.ports[0].host_mac if lan.ports else host_mac(lan.mac)
    yield Wanted(
        lan.bridge,
        "bridge",
        mac=host,
        mtu=mtu,
        master="",
        up=True,
        noarp=True,
        ipv6=False,
        addresses=(),
        settings=BRIDGE,
    )
    if lan.bond:
        yield Wanted(
            lan.port,
            "bond",
            mac=host,
            mtu=mtu,
            master=lan.bridge,
            up=up,
            noarp=not lan.bond.arp_interval,
            learning=False,
            ipv6=False,
            addresses=(),
            settings=_bond(lan.bond),
        )
        for port in lan.ports:
            # Its address and its MTU are the bond's business.
            yield Wanted(port.name, master=lan.port, up=up, noarp=True, ipv6=False, addresses=())
    for port in () if lan.bond else lan.ports:
        yield Wanted(
            port.name,
            mac=port.host_mac,
            mtu=mtu,
            master=lan.bridge,
            up=up,
            noarp=True,
            learning=False,
            ipv6=False,
            addresses=(),
        )
    yield _tap(lan.tap, lan.bridge, mtu)


def _macvtap(lan: Lan, mtu: int, up: bool) -> Iterator[Wanted]:
    """In passthru mode the NIC wears what the macvtap wears: the product's address (drivers/net/macvlan.c)."""
    for port in lan.ports:
        yield Wanted(port.name, mac=lan.mac, mtu=mtu, master="", up=up, noarp=True, ipv6=False, addresses=())
        yield Wanted(
            lan.tap,
            "macvtap",
            mac=lan.mac,
            mtu=mtu,
            lower=port.name,
            up=True,
            noarp=True,
            # What the product asks its virtual NIC for does not get here.
            allmulti=True,
            ipv6=False,
            addresses=(),
            settings={"mode": "passthru"},
        )


def _direct(lan: Lan, mtu: int) -> Iterator[Wanted]:
    """With vfio, the NIC is left as its driver made it, because it is an interface for the last time. With sriov it
    stays, up, with the host's address: its virtual function has a link for as long.
    """
    for port in lan.ports:
        if lan.mode == "vfio":
            yield Wanted(port.name, mac=port.mac, master="", up=False)
        else:
            mac = port.host_mac
            yield Wanted(port.name, mac=mac, mtu=mtu, master="", up=True, noarp=True, ipv6=False, addresses=())
        settings = direct.wanted(lan.mode, port.name, lan.mac, port.driver, port.bus_path)
        yield Wanted(lan.direct, "vfio", settings=settings)


def _tap(name: str, bridge: str, mtu: int) -> Wanted:
    """A bridge of two ports has nothing to remember: what comes from one goes to the other, as on a cable. What it has
    learned all the same it forgets when learning is switched off.

    So an address may go from the product to the LAN and back (VRRP, the product's own bridges), and frames are quicker.
    They are, too, without a queue in front of the tap: that has one of its own, and drops what is too much for it
    (drivers/net/tun.c, tun_net_xmit), so that nothing ever waits in the first.
    """
    return Wanted(
        name,
        "tun",
        mtu=mtu,
        master=bridge,
        up=True,
        noarp=True,
        queued=False,
        learning=False,
        ipv6=False,
        addresses=(),
    )


def _bond(bond: Bond) -> Mapping[str, object]:
    settings: dict[str, object] = {"mode": BOND_MODES[bond.mode], "miimon": bond.miimon}
    if bond.mode == "802.3ad":
        settings["ad_lacp_rate"] = int(bond.lacp_rate == "fast")
    if bond.arp_interval:
        settings |= {"arp_interval": bond.arp_interval, "arp_ip_target": bond.arp_targets}
    return settings


def _left_over(network: Network, links: Mapping[str, Link]) -> Group:
    """Bridges, taps and bonds of LANs that are no more.

    A tap that has a carrier is a running product's, whatever the plan says: it stays until the product has gone.
    """
    if not network.planned:
        return Group("what is left of earlier LANs", ())
    planned = {lan.number for lan in network.lans} | network.untouched
    gone = {name for name in links if lan_number(name) >= 0 and lan_number(name) not in planned}
    gone -= {name for name in gone if links[name].kind == "tun" and links[name].carrier}
    return Group("what is left of earlier LANs", (), tuple(sorted(gone)))
