"""The ``[netcfg]`` table of hal.toml. With no file at all every NIC is a LAN of the product's own."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hal_core.config import numbered, option
from hal_core.errors import ConfigError

MODES = ("bridge", "macvtap", "sriov", "vfio")
BONDS = ("active-backup", "802.3ad", "balance-xor", "balance-rr", "broadcast", "balance-tlb")
LOWEST_MTU, HIGHEST_MTU = 68, 65535  # what IPv4 needs at least (RFC 791), and the largest that Linux allows


@dataclass(frozen=True)
class LanConfig:
    nics: tuple[str, ...] = option(
        (),
        "NICs that this LAN leads to, each by name or permanent MAC address. Empty: the one NIC that the product's NIC "
        "stands for. Several are a bond on the host, and the product's other NICs, whose ports these are, have no "
        "link.",
        pattern=r"[^\s/]{1,17}",
    )
    mode: str = option(
        "bridge",
        'How the product gets at it: "bridge"; "macvtap", without a bridge, so that LACP reaches the product, too; '
        '"vfio", the NIC itself as a PCI device; "sriov", a virtual function of it. The last two need an IOMMU, and '
        "the product's own driver for the NIC; refused, with the reason, where they cannot be.",
        choices=MODES,
    )
    mtu: int = option(0, "MTU of the NICs in bytes. 0: netcfg.mtu.", low=0, high=HIGHEST_MTU)
    bond: str = option("active-backup", "Mode of the bond, where nics names several.", choices=BONDS)
    lacp_rate: str = option("slow", "How often LACP partners hear of each other (802.3ad).", choices=("slow", "fast"))
    miimon: int = option(
        100, "Milliseconds between looks at the carrier of the bond's NICs. 0: not at all.", low=0, high=10000
    )
    arp_interval: int = option(
        0,
        "Milliseconds between ARP probes, in place of miimon (not with 802.3ad and balance-tlb). They have no sender "
        "address. 0: none.",
        low=0,
        high=60000,
    )
    arp_targets: tuple[str, ...] = option(
        (), "IPv4 addresses that are probed, 16 at most.", pattern=r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}"
    )


@dataclass(frozen=True)
class NetcfgConfig:
    """The product's network: what its NICs lead to, and its private link to the host."""

    mtu: int = option(
        0,
        "MTU of all NICs in bytes, for a product that sends jumbo frames: 9000. What the product itself uses is the "
        "product's business, as on bare metal. 0: as each NIC has it, that is 1500.",
        low=0,
        high=HIGHEST_MTU,
    )
    down_with_product: bool = option(
        False, "Take the NICs down while there is no product, so that the switch sees what a server that is off shows."
    )
    link_network: str = option(
        "169.254.72.0/30",
        "IPv4 network of the private link between host and product: four addresses, of which the second is the host's "
        "and the third the product's. Change it, in the product too, only where the LAN uses these.",
        pattern=r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}/30",
    )
    lan: Mapping[int, LanConfig] = numbered(
        LanConfig, "One LAN of the product: N is the number of the product's NIC, from 0.", low=0, high=127
    )

    def wrong(self) -> Iterator[ConfigError]:
        """What no LAN could be made with. What is wrong with one LAN alone is a problem of that one: see plan.lans."""
        try:
            ipaddress.IPv4Network(self.link_network)
        except ValueError as error:
            reason = str(error).replace(self.link_network, "it")
            yield ConfigError(
                f'netcfg.link_network = "{self.link_network}": {reason}; allowed is an IPv4 network of four addresses',
                "its last number is a multiple of four, as in 169.254.72.0/30",
            )
        mtus = {"netcfg": self.mtu, **{f"netcfg.lan.{number}": lan.mtu for number, lan in self.lan.items()}}
        for key, mtu in mtus.items():
            if 0 < mtu < LOWEST_MTU:
                yield ConfigError(f"{key}.mtu = {mtu}: allowed is 0, or from {LOWEST_MTU} to {HIGHEST_MTU}")
