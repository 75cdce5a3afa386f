"""Whether the product's NICs have a link: the cable's state, shown to the product. Pure.

A cable that flaps is shown at most five times a second, and its final state always: what is held back is not forgotten,
because every look begins from what is, not from what has happened.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hal_netcfg.links.link import Link
from hal_netcfg.plan.direct import MODES
from hal_netcfg.plan.network import Network

GAP_SECONDS = 0.2  # between two changes of one NIC of the product's


@dataclass(frozen=True)
class Shown:
    """What the product's NIC was last told."""

    up: bool
    since: float  # monotonic seconds
    has_nic: bool = True  # False: the running product does not have that NIC; it gets it at its next start


@dataclass(frozen=True)
class Decision:
    changes: Mapping[int, bool]  # LAN → whether the product's NIC has a link from now on
    again: float  # monotonic seconds at which to look again without being woken; infinity: never


def carriers(network: Network, links: Mapping[str, Link]) -> dict[int, bool]:
    """For each LAN, whether a frame of the product's would get to a cable: the port has a carrier and is connected.

    A direct NIC is none of QEMU's network, and the product sees its cable by itself. Where there is a tap all the same,
    it counts: it is a running product's from before the mode was changed; or the product was started without that NIC,
    and its tap is in no bridge.
    """
    found = {}
    for lan in network.lans:
        port = links.get(lan.port)
        tap = links.get(lan.tap)
        if lan.mode in MODES and tap is None:
            continue
        if port is None:
            found[lan.number] = False
        elif lan.mode == "macvtap" or (tap is not None and tap.kind == "macvtap"):
            found[lan.number] = port.carrier and tap is not None
        else:
            found[lan.number] = port.carrier and port.master == lan.bridge
    return found


def decide(wanted: Mapping[int, bool], shown: Mapping[int, Shown], now: float) -> Decision:
    """What to tell QEMU at this moment.

    :param wanted: from :func:`carriers`. :param shown: what was told; a LAN that is missing was told nothing yet.
    """
    changes: dict[int, bool] = {}
    again = math.inf
    for number, up in wanted.items():
        last = shown.get(number)
        if last is None:
            changes[number] = up
        elif last.up != up:
            due = last.since + GAP_SECONDS
            if now >= due:
                changes[number] = up
            else:
                again = min(again, due)
    return Decision(changes, again)
