"""Interfaces of a made-up server, and what people and programs may do to them: for tests with and without a kernel."""

from __future__ import annotations

from hal_netcfg.links.action import Action, Address, Change, Create, Delete, Ipv6
from hal_netcfg.links.link import Link

NICS = {f"eno{number}": f"00:1b:21:00:00:0{number}" for number in range(1, 4)}
LARGEST = {"eno1": 0, "eno2": 9000, "eno3": 1500}  # MTU; 0: the driver does not say
KEPT = "eno9"  # not the product's
OTHERS = ("br-own", "bond-own", "veth9")  # nor HAL's
LANS = (0, 1, 2)
OURS = [f"{kind}{number}" for kind in ("hallan", "haltap", "halbond") for number in LANS] + ["halint", "haltapint"]


def hardware(name: str) -> Link:
    """As its driver leaves it."""
    mac = NICS.get(name, "00:1b:21:00:00:09")
    return Link(name, 0, mac=mac, permanent=mac, max_mtu=LARGEST.get(name, 0), ipv6=True)


# --- what people and programs do to interfaces: each is one line, so that an example is a short list ---------------

ANY = [*NICS, KEPT, *OURS, *OTHERS]
BONDED = [{"mode": mode} for mode in (0, 4, 5)] + [{"mode": 1, "miimon": 100}, {"mode": 2, "arp_interval": 200}]
MADE: list[Action] = [
    *(Create(name, kind) for name in (*OURS, *OTHERS) for kind in ("bridge", "tun", "dummy")),
    *(Create(name, "bond", settings=BONDED[number % 5]) for number, name in enumerate((*OURS, *OTHERS))),
    # Somebody else's on a NIC of the product's would be in its way.
    *(
        Create(f"haltap{number}", "macvtap", name, {"mode": "vepa" if (number, name) == (0, "eno1") else "passthru"})
        for number in LANS
        for name in (*NICS, KEPT)
    ),
]
JOINED: list[Action] = [
    Change(name, master=master, up=False)
    for name in ANY
    for master in ("hallan0", "hallan1", "halbond0", "halbond2", "halint", "br-own", "bond-own")
]
CHANGED: list[Action] = [
    change
    for name in ANY
    for change in (
        Change(name, up=True, noarp=True),
        Change(name, up=True),
        Change(name, up=False, allmulti=True),
        Change(name, mtu=1400),
        Change(name, mtu=4000),
        Change(name, mac="02:00:00:00:00:01"),
        Change(name, mac="02:1b:21:00:00:01"),
        Change(name, master=""),
        Change(name, queued=False),
        Change(name, learning=False),
        Change(name, learning=True),
        Ipv6(name, True),
        Ipv6(name, False),
        Delete(name),
        Address(name, "10.0.0.5/24", True),
        Address(name, "10.0.0.5/24", False),
        Address(name, "10.0.0.6/24", True),
        Address(name, "169.254.72.1/24", True),
        Address(name, "2001:db8::1/64", True),
    )
]
