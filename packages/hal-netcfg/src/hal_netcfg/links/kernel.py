"""The kernel's interfaces, read and changed: the only module that speaks netlink, by pyroute2.

Only what its releases from 0.5.14 (EPEL 9) to 0.9 have in common is used. It is synchronous, and must not be called
from a running event loop: 0.9 has one of its own inside.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, Optional

from hal_core.errors import HostError
from hal_netcfg.links import direct, kernelfile, tap
from hal_netcfg.links.action import Action, Address, Change, Create, Delete, Ipv6
from hal_netcfg.links.direct import Direct
from hal_netcfg.links.link import Link
from hal_netcfg.links.netlink import IPRoute, NetlinkError

logger = logging.getLogger(__name__)

# include/uapi/linux/if.h
_IFF_UP, _IFF_NOARP, _IFF_ALLMULTI, _IFF_LOWER_UP = 0x1, 0x80, 0x200, 0x10000
# A request and its acknowledgement. With the flags that pyroute2 0.5 gives removals, kernels since 6.0 refuse them: one
# of the bits has got another meaning (NLM_F_BULK, include/uapi/linux/netlink.h).
_RTM_DELLINK, _RTM_DELADDR, _ACKNOWLEDGED = 17, 21, 0x5

# Our names for the settings of each kind, and the kernel's attributes (include/uapi/linux/if_link.h).
_SETTINGS = {
    "bridge": {
        "stp_state": "IFLA_BR_STP_STATE",
        "forward_delay": "IFLA_BR_FORWARD_DELAY",
        "mcast_snooping": "IFLA_BR_MCAST_SNOOPING",
        "group_fwd_mask": "IFLA_BR_GROUP_FWD_MASK",
        "nf_call_iptables": "IFLA_BR_NF_CALL_IPTABLES",
        "nf_call_ip6tables": "IFLA_BR_NF_CALL_IP6TABLES",
        "nf_call_arptables": "IFLA_BR_NF_CALL_ARPTABLES",
    },
    "bond": {
        "mode": "IFLA_BOND_MODE",
        "miimon": "IFLA_BOND_MIIMON",
        "arp_interval": "IFLA_BOND_ARP_INTERVAL",
        "ad_lacp_rate": "IFLA_BOND_AD_LACP_RATE",
    },
    "macvtap": {"mode": "IFLA_MACVTAP_MODE"},
}
_LACP = 4  # include/uapi/linux/if_bonding.h, BOND_MODE_8023AD
_QUEUE, _NO_QUEUE = "pfifo_fast", "noqueue"  # tc(8)
_PREFIX = {"bridge": "br", "bond": "bond", "macvtap": "macvtap"}  # of the same in pyroute2's requests

_REASONS = {
    errno.EPERM: ("not permitted", "run this as root"),
    errno.ENODEV: ("it has gone", ""),
    errno.EBUSY: ("another program or bridge has it", "ip -d link show"),
    errno.EOPNOTSUPP: ("its driver or this kernel does not do that", ""),
    errno.ENOENT: ("this kernel does not have that kind of interface", ""),
}


class Kernel:
    """A netlink socket. One thread uses it.

    :param permanent: the permanent MAC address of each NIC, by name: netlink tells it only to newer pyroute2.
    :param run_dir: where it is written down which NICs are the product's as they are; "": none is.
    :raise HostError: this process may not have one.
    """

    def __init__(self, permanent: Callable[[], Mapping[str, str]] = dict, run_dir: str = "") -> None:
        self._permanent = permanent
        self._direct = Direct(run_dir, self._prepare_function) if run_dir else None
        try:
            self._route = IPRoute()
        except OSError as error:
            raise HostError(f"no netlink socket: {error.strerror or error}") from None

    def close(self) -> None:
        self._route.close()

    def links(self) -> dict[str, Link]:
        """All interfaces by name, those of HAL and the others.

        :raise HostError: the kernel does not tell.
        """
        try:
            messages = list(self._route.get_links())
            addresses = self._addresses()
        except (NetlinkError, OSError) as error:
            raise HostError(f"the kernel does not list its interfaces: {error}") from None
        names = {message["index"]: message.get_attr("IFLA_IFNAME") for message in messages}
        permanent = self._permanent()
        found = {
            names[message["index"]]: _link(message, names, addresses.get(message["index"], ()), permanent)
            for message in messages
        }
        found.update((link.name, link) for link in (self._direct.links() if self._direct else ()))
        return found

    def perform(self, action: Action) -> None:
        """One change.

        :raise HostError: the kernel refuses it; one line says why.
        """
        try:
            self._perform(action)
        except NetlinkError as error:
            raise _refusal(action, error.code) from None
        except OSError as error:
            if isinstance(action, Create) and error.errno:
                raise _refusal(action, error.errno) from None
            raise HostError(f"{action}: {error.strerror or error}") from None

    def _perform(self, action: Action) -> None:
        if self._direct and direct.is_direct(action.name):
            if isinstance(action, Create):
                self._direct.make(action.name, action.settings)
            elif isinstance(action, Delete):
                self._direct.remove(action.name)
        elif isinstance(action, Create):
            self._create(action)
        elif isinstance(action, Delete):
            self._route.link((_RTM_DELLINK, _ACKNOWLEDGED), index=socket.if_nametoindex(action.name))
        elif isinstance(action, Change):
            self._change(action)
        elif isinstance(action, Ipv6):
            set_ipv6(action.name, action.on)
        else:
            self._address(action)

    def _create(self, action: Create) -> None:
        if action.kind == "tun":
            tap.make(action.name)
            return
        more: dict[str, Any] = _request(action.kind, action.settings)
        if action.lower:
            more["link"] = socket.if_nametoindex(action.lower)
        self._route.link("add", ifname=action.name, kind=action.kind, **more)
        for target in _strings(action.settings.get(_ARP_TARGETS)):
            kernelfile.write(_arp_targets(action.name), f"+{target}")

    def _change(self, action: Change) -> None:
        index = socket.if_nametoindex(action.name)
        if action.settings:
            self._route.link("set", index=index, kind=action.kind, **_request(action.kind, action.settings))
        self._set(action, index)
        if action.queued is not None:
            self._route.tc("replace", _QUEUE if action.queued else _NO_QUEUE, index)
        if action.learning is not None:
            self._learn(action.learning, index)

    def _set(self, action: Change, index: int) -> None:
        """What the kernel takes in one request."""
        request: dict[str, Any] = {"index": index}
        if action.mac is not None:
            request["address"] = action.mac
        if action.mtu is not None:
            request["mtu"] = action.mtu
        if action.master is not None:
            request["master"] = socket.if_nametoindex(action.master) if action.master else 0
        flags = {_IFF_UP: action.up, _IFF_NOARP: action.noarp, _IFF_ALLMULTI: action.allmulti}
        request["change"] = sum(bit for bit, on in flags.items() if on is not None)
        request["flags"] = sum(bit for bit, on in flags.items() if on)
        if len(request) == 3 and not request["change"]:
            return
        try:
            self._route.link("set", **request)
        except NetlinkError as error:
            if error.code != errno.EBUSY or action.mac is None:
                raise
            # Some drivers change their address only while they are down.
            was = next(iter(self._route.get_links(index)))["flags"] & _IFF_UP
            self._route.link("set", index=index, flags=0, change=_IFF_UP)
            try:
                self._route.link("set", **request)
            finally:
                if action.up is None:
                    self._route.link("set", index=index, flags=was, change=_IFF_UP)

    def _learn(self, on: bool, index: int) -> None:
        """A port that stops learning goes by what it has learned for 300 s more: an address that has moved by then gets
        no frame. So it forgets that, in the same request: who is killed between two would never send the second.
        """
        forget = {} if on else {"flush": True}
        self._route.brport("set", index=index, learning=int(on), **forget)

    def _prepare_function(self, nic: str, mac: str) -> None:
        """What virtual function 0 of a NIC wears, and that it may wear others beside it: VRRP, bridges in the product.

        :raise HostError: the NIC's driver does not do that. Without the second the product has its address, at least.
        """
        index = socket.if_nametoindex(nic)
        # One request each: a driver may know the one and not the other.
        settings: tuple[tuple[str, object], ...] = (("mac", mac), ("trust", 1), ("spoofchk", 0))
        for name, value in settings:
            try:
                self._route.link("set", index=index, vf={"vf": 0, name: value})
            except NetlinkError as error:
                reason = _REASONS.get(error.code, (os.strerror(error.code), ""))[0]
                message = f"{nic}: {name} of its virtual function cannot be set: {reason}"
                if name == "mac" or error.code != errno.EOPNOTSUPP:
                    raise HostError(message) from None
                logger.warning("%s", message)

    def _address(self, action: Address) -> None:
        interface = ipaddress.ip_interface(action.address)
        command: Any = "add" if action.present else (_RTM_DELADDR, _ACKNOWLEDGED)
        index = socket.if_nametoindex(action.name)
        family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
        request = {"index": index, "address": str(interface.ip), "prefixlen": interface.network.prefixlen}
        try:
            self._route.addr(command, family=family, **request)
        except NetlinkError as error:
            # Others of its network go with the first one (ip-sysctl.rst, promote_secondaries).
            if action.present or error.code != errno.EADDRNOTAVAIL:
                raise

    def _addresses(self) -> dict[int, tuple[str, ...]]:
        found: dict[int, list[str]] = {}
        for message in self._route.get_addr():
            address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            found.setdefault(message["index"], []).append(f"{address}/{message['prefixlen']}")
        return {index: tuple(sorted(held)) for index, held in found.items()}


def _refusal(action: Action, number: int) -> HostError:
    """:param number: the kernel's, of errno.h."""
    reason, hint = _REASONS.get(number, (os.strerror(number), ""))
    made = isinstance(action, (Create, Delete))
    return HostError(f"cannot {action}: {reason}" if made else f"{action}: {reason}", hint)


def _link(message: Any, names: Mapping[int, str], addresses: tuple[str, ...], permanent: Mapping[str, str]) -> Link:
    name = message.get_attr("IFLA_IFNAME")
    info = message.get_attr("IFLA_LINKINFO")
    kind = str(info.get_attr("IFLA_INFO_KIND") or "") if info else ""
    flags = message["flags"]
    return Link(
        name=name,
        index=message["index"],
        kind="" if name in permanent else kind,
        mac=message.get_attr("IFLA_ADDRESS") or "",
        permanent=permanent.get(name, ""),
        mtu=message.get_attr("IFLA_MTU") or 0,
        max_mtu=message.get_attr("IFLA_MAX_MTU") or 0,
        master=names.get(message.get_attr("IFLA_MASTER") or 0, ""),
        # A veth's other end, in another namespace, is no interface of this one, whatever its number.
        lower="" if kind == "veth" else names.get(message.get_attr("IFLA_LINK") or 0, ""),
        up=bool(flags & _IFF_UP),
        carrier=bool(flags & _IFF_UP and flags & _IFF_LOWER_UP),
        noarp=bool(flags & _IFF_NOARP),
        allmulti=bool(flags & _IFF_ALLMULTI),
        queued=kind != "tun" or message.get_attr("IFLA_QDISC") != _NO_QUEUE,
        learning=_is_learning(info),
        ipv6=has_ipv6(name),
        addresses=addresses,
        settings=_settings(name, kind, info.get_attr("IFLA_INFO_DATA") if info else None),
    )


def _settings(name: str, kind: str, data: Any) -> dict[str, object]:
    if data is None or kind not in _SETTINGS:
        return {}
    found = {ours: data.get_attr(theirs) for ours, theirs in _SETTINGS[kind].items()}
    if kind == "bond":
        found[_ARP_TARGETS] = _read_arp_targets(name)
        # What its mode does not know a bond lists all the same, and refuses to be made with (bond_options.c).
        if found["mode"] != _LACP:
            del found["ad_lacp_rate"]
        if not found["arp_interval"]:
            del found["arp_interval"]
    return {ours: value for ours, value in found.items() if value is not None}


def _is_learning(info: Any) -> bool:
    is_bridges = info and info.get_attr("IFLA_INFO_SLAVE_KIND") == "bridge"
    port: Any = info.get_attr("IFLA_INFO_SLAVE_DATA") if is_bridges else None
    return port is None or port.get_attr("IFLA_BRPORT_LEARNING") != 0


def _request(kind: str, settings: Mapping[str, object]) -> dict[str, Any]:
    return {f"{_PREFIX[kind]}_{key}": value for key, value in settings.items() if key != _ARP_TARGETS}


# --- a bond's ARP targets: by sysfs, because pyroute2 0.5 cannot put them into a message -------------------------
# Documentation/networking/bonding.rst, "Configuring Bonding Manually via Sysfs"

_ARP_TARGETS = "arp_ip_target"


def _arp_targets(name: str) -> str:
    return f"/sys/class/net/{name}/bonding/arp_ip_target"


def _read_arp_targets(name: str) -> Optional[tuple[str, ...]]:
    try:
        with open(_arp_targets(name)) as file:
            return tuple(file.read().split()) or None
    except OSError:
        return None  # it has gone in the meantime


def _strings(value: object) -> tuple[str, ...]:
    return tuple(str(one) for one in value) if isinstance(value, tuple) else ()


# --- IPv6: Documentation/networking/ip-sysctl.rst, disable_ipv6 ------------------------------------------------------


def has_ipv6(name: str) -> bool:
    """False, too, where the kernel has no IPv6 at all."""
    try:
        with open(_disable_ipv6(name)) as file:
            return file.read().strip() == "0"
    except OSError:
        return False


def set_ipv6(name: str, on: bool) -> None:
    """:raise OSError: not permitted, or the interface has gone."""
    kernelfile.write(_disable_ipv6(name), "0" if on else "1")


def _disable_ipv6(name: str) -> str:
    return f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6"
