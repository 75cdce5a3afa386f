"""A FAKE kernel for tests: interfaces in memory, with those of Linux's rules that matter to a LAN.

What the real one does that surprises is said where it is done here. test_netcfg_kernel.py compares the two, as far as
there is a real one to be had: bonds are not everywhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from hal_core.errors import HostError
from hal_netcfg.links.action import Action, Address, Change, Create, Delete, Ipv6
from hal_netcfg.links.link import Link

LOWEST_MTU, HIGHEST_MTU = 68, 65535

# What a bridge and a bond have that nobody has told anything, as Linux 6 lists it.
_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "bridge": {
        "stp_state": 0,
        "forward_delay": 1500,
        "mcast_snooping": 1,
        "group_fwd_mask": 0,
        "nf_call_iptables": 0,
        "nf_call_ip6tables": 0,
        "nf_call_arptables": 0,
    },
    "bond": {"mode": 0, "miimon": 0, "arp_interval": 0, "ad_lacp_rate": 0},
    "macvtap": {"mode": "vepa"},
}
_MODES_WITHOUT_ARP = (4, 5, 6)  # 802.3ad, balance-tlb, balance-alb: bond_options.c, unsuppmodes
_LACP = 4


class FakeKernel:
    """:param nics: the hardware, as its drivers leave it.
    :param flags_first: a request switches an interface on before it gets its master. Linux 6.1 to 6.7 had it the other
        way round.
    """

    def __init__(self, nics: Iterable[Link] = (), flags_first: bool = True) -> None:
        self._flags_first = flags_first
        self._links: dict[str, Link] = {}
        self._born: dict[str, tuple[str, int]] = {}  # port of a bond → address and MTU from before
        self._told: set[tuple[str, str]] = set()  # bridges and bonds whose "mac" or "mtu" somebody has set
        self._made = 0
        self.attached: set[str] = set()  # taps that a QEMU has open
        self.log: list[Action] = []
        self.went_up: list[Link] = []  # as it was at that moment
        self.lent: dict[str, Link] = {}  # NICs that are the product's as they are
        for nic in nics:
            self.plug_in(nic)

    def __repr__(self) -> str:
        return "\n".join(map(str, self.links().values()))

    def links(self) -> dict[str, Link]:
        """As :meth:`hal_netcfg.links.kernel.Kernel.links`. Every cable is plugged in."""
        return {name: _as_listed(link, name in self.attached) for name, link in self._links.items()}

    def close(self) -> None:
        """There is no socket."""

    def copy(self) -> FakeKernel:
        """Another one in the same state, but for what it has logged."""
        other = FakeKernel(flags_first=self._flags_first)
        other._links, other._born, other._told = dict(self._links), dict(self._born), set(self._told)
        other._made, other.attached, other.lent = self._made, set(self.attached), dict(self.lent)
        return other

    def plug_in(self, nic: Link) -> None:
        self._made += 1
        self._links[nic.name] = replace(nic, index=self._made)

    def unplug(self, name: str) -> None:
        """The hardware goes."""
        self._unregister(self._links[name])

    def perform(self, action: Action) -> None:
        """As :meth:`hal_netcfg.links.kernel.Kernel.perform`."""
        self.log.append(action)
        self._perform(action)

    def perform_half(self, action: Action) -> None:
        """What is done of a request that fails at its end: the kernel does not take back what it has done by then."""
        if isinstance(action, Change):
            self._perform(replace(action, master=None, up=None, noarp=None, allmulti=None, queued=None, learning=None))

    def _perform(self, action: Action) -> None:
        if isinstance(action, Create):
            self._create(action)
            return
        if action.name not in self._links:
            raise HostError(f"{action}: it has gone")
        link = self._links[action.name]
        if isinstance(action, Delete):
            if not link.kind:
                raise HostError(f"{action}: it is hardware")
            self._unregister(link)
        elif isinstance(action, Change):
            self._change(action, link)
        elif isinstance(action, Ipv6):
            kept = [address for address in link.addresses if action.on or ":" not in address]
            self._set(action.name, ipv6=action.on, addresses=tuple(kept))
        else:
            self._address(action, link)

    # --- making and removing ------------------------------------------------------------------------------------------

    def _create(self, action: Create) -> None:
        link = self._links.get(action.name)
        if link and link.kind == action.kind == "tun" and action.name not in self.attached:
            return  # TUNSETIFF is content with the one that there is
        if link:
            raise HostError(f"{action}: there is one already")
        if action.kind == "vfio":
            self._hand_over(action)
            return
        mac, mtu = self._random_mac(), 1500
        settings = {**_DEFAULTS.get(action.kind, {}), **action.settings}
        if action.kind == "bond":
            _check_bond(action)
        if action.kind == "macvtap":
            lower = self._links.get(action.lower)
            if lower is None:
                raise HostError(f"{action}: nothing to sit on")
            others = self._on_top(action.lower)
            if lower.master or (others and "passthru" in (settings["mode"], others[0].settings["mode"])):
                raise HostError(f"{action}: another program or bridge has it")
            mac, mtu = lower.mac if settings["mode"] == "passthru" else mac, lower.mtu
        made = Link(action.name, 0, action.kind, mac, mtu=mtu, lower=action.lower, ipv6=True, settings=settings)
        self.plug_in(made)

    def _hand_over(self, action: Create) -> None:
        """A NIC that is handed over whole is no interface any more."""
        nic = str(action.settings["nic"])
        if nic not in self._links:
            raise HostError(f"{action}: it has gone")
        if action.settings["mode"] == "vfio":
            self.lent[nic] = self._links[nic]
            self._unregister(self._links[nic])
        self.plug_in(Link(action.name, 0, "vfio", settings=action.settings))

    def _take_back(self, link: Link) -> None:
        """As its driver makes it: with its own address, and down."""
        nic = self.lent.pop(str(link.settings["nic"]), None)
        if nic:
            self.plug_in(Link(nic.name, 0, mac=nic.permanent, permanent=nic.permanent, max_mtu=nic.max_mtu, ipv6=True))

    def _unregister(self, link: Link) -> None:
        if link.kind == "vfio":
            self._take_back(link)
        for port in self._ports(link.name):
            self._release(port)
        for above in self._on_top(link.name):
            self._unregister(above)
        if link.master:
            self._release(link)
        self.attached.discard(link.name)
        self._told -= {(link.name, "mac"), (link.name, "mtu")}
        del self._links[link.name]

    # --- changing -----------------------------------------------------------------------------------------------------

    def _change(self, change: Change, link: Link) -> None:
        """In the order of do_setlink (net/core/rtnetlink.c)."""
        if change.settings:
            self._set(link.name, settings={**link.settings, **change.settings})
        if change.mac is not None:
            self._change_mac(self._links[link.name], change.mac)
        if change.mtu is not None:
            self._change_mtu(self._links[link.name], change.mtu, change)
        if self._flags_first:
            self._change_flags(change)
        if change.master is not None:
            self._change_master(self._links[link.name], change)
        if not self._flags_first:
            self._change_flags(change)
        if change.queued is not None and link.kind == "tun":
            self._set(change.name, queued=change.queued)
        if change.learning is not None:
            if not self._is_port(change.name):
                raise HostError(f"{change}: it is in no bridge")
            self._set(change.name, learning=change.learning)

    def _is_port(self, name: str) -> bool:
        """Of a bridge: a bond knows nothing of it."""
        master = self._links.get(self._links[name].master)
        return master is not None and master.kind == "bridge"

    def _change_flags(self, change: Change) -> None:
        flags = {"noarp": change.noarp, "allmulti": change.allmulti}
        self._set(change.name, **{flag: on for flag, on in flags.items() if on is not None})
        if change.up is not None:
            self._change_up(self._links[change.name], change.up)

    def _change_mac(self, link: Link, mac: str) -> None:
        self._told.add((link.name, "mac"))
        self._set(link.name, mac=mac)
        if link.kind == "bond":
            for port in self._ports(link.name):
                self._set(port.name, mac=mac)
        if link.settings.get("mode") == "passthru":
            self._set(link.lower, mac=mac)
        for above in self._on_top(link.name):
            if above.settings["mode"] == "passthru":
                self._set(above.name, mac=mac)
        self._follow_ports(link.master)

    def _change_mtu(self, link: Link, mtu: int, action: Action) -> None:
        most = self._links[link.lower].mtu if link.kind == "macvtap" else link.max_mtu or HIGHEST_MTU
        ports = self._ports(link.name) if link.kind == "bond" else []
        if not LOWEST_MTU <= mtu <= min([most, *(port.max_mtu or HIGHEST_MTU for port in ports)]):
            raise HostError(f"{action}: Invalid argument")
        self._told.add((link.name, "mtu"))
        for one in (link, *ports):
            self._set(one.name, mtu=mtu)
        for above in self._on_top(link.name):
            self._set(above.name, mtu=min(above.mtu, mtu))
        self._follow_ports(link.master)

    def _change_master(self, link: Link, change: Change) -> None:
        if link.master == change.master:
            return
        if link.master:
            self._release(link)
            link = self._links[link.name]
        if not change.master:
            return
        master = self._links.get(change.master)
        if master is None:
            raise HostError(f"{change}: no such bridge or bond")
        if master.kind not in ("bridge", "bond") or link.kind in ("bridge", "macvtap", master.kind):
            raise HostError(f"{change}: it does not take that")
        if self._on_top(link.name):
            raise HostError(f"{change}: another program or bridge has it")
        if master.kind == "bond":
            self._join_bond(link, master, change)
        self._set(link.name, master=master.name)
        self._follow_ports(master.name)

    def _join_bond(self, link: Link, bond: Link, change: Change) -> None:
        """bond_enslave, drivers/net/bonding/bond_main.c: the port wears the bond's address, and is switched on.

        It does not speak IPv6 as long as it is one, whatever disable_ipv6 says (net/ipv6/addrconf.c, addrconf_notify).
        """
        if link.up:
            raise HostError(f"{change}: Operation not permitted")
        if bond.mtu > (link.max_mtu or HIGHEST_MTU):
            raise HostError(f"{change}: Invalid argument")
        if not self._ports(bond.name) and (bond.name, "mac") not in self._told:
            self._set(bond.name, mac=link.mac)
            self._follow_ports(bond.master)
        self._born[link.name] = link.mac, link.mtu
        self._set(link.name, mac=self._links[bond.name].mac, mtu=bond.mtu, up=True)

    def _release(self, port: Link) -> None:
        """Out of a bridge it goes as it is, out of a bond as it came: __bond_release_one."""
        master = self._links[port.master]
        self._set(port.name, master="", learning=True)
        if master.kind == "bond":
            mac, mtu = self._born.pop(port.name)
            self._change_up(self._links[port.name], False)
            self._set(port.name, mac=mac, mtu=mtu)
            if not self._ports(master.name):
                self._told.discard((master.name, "mac"))
                self._set(master.name, mac=self._random_mac())
                self._follow_ports(master.master)
        self._follow_ports(master.name)

    def _follow_ports(self, bridge: str) -> None:
        """A bridge has the lowest address and the lowest MTU of its ports, until it is told others."""
        ports = self._ports(bridge)
        if not bridge or self._links[bridge].kind != "bridge":
            return
        if (bridge, "mtu") not in self._told:
            self._set(bridge, mtu=min((port.mtu for port in ports), default=1500))
        if (bridge, "mac") not in self._told:
            self._set(bridge, mac=min((port.mac for port in ports), default="00:00:00:00:00:00"))

    def _change_up(self, link: Link, up: bool) -> None:
        if up and not link.up:
            self.went_up.append(link)
        if link.up and not up:
            self._set(link.name, addresses=tuple(address for address in link.addresses if ":" not in address))
        self._set(link.name, up=up)

    def _address(self, action: Address, link: Link) -> None:
        if action.present:
            if action.address in link.addresses:
                raise HostError(f"{action}: File exists")
            if ":" in action.address and not link.ipv6:
                raise HostError(f"{action}: Permission denied")
            self._set(link.name, addresses=(*link.addresses, action.address))
            return
        network = ipaddress.ip_interface(action.address).network
        same = [address for address in link.addresses if ipaddress.ip_interface(address).network == network]
        # With the first of a network all others of it go (ip-sysctl.rst, promote_secondaries).
        gone = same if same[:1] == [action.address] and network.version == 4 else [action.address]
        self._set(link.name, addresses=tuple(address for address in link.addresses if address not in gone))

    # --- small things -------------------------------------------------------------------------------------------------

    def _set(self, name: str, **changes: Any) -> None:
        self._links[name] = replace(self._links[name], **changes)

    def _ports(self, name: str) -> list[Link]:
        return [link for link in self._links.values() if name and link.master == name]

    def _on_top(self, name: str) -> list[Link]:
        return [link for link in self._links.values() if link.kind == "macvtap" and link.lower == name]

    def _random_mac(self) -> str:
        self._made += 1
        return f"1a:00:00:00:{self._made >> 8:02x}:{self._made & 255:02x}"


def _as_listed(link: Link, attached: bool) -> Link:
    settings = _listed(link)
    if not link.up and not link.addresses and settings == link.settings:
        return link  # this is asked often
    carrier = link.up and (link.kind != "tun" or attached)
    return replace(link, carrier=carrier, addresses=tuple(sorted(link.addresses)), settings=settings)


def _listed(link: Link) -> Mapping[str, object]:
    """What Kernel tells of a bond: the rest its mode does not know, or is switched off."""
    if link.kind != "bond":
        return link.settings
    unknown = {"ad_lacp_rate"} if link.settings["mode"] != _LACP else set()
    return {
        key: value for key, value in link.settings.items() if key not in unknown and (value or key != "arp_interval")
    }


def _check_bond(action: Create) -> None:
    """What a bond's mode does not know it refuses, even switched off (bond_opt_check_deps, bond_options.c)."""
    mode = action.settings.get("mode", 0)
    if "ad_lacp_rate" in action.settings and mode != _LACP:
        raise HostError(f"{action}: Permission denied")
    if "arp_interval" in action.settings and mode in _MODES_WITHOUT_ARP:
        raise HostError(f"{action}: Permission denied")
    if action.settings.get("arp_interval") and action.settings.get("miimon"):
        raise HostError(f"{action}: Invalid argument")
