"""Ethernet ports: which are physical, what their permanent address is, in which order they stand."""

from __future__ import annotations

import errno
import os
import socket
from typing import Union

import pytest

from hal_core.anonymize import Recording
from hal_core.facts import live, nics
from hal_core.facts.tree import DirectoryStore, Tree
from hal_core.machine import Nic
from hal_core.testing import sysfs

MAC = "00:1b:21:aa:bb:cc"
OTHER = "02:00:00:00:00:01"
NET = "/sys/class/net"


class Files:
    """The files of a few interfaces."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.links: dict[str, str] = {}

    def put(self, path: str, text: Union[str, int]) -> None:
        self.files[path] = f"{text}\n".encode()

    def port(self, name: str, pci: str = "0000:01:00.0", way: str = "", **values: Union[str, int]) -> str:
        """A PCI port, or with ``way`` one behind it; returns the directory of its device."""
        device = f"/sys/devices/pci0000:00/0000:00:01.0/{pci}{way}"
        directory = f"{device}/net/{name}"
        for key, value in {"type": 1, "address": MAC, **values}.items():
            self.put(f"{directory}/{key}", value)
        self.links[f"{NET}/{name}"] = directory
        self.links[f"{directory}/device"] = device
        return device

    def virtual(self, name: str, kind: str = "") -> None:
        self.put(f"/sys/devices/virtual/net/{name}/type", 1)
        self.put(f"/sys/devices/virtual/net/{name}/uevent", f"DEVTYPE={kind}\nINTERFACE={name}")
        self.links[f"{NET}/{name}"] = f"../../devices/virtual/net/{name}"

    def read(self) -> tuple[Nic, ...]:
        return nics.read(sysfs.tree(Recording(self.files, self.links, ())))


def test_only_physical_ethernet_ports_are_nics() -> None:
    files = Files()
    files.port("eth0")
    for name in ("lo", "bond0", "br0", "eth0.5", "tap0", "bonding_masters"):
        files.virtual(name)
    files.port("ib0", "0000:02:00.0", type=32)
    files.put(f"{files.port('wlan0', '0000:03:00.0')}/net/wlan0/phy80211/index", 0)
    files.put(f"{files.port('wlan1', '0000:03:00.1')}/net/wlan1/wireless/status", 0)
    files.links[f"{files.port('eth0v0', '0000:01:10.0')}/physfn"] = "../0000:01:00.0"
    assert [nic.name for nic in files.read()] == ["eth0"]


def test_what_is_known_of_a_port() -> None:
    files = Files()
    device = files.port("eth0", speed=10000, carrier=1, mtu=9000)
    files.links[f"{device}/driver"] = "../../../bus/pci/drivers/ixgbe"
    files.links[f"{device}/subsystem"] = "../../../bus/pci"
    files.put(f"{device}/numa_node", 1)
    (nic,) = files.read()
    assert (nic.driver, nic.bus, nic.bus_path, nic.node) == ("ixgbe", "pci", "0000:01:00.0", 1)
    assert (nic.speed_mbps, nic.carrier, nic.mtu, nic.master, nic.vlans) == (10000, True, 9000, "", ())


def test_a_port_that_is_down_has_no_speed_and_no_carrier() -> None:
    files = Files()
    files.port("eth0", speed=-1, carrier=0)
    files.port("eth1", "0000:01:00.1")
    first, second = files.read()
    assert (first.speed_mbps, first.carrier) == (None, False)
    assert (second.speed_mbps, second.carrier, second.mtu, second.node) == (None, None, None, None)
    assert second.bus == "pci"  # even where a recording lacks the link to the subsystem


def test_buses() -> None:
    files = Files()
    virtio = files.port("eth0", "0000:00:03.0", way="/virtio2")
    files.links[f"{virtio}/subsystem"] = "../../../../bus/virtio"
    usb = files.port("eth1", "0000:00:14.0", way="/usb1/1-4/1-4:1.0")
    files.links[f"{usb}/subsystem"] = "../../../../../../bus/usb"
    found = {nic.name: (nic.bus, nic.bus_path) for nic in files.read()}
    assert found == {"eth0": ("virtio", "0000:00:03.0"), "eth1": ("usb", "1-4:1.0")}


def test_the_hosts_order_is_by_address_then_port_then_name() -> None:
    files = Files()
    files.port("eth0", "0000:1a:00.0", dev_port=0)
    files.port("eth9", "0000:0b:00.0", dev_port=1)
    files.port("eth10", "0000:0b:00.0", dev_port=0)
    files.port("eth3", "0000:0b:00.1", dev_id="0xa")
    files.port("eth2", "0000:0b:00.1", dev_id="0xb")
    files.port("vmd0", "10000:01:00.0")
    assert [nic.name for nic in files.read()] == ["eth10", "eth9", "eth3", "eth2", "eth0", "vmd0"]


@pytest.mark.parametrize(
    ("assigned", "expected"),
    [(None, MAC), (0, MAC), (1, ""), (2, ""), (3, "")],
)
def test_the_address_is_permanent_only_if_the_kernel_says_so_or_is_too_old_to(
    assigned: int | None, expected: str
) -> None:
    files = Files()
    files.port("eth0")
    if assigned is not None:
        files.port("eth0", addr_assign_type=assigned)
    assert [nic.mac for nic in files.read()] == [expected]


def test_what_ethtool_said_wins() -> None:
    files = Files()
    files.port("eth0", address=OTHER, addr_assign_type=3)
    files.put("/hal/nics/eth0/permaddr", MAC.upper())
    assert [nic.mac for nic in files.read()] == [MAC]


@pytest.mark.parametrize("nonsense", ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "", "00:1b:21", "a" * 59])
def test_an_address_that_is_none_is_not_taken(nonsense: str) -> None:
    files = Files()
    files.port("eth0")
    files.put("/hal/nics/eth0/permaddr", nonsense)
    assert [nic.mac for nic in files.read()] == [MAC]
    files.port("eth0", address=nonsense)
    assert [nic.mac for nic in files.read()] == [""]


def test_udevs_name_for_the_address_is_that_of_the_permanent_one() -> None:
    files = Files()
    files.port("eth0", address=OTHER, addr_assign_type=3, ifindex=2)
    files.put("/run/udev/data/n2", "I:1\nE:ID_NET_NAME_MAC=enx001b21aabbcc")
    assert [nic.mac for nic in files.read()] == [MAC]


BOND = f"""Ethernet Channel Bonding Driver: v5.15

Slave Interface: eth0
MII Status: up
Permanent HW addr: {MAC}
Slave queue ID: 0

Slave Interface: eth1
MII Status: up
"""


def test_ports_of_a_bond_wear_the_bonds_address() -> None:
    files = Files()
    for index in (0, 1):
        files.port(f"eth{index}", f"0000:01:00.{index}", address=OTHER, addr_assign_type=0)
    files.virtual("bond0")
    files.put("/proc/self/net/bonding/bond0", BOND)
    files.links["/proc/net"] = "self/net"
    first, second = files.read()
    assert (first.master, first.mac) == ("bond0", MAC)
    assert (second.master, second.mac) == ("bond0", "")  # its own is nowhere to be read


def test_bridges_and_vlans() -> None:
    files = Files()
    eth0 = f"{files.port('eth0')}/net/eth0"
    eth1 = f"{files.port('eth1', '0000:01:00.1')}/net/eth1"
    files.virtual("br0", "bridge")
    files.virtual("eth0.5", "vlan")
    files.virtual("eth0.10", "vlan")
    files.virtual("mac0", "macvlan")
    files.links[f"{eth0}/master"] = f"{NET}/br0"
    files.links[f"{eth1}/brport/bridge"] = f"{NET}/br0"
    for upper in ("br0", "eth0.5", "eth0.10", "mac0"):
        files.links[f"{eth0}/upper_{upper}"] = f"{NET}/{upper}"
    first, second = files.read()
    assert (first.master, first.vlans) == ("br0", ("eth0.5", "eth0.10"))
    assert (second.master, second.vlans) == ("br0", ())
    assert first.mac == MAC  # unlike a bond, a bridge leaves its ports' addresses alone


def test_vlans_of_old_kernels() -> None:
    files = Files()
    files.port("eth0")
    header = "VLAN Dev name    | VLAN ID\nName-Type: VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD"
    files.put("/proc/net/vlan/config", f"{header}\neth0.5         | 5  | eth0\neth9.7 | 7 | eth9")
    assert [nic.vlans for nic in files.read()] == [("eth0.5",)]


def test_a_sandbox_without_sockets_leaves_it_to_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    monkeypatch.setattr(socket, "socket", refuse)
    assert live.permanent_addresses() == {}


def test_this_hosts_addresses_are_those_of_sysfs_where_they_are_permanent() -> None:
    """The ioctl against the kernel's own word, for every NIC that this machine has (on CI mostly one)."""
    tree = Tree(DirectoryStore("/"))
    for path, content in live.permanent_addresses().items():
        name = path.split("/")[-2]
        assert path == f"{nics.PERMANENT}/{name}/permaddr"
        length = tree.integer(f"{NET}/{name}/addr_len")
        assert len(content.split(b":")) == length
        if tree.integer(f"{NET}/{name}/addr_assign_type") == 0 and not tree.link(f"{NET}/{name}/master"):
            assert content.decode().strip() == tree.line(f"{NET}/{name}/address")
