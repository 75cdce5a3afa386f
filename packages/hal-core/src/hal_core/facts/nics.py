"""Physical Ethernet ports (Documentation/ABI/testing/sysfs-class-net of Linux).

A port is an interface of type Ethernet with a device behind it. Left out, for these reasons:

* InfiniBand (its type is another one) and everything virtual: bridges, bonds, VLANs, taps (no device behind them).
* Wireless: an access point accepts no frames from a second address behind a station, so it cannot be handed over.
* SR-IOV virtual functions (``device/physfn``): shares of a port that is already in the list.

A NIC that HAL has handed to the product whole is no interface at the moment, and a NIC of this server all the same:
:mod:`hal_core.lent` tells of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, Optional

from hal_core import lent
from hal_core.facts import numa, parse, passthrough, udevdb
from hal_core.facts.tree import Tree
from hal_core.lent import Lent
from hal_core.machine_nic import Nic

ROOT = "/sys/class/net"
PERMANENT = "/hal/nics"  # where a recording keeps what ethtool said: /hal/nics/eth0/permaddr
LENT = "/hal/lent-nics"  # … and what hal-netcfg has written down of NICs that are the product's

_ETHERNET = 1  # ARPHRD_ETHER, include/uapi/linux/if_arp.h
_MAC = re.compile("(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_NO_MAC = ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff")
_PERMANENT_TYPE = 0  # NET_ADDR_PERM, include/uapi/linux/netdevice.h


class _Bond(NamedTuple):
    name: str
    mac: str  # the permanent address of the port in it


def read(tree: Tree) -> tuple[Nic, ...]:
    """In the host's order: by PCI address, then by the port on the card, then by name."""
    names = [name for name in tree.names(ROOT) if is_port(tree, name)]
    bonds = _bonds(tree)
    vlans = _vlans(tree)
    found = [(_order(tree, name), _nic(tree, name, bonds, vlans)) for name in names]
    found += [(_order_of_lent(one), _lent(tree, one)) for one in _lent_whole(tree) if one.nic not in names]
    return tuple(nic for _, nic in sorted(found, key=lambda pair: pair[0]))


def is_port(tree: Tree, name: str) -> bool:
    """Whether the interface of this name is one."""
    directory = f"{ROOT}/{name}"
    return (
        tree.integer(f"{directory}/type") == _ETHERNET
        and tree.exists(f"{directory}/device")
        and not tree.exists(f"{directory}/device/physfn")
        and not tree.exists(f"{directory}/phy80211")
        and not tree.exists(f"{directory}/wireless")
    )


def _order(tree: Tree, name: str) -> tuple[object, ...]:
    """``dev_port`` counts the ports of one PCI function (since 3.15); before, drivers used ``dev_id`` for it."""
    directory = f"{ROOT}/{name}"
    device = tree.resolve(f"{directory}/device")
    chain = parse.pci_chain(device)
    port = tree.integer(f"{directory}/dev_port") or tree.integer(f"{directory}/dev_id", 16) or 0
    behind = device.rpartition(chain[-1])[2] if chain else device
    return (not chain, parse.pci_key(chain[-1]) if chain else (), parse.natural(behind), port, parse.natural(name))


def _nic(tree: Tree, name: str, bonds: Mapping[str, _Bond], vlans: Mapping[str, list[str]]) -> Nic:
    directory = f"{ROOT}/{name}"
    device = tree.resolve(f"{directory}/device")
    chain = parse.pci_chain(device)
    bus = tree.link(f"{directory}/device/subsystem") or ("pci" if chain and device.endswith(chain[-1]) else "")
    bond = bonds.get(name)
    master = tree.link(f"{directory}/master") or tree.link(f"{directory}/brport/bridge") or (bond.name if bond else "")
    speed = tree.integer(f"{directory}/speed")
    carrier = tree.integer(f"{directory}/carrier")
    # A USB adapter is found again by its USB port, everything else by the PCI device that it is, or is behind.
    bus_path = device.rpartition("/")[2] if bus == "usb" or not chain else chain[-1]
    return Nic(
        name=name,
        mac=_permanent_mac(tree, name, bond, bool(master)),
        driver=tree.link(f"{directory}/device/driver"),
        bus=bus,
        bus_path=bus_path,
        speed_mbps=speed if speed and speed > 0 else None,  # -1: no link
        carrier=None if carrier is None else carrier == 1,
        mtu=tree.integer(f"{directory}/mtu"),
        master=master,
        vlans=tuple(_vlans_on(tree, name) or vlans.get(name, ())),
        node=numa.node_of_device(tree, _controller(device, chain)),
        passthrough=passthrough.read(tree, bus_path) if bus in ("pci", "virtio") else None,
    )


def _lent_whole(tree: Tree) -> list[Lent]:
    """What is damaged there is not known; hal-netcfg says so."""
    text = tree.text(LENT)
    try:
        every = lent.parsed(text) if text else {}
    except ValueError:
        return []
    return [one for one in every.values() if tree.link(f"/sys/bus/pci/devices/{one.pci}/driver") == "vfio-pci"]


def _order_of_lent(one: Lent) -> tuple[object, ...]:
    """Where it was as an interface: only NICs with one port on their PCI function are handed over whole."""
    return (False, parse.pci_key(one.pci), parse.natural(""), 0, parse.natural(one.nic))


def _lent(tree: Tree, one: Lent) -> Nic:
    return Nic(
        name=one.nic,
        mac=one.mac,
        driver=one.driver,
        bus="pci",
        bus_path=one.pci,
        speed_mbps=None,
        carrier=None,
        mtu=None,
        master="",
        vlans=(),
        node=numa.node_of_device(tree, f"/sys/bus/pci/devices/{one.pci}"),
        passthrough=passthrough.read(tree, one.pci),
        lent=True,
    )


def _controller(device: str, chain: list[str]) -> str:
    return device[: device.rindex(chain[-1]) + len(chain[-1])] if chain else device


def _permanent_mac(tree: Tree, name: str, bond: Optional[_Bond], has_master: bool) -> str:
    """The address that the card was made with; ``""`` if nothing tells.

    ``address`` is what it wears at the moment. The kernel says whether that is the permanent one, but a bond puts
    its own address on its ports without changing that word (Documentation/networking/bonding.rst, fail_over_mac).
    udev writes its name for an address only while that is permanent (systemd.net-naming-scheme(7)).
    """
    directory = f"{ROOT}/{name}"
    asked = _mac(tree.line(f"{PERMANENT}/{name}/permaddr")) or (bond.mac if bond else "")
    if asked:
        return asked
    from_udev = re.fullmatch("enx([0-9a-f]{12})", udevdb.interface(tree, directory).get("ID_NET_NAME_MAC", ""))
    if from_udev:
        return _mac(":".join(re.findall("..", from_udev[1])))
    # Before 3.6 (with the value 3) the kernel did not tell a changed address from a permanent one.
    if (tree.integer(f"{directory}/addr_assign_type") or 0) != _PERMANENT_TYPE or (has_master and bond):
        return ""
    return _mac(tree.line(f"{directory}/address"))


def _mac(text: str) -> str:
    mac = text.strip().lower()
    return mac if _MAC.fullmatch(mac) and mac not in _NO_MAC else ""


def _bonds(tree: Tree) -> dict[str, _Bond]:
    """The ports of every bond, from the bonding driver's own report."""
    found = {}
    for bond in tree.names("/proc/net/bonding"):
        port = ""
        for line in tree.text(f"/proc/net/bonding/{bond}").splitlines():
            key, _, value = line.partition(": ")
            if key == "Slave Interface":
                port = value.strip()
                found[port] = _Bond(bond, "")
            elif key == "Permanent HW addr" and port:
                found[port] = _Bond(bond, _mac(value))
    return found


def _vlans_on(tree: Tree, name: str) -> list[str]:
    """The VLAN devices right on top, by the links that the kernel makes since 3.13."""
    above = [link[len("upper_") :] for link in tree.names(f"{ROOT}/{name}", "upper_")]
    return [upper for upper in above if "DEVTYPE=vlan" in tree.text(f"{ROOT}/{upper}/uevent").split()]


def _vlans(tree: Tree) -> dict[str, list[str]]:
    """``/proc/net/vlan/config``, for kernels before 3.13: ``eth0.5  | 5  | eth0``."""
    found: dict[str, list[str]] = {}
    for line in tree.text("/proc/net/vlan/config").splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) == 3 and fields[1].isdigit():
            found.setdefault(fields[2], []).append(fields[0])
    return found
