"""A network plan for people."""

from __future__ import annotations

from hal_core import table
from hal_netcfg import names
from hal_netcfg.plan import direct
from hal_netcfg.plan.network import Lan, Network


def render(network: Network) -> str:
    """The whole answer of ``hal-netcfg plan``."""
    rows = [
        (
            lan.number,
            " + ".join(port.name for port in lan.ports),
            lan.mac,
            _worn(lan),
            _way(lan),
            lan.mtu or " ",
        )
        for lan in network.lans
    ]
    link = network.link
    parts = [
        table.render(("LAN", "NIC", "THE PRODUCT WEARS", "THE NIC WEARS", "BY WAY OF", "MTU"), rows)
        if rows
        else "no LANs",
        f"private link {names.HOST_LINK}: host {link.host}, product {link.product}",
    ]
    for title, lines in (
        ("stays with the host", [f"{kept.name}: {kept.reason}" for kept in network.kept]),
        ("notes", list(network.notes)),
        ("cannot be as configured, and is left as it is", [problem.message for problem in network.problems]),
    ):
        if lines:
            parts.append(f"{title}:\n" + "\n".join(f"  {line}" for line in lines))
    return "\n\n".join(parts) + "\n"


def _worn(lan: Lan) -> str:
    if not lan.ports:
        return ""
    return "the product's" if lan.mode in ("macvtap", "vfio") else lan.ports[0].host_mac


def _way(lan: Lan) -> str:
    if lan.mode == "macvtap":
        return f"{lan.tap} (macvtap)"
    if lan.mode in direct.MODES:
        which = "" if lan.mode == "vfio" else "a virtual function of "
        return f"PCI pass-through of {which}{lan.ports[0].bus_path}" if lan.ports else "PCI pass-through"
    bond = f"{lan.port} ({lan.bond.mode}), " if lan.bond else ""
    return f"{bond}{lan.bridge}, {lan.tap}"
