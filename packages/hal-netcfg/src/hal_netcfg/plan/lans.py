"""Every physical NIC becomes a LAN of the product's, in the product's order; configuration makes the exceptions."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Optional

from hal_core.machine_nic import Nic
from hal_netcfg.config import LanConfig, NetcfgConfig
from hal_netcfg.plan import direct
from hal_netcfg.plan.direct import Ability
from hal_netcfg.plan.macs import host_mac
from hal_netcfg.plan.network import Bond, HostLink, Kept, Lan, Network, Port, Problem, ProductNic

_ANY = Ability()
_UNPLANNED = (
    "not in hal-vmm's plan yet, and so it leads nowhere until hal-netcfg.service, or hal vmm apply, has it planned"
)
_MOST_ARP_TARGETS = 16  # BOND_MAX_ARP_TARGETS, include/net/bonding.h
_NO_ARP = ("802.3ad", "balance-tlb")  # Documentation/networking/bonding.rst, arp_interval


def product_nics(nics: Sequence[Nic]) -> tuple[ProductNic, ...]:
    """What hal-vmm will plan for a server that it has not planned for yet: its NICs, in its own order."""
    given = [nic for nic in nics if nic.mac and nic.bus != "usb"]
    return tuple(ProductNic(number, nic.mac) for number, nic in enumerate(given))


def plan(
    nics: Sequence[Nic],
    product: Optional[Sequence[ProductNic]],
    config: NetcfgConfig,
    ability: Ability = _ANY,
    others: Optional[Collection[str]] = None,
) -> Network:
    """The whole network.

    A LAN that cannot be as it is configured is left out and is a problem; all others are planned.

    :param nics: the server's, in its own order.
    :param product: the product's, as hal-vmm has planned them; None: it has not yet. Guessing would be worse than
        waiting: a wrong guess connects the product to somebody else's LAN.
    :param ability: whether QEMU can be handed a NIC; the default is that it can.
    :param others: what else hal-vmm knows of, NICs by name or address. One that is not there either came after its
        plan, and will most probably be the product's: it must not become the host's meanwhile. None: it does not say.
    """
    link = HostLink(config.link_network)
    if product is None:
        note = "hal-vmm has not planned the product's NICs yet (hal vmm apply): there are no LANs until it has"
        return Network((), link, notes=(note,), planned=False)
    given = {nic.mac for nic in product}
    owned = [nic for nic in nics if nic.mac in given]
    unplanned = tuple(nic.name for nic in nics if nic.mac not in given and _is_unplanned(nic, others))
    chosen, problems, notes = _chosen(nics, owned, product, config)
    claims = Counter(nic.name for found in chosen.values() for nic in found)
    problems += _claimed_twice(chosen, claims)
    lans = []
    unclaimed = [nic for nic in owned if not claims[nic.name]]
    for product_nic in sorted(product, key=lambda nic: nic.number):
        number, lan_config = product_nic.number, config.lan.get(product_nic.number, LanConfig())
        ports = chosen.get(number)
        if ports is None:
            # One of them, where several have the same address: two cables in one bridge are a loop.
            ports = tuple(nic for nic in unclaimed if nic.mac == product_nic.mac)[:1]
            unclaimed = [nic for nic in unclaimed if nic not in ports]
        problems += [Problem(number, message) for message in _wrong(number, lan_config)]
        problems += [
            Problem(number, message)
            for message in direct.wrong(f"netcfg.lan.{number}", lan_config, product_nic.mac, ports, ability)
        ]
        lans.append(_lan(product_nic, ports, lan_config, config))
    untouched = frozenset(problem.number for problem in problems if problem.number is not None)
    lans = [lan for lan in lans if lan.number not in untouched]
    notes += [_without_link(lan, chosen, owned) for lan in lans if not lan.ports]
    notes += [f"{name}: {_UNPLANNED}" for name in unplanned]
    return Network(
        lans=tuple(lans),
        link=link,
        kept=tuple(_kept(nic) for nic in nics if nic.mac not in given and nic.name not in unplanned),
        unplanned=unplanned,
        problems=tuple(problems),
        notes=tuple(notes),
        down_with_product=config.down_with_product,
        untouched=untouched,
    )


def _chosen(
    nics: Sequence[Nic], owned: Sequence[Nic], product: Sequence[ProductNic], config: NetcfgConfig
) -> tuple[dict[int, tuple[Nic, ...]], list[Problem], list[str]]:
    """The NICs that configuration names, by LAN; what is wrong with that, and what is worth a note.

    :param owned: those of ``nics`` that are the product's.
    """
    chosen: dict[int, tuple[Nic, ...]] = {}
    problems: list[Problem] = []
    notes: list[str] = []
    for number, lan_config in config.lan.items():
        if number not in {nic.number for nic in product}:
            problems.append(Problem(number, f"netcfg.lan.{number}: the product has no NIC {number}{_numbers(product)}"))
        elif lan_config.nics:
            found, missing = _find(lan_config.nics, owned)
            chosen[number] = found
            if found:
                notes += [f"netcfg.lan.{number}: {name} is not here; the LAN goes on without it" for name in missing]
            else:
                problems.append(Problem(number, _nobody(number, lan_config, missing, nics, owned)))
    return chosen, problems, notes


def _claimed_twice(chosen: Mapping[int, Sequence[Nic]], claims: Mapping[str, int]) -> Iterator[Problem]:
    for number, found in chosen.items():
        for nic in found:
            if claims[nic.name] > 1:
                what = f'netcfg.lan.{number}.nics: "{nic.name}" is also in another LAN'
                yield Problem(number, f"{what}; allowed is one LAN per NIC")


def clash(link: HostLink, addresses: Mapping[str, Sequence[str]]) -> Optional[Problem]:
    """Whether an address of the host's own, on a NIC that it keeps, is in the way of the private link.

    A larger network that has the link's four addresses in it, a management controller's 169.254.0.0/16 for instance, is
    not: the longer prefix wins.

    :param addresses: by interface, "169.254.7.9/16"; those of HAL's own interfaces are not in it.
    """
    wanted = ipaddress.IPv4Network(link.network)
    for name, held in addresses.items():
        for address in held:
            interface = ipaddress.ip_interface(address)
            if isinstance(interface, ipaddress.IPv4Interface) and (
                interface.ip in wanted or interface.network.subnet_of(wanted)
            ):
                message = f"{name} has {address}, which is in {link.network}, the private link between host and product"
                return Problem(None, f"{message}; take the address off {name}, or set netcfg.link_network")
    return None


def _find(wanted: Sequence[str], nics: Sequence[Nic]) -> tuple[tuple[Nic, ...], tuple[str, ...]]:
    """The NICs of these names or addresses, each once, and what is not here."""
    found: dict[str, Nic] = {}
    missing = []
    for word in wanted:
        matching = [nic for nic in nics if word in (nic.name, nic.mac) or word.lower() == nic.mac]
        found.update((nic.name, nic) for nic in matching)
        missing += [] if matching else [word]
    return tuple(found.values()), tuple(missing)


def _nobody(number: int, config: LanConfig, missing: Sequence[str], nics: Sequence[Nic], owned: Sequence[Nic]) -> str:
    if _find(missing[:1], [nic for nic in nics if nic not in owned])[0]:
        return f'netcfg.lan.{number}.nics = "{missing[0]}": that NIC is not the product\'s (hal netcfg plan says why)'
    allowed = ", ".join(nic.name for nic in owned) or "none at the moment"
    what = "none of these is here" if len(config.nics) > 1 else "not here"
    return f"netcfg.lan.{number}.nics = {', '.join(config.nics)}: {what}; the product's NICs are: {allowed}"


def _wrong(number: int, config: LanConfig) -> Iterator[str]:
    key = f"netcfg.lan.{number}"
    if config.mode == "macvtap" and len(config.nics) > 1:
        many = len(config.nics)
        yield f'{key}.mode = "macvtap": takes one NIC, not {many}; let the product bond them, or use "bridge"'
    if config.arp_interval and config.bond in _NO_ARP:
        yield f'{key}.arp_interval = {config.arp_interval}: not with bond = "{config.bond}"; use miimon'
    if config.arp_interval and not config.arp_targets:
        yield f"{key}.arp_interval = {config.arp_interval}: needs arp_targets"
    if len(config.arp_targets) > _MOST_ARP_TARGETS:
        yield f"{key}.arp_targets: {len(config.arp_targets)} addresses; allowed are {_MOST_ARP_TARGETS}"
    for target in config.arp_targets:
        try:
            ipaddress.IPv4Address(target)
        except ValueError:
            yield f'{key}.arp_targets = "{target}": no IPv4 address'


def _lan(product: ProductNic, nics: Sequence[Nic], config: LanConfig, all_lans: NetcfgConfig) -> Lan:
    bond = None
    if len(config.nics) > 1 and nics:
        # Named as a bond, it stays one when all of its NICs but one have gone.
        arp = config.arp_interval
        bond = Bond(config.bond, config.lacp_rate, 0 if arp else config.miimon, arp, config.arp_targets if arp else ())
    # A bond's ports all wear the same address.
    ports = tuple(Port(nic.name, nic.mac, host_mac(nics[0].mac if bond else nic.mac)) for nic in nics)
    if config.mode in direct.MODES:
        ports = tuple(replace(port, bus_path=nic.bus_path, driver=nic.driver) for port, nic in zip(ports, nics))
    mtu = 0 if config.mode == "vfio" else config.mtu or all_lans.mtu
    return Lan(product.number, product.mac, config.mode, ports, bond, mtu)


def _without_link(lan: Lan, chosen: Mapping[int, Sequence[Nic]], owned: Sequence[Nic]) -> str:
    users = [number for number, found in chosen.items() if any(nic.mac == lan.mac for nic in found)]
    name = next((nic.name for nic in owned if nic.mac == lan.mac), lan.mac)
    why = f"{name} is in netcfg.lan.{users[0]}" if users else f"{name} is not here"
    return f"the product's NIC {lan.number} has no link: {why}"


def _is_unplanned(nic: Nic, others: Optional[Collection[str]]) -> bool:
    if others is None or nic.bus == "usb" or not nic.mac:
        return False  # no plan of hal-vmm's would make a LAN of the last two
    return nic.name not in others and nic.mac not in others


def _kept(nic: Nic) -> Kept:
    if nic.bus == "usb":
        return Kept(nic.name, "a USB device: the product gets it as such")
    return Kept(
        nic.name, "not planned for the product (hal vmm plan says why)" if nic.mac else "no permanent MAC address"
    )


def _numbers(product: Sequence[ProductNic]) -> str:
    return f"; it has {', '.join(str(nic.number) for nic in product)}" if product else ", nor any other"
