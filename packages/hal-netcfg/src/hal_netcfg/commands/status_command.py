"""``hal-netcfg status``: what ``ip``, ``ethtool`` and ``nft`` would have told, on one screen.

From the resident's status file and from sysfs; no netlink, whose library takes longer to import than all the rest. Only
the firewall's counters are asked of nft, and only by root.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Optional

from hal_core import arguments, paths, table
from hal_core.errors import HalError
from hal_netcfg.names import LINK_ON_LAN
from hal_netcfg.statusfile import STATUS

USAGE = """\
usage: hal-netcfg status [--json]

Show every LAN of the product's with its NICs: driver, link, speed, errors, the bond's members; the private link; what
is wrong; and, for root, what the firewall has let through and refused.

Exit status: 0 all is as it ought to be, 1 something is not, 3 the resident does not run.

examples:
  hal netcfg status
  hal netcfg status --json | jq '.lans[] | select(.carrier | not)'
"""
_NET = "/sys/class/net"
_PCI = "/sys/bus/pci/devices"
_ERRORS = ("rx_errors", "tx_errors", "rx_dropped", "tx_dropped")


def main(argv: list[str]) -> int:
    """Print it.

    :raise HostError: the resident has never run since this host booted.
    """
    given = arguments.parse("hal-netcfg status", argv, {"--json"}, ())
    if "help" in given:
        sys.stdout.write(USAGE)
        return 0
    status = collect(STATUS.path(paths.run_dir()))
    if "json" in given:
        print(json.dumps(status, indent=2))
    else:
        sys.stdout.write(render(status))
    if not status["running"]:
        return 3
    return 1 if status["problems"] else 0


def collect(path: str) -> dict[str, Any]:
    """:raise HostError, FileFormatError: there is no status file, or it cannot be used."""
    known = STATUS.read(path)
    try:
        return _collect(known)
    except KeyError as error:
        raise STATUS.damaged(path, f"no {error} in it: another version has written it") from None


def _collect(known: dict[str, Any]) -> dict[str, Any]:
    network = known["network"]
    counts, hidden = _counts()
    return {
        "running": STATUS.resident(known) != 0,
        "lans": [_lan(lan, known["product_links"]) for lan in network["lans"]],
        "link": {**network["link"], "carrier": _carrier("haltapint")},
        "kept": network["kept"],
        "notes": [*network["notes"], *_clash(counts, network["link"])],
        "problems": [f"{one['what']}: {one['message']}" for one in known["problems"]]
        + [one["message"] for one in network["problems"]],
        "firewall": counts,
        "firewall_hidden": hidden,
    }


def _clash(counts: list[dict[str, Any]], link: dict[str, Any]) -> list[str]:
    """What only the firewall can know: the host asks nobody on a LAN."""
    seen = sum(one["packets"] for one in counts if one["what"] == LINK_ON_LAN)
    if not seen:
        return []
    where = f"a LAN has used addresses of the private link ({link['host']}, {link['product']})"
    return [f"{where} in {seen} frames, which were dropped: if they are a neighbour's, move netcfg.link_network"]


def render(status: dict[str, Any]) -> str:
    rows = []
    for lan in status["lans"]:
        for index, nic in enumerate(lan["nics"] or [{}]):
            rows.append(
                (
                    lan["number"] if not index else " ",
                    nic.get("name"),
                    nic.get("driver"),
                    _link_text(nic),
                    " " if index else _product_sees(lan),
                    nic.get("mtu"),
                    nic.get("errors"),
                    nic.get("bond", " ") or " ",
                )
            )
    parts = [] if status["running"] else ["hal-netcfg is not running: nothing is mirrored or repaired\n"]
    head = ("LAN", "NIC", "DRIVER", "LINK", "PRODUCT SEES", "MTU", "ERRORS", "")
    parts.append(table.render(head, rows) if rows else "no LANs")
    link = status["link"]
    attached = "the product is on it" if link["carrier"] else "no product on it"
    parts.append(f"\nprivate link: host {link['host']}, product {link['product']}: {attached}")
    for title, lines in (
        ("stays with the host", [f"{kept['name']}: {kept['reason']}" for kept in status["kept"]]),
        ("notes", status["notes"]),
        ("wrong", status["problems"]),
    ):
        if lines:
            parts.append(f"\n{title}:\n" + "\n".join(f"  {line}" for line in lines))
    counted = [(one["what"], one["packets"], one["bytes"]) for one in status["firewall"] if one["packets"]]
    if counted:
        parts.append("\n" + table.render(("FIREWALL", "PACKETS", "BYTES"), counted))
    else:
        parts.append(f"\nfirewall: {status['firewall_hidden'] or 'nothing counted since it was loaded'}")
    return "\n".join(parts) + "\n"


def _product_sees(lan: dict[str, Any]) -> str:
    if lan["product_sees"] is not None:
        return "link" if lan["product_sees"] else "no link"
    if lan["next_start"]:
        return "next start"
    # Its cable is no business of QEMU's, nor of hal-netcfg's.
    return {"vfio": "the NIC itself", "sriov": "a virtual function"}.get(lan["mode"], "no product")


def _link_text(nic: dict[str, Any]) -> str:
    if not nic:
        return "no NIC"
    if nic["lent"]:
        return "the product's: ask there"
    if not nic["present"]:
        return "not here"
    if not nic["carrier"]:
        return "no link"
    speed = f"{nic['speed_mbps']} Mbit/s" if nic["speed_mbps"] else "up"
    return f"{speed} {nic['duplex']}".rstrip()


def _lan(lan: dict[str, Any], shown: dict[str, Optional[bool]]) -> dict[str, Any]:
    number = str(lan["number"])
    nics = [_nic(nic, f"halbond{lan['number']}" if lan["bond"] else "") for nic in lan["nics"]]
    return {
        "number": lan["number"],
        "mac": lan["mac"],
        "mode": lan["mode"],
        "tap": lan["tap"],
        "bridge": lan["bridge"],
        "bond": lan["bond"],
        "carrier": any(nic["carrier"] for nic in nics),
        "product_sees": shown.get(number),
        "next_start": number in shown and shown[number] is None,
        "nics": nics,
    }


def _nic(nic: dict[str, Any], bond: str) -> dict[str, Any]:
    name, driver = nic["name"], _driver(f"{_NET}/{nic['name']}/device")
    # A NIC that has been handed over whole is no interface: only its PCI device is left to be looked at.
    lent = not driver and bool(nic["bus_path"]) and _driver(f"{_PCI}/{nic['bus_path']}") == "vfio-pci"
    speed = _read(name, "speed")
    errors = {what: int(_read(name, f"statistics/{what}") or 0) for what in _ERRORS}
    return {
        "name": name,
        "mac": nic["mac"],
        "present": lent or os.path.exists(f"{_NET}/{name}"),
        "lent": lent,
        "driver": "vfio-pci" if lent else driver,
        "carrier": _carrier(name),
        "speed_mbps": int(speed) if speed.isdecimal() else None,  # -1, or an error: no link
        "duplex": _read(name, "duplex").replace("unknown", ""),
        "mtu": int(_read(name, "mtu") or 0) or None,
        "errors": errors["rx_errors"] + errors["tx_errors"],
        "counters": errors,
        "bond": _member(name, bond) if bond else "",
    }


def _member(name: str, bond: str) -> str:
    """What a bond thinks of its port (Linux, Documentation/ABI/testing/sysfs-class-net-bonding)."""
    state = _read(name, "bonding_slave/state")
    health = _read(name, "bonding_slave/mii_status")
    return f"{bond}: {state}, MII {health}" if state else f"not in {bond}"


def _carrier(name: str) -> bool:
    return _read(name, "carrier") == "1"


def _read(name: str, what: str) -> str:
    """Empty where the file is not there, or has no value while the NIC is down (EINVAL)."""
    try:
        with open(f"{_NET}/{name}/{what}") as file:
            return file.read().strip()
    except OSError:
        return ""


def _driver(device: str) -> str:
    try:
        return os.path.basename(os.readlink(f"{device}/driver"))
    except OSError:
        return ""


def _counts() -> tuple[list[dict[str, Any]], str]:
    """What the firewall has counted, and why it is not told, where it is not."""
    if os.geteuid():
        return [], "its counters are for root"
    from hal_netcfg.firewall import firewall, nft

    try:
        counted = firewall.counts(nft.listing())
    except HalError as error:
        return [], str(error)
    return [{"what": what, "packets": packets, "bytes": count} for what, packets, count in counted], ""
