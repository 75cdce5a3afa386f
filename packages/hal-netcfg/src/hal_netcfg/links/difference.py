"""The steps from the interfaces that there are to those that there ought to be: pure.

Nothing differs: no steps. So applying may be broken off anywhere and be begun again: what is done already is seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Optional

from hal_netcfg import names
from hal_netcfg.links.action import Address, Change, Create, Delete, Ipv6, Step
from hal_netcfg.links.link import Group, Link, Wanted

_ATTRIBUTES = ("mac", "mtu", "master", "up", "noarp", "allmulti", "queued", "learning")
_NEW = Link("", 0, ipv6=True)  # as the kernel makes one


class Postponed(Exception):
    """The group has to wait until the product has ended; the message says why."""


def is_product_running(links: Mapping[str, Link]) -> bool:
    """A tap has a carrier while a QEMU is attached to it, whatever the NIC's carrier (drivers/net/tun.c). A direct NIC
    has one for as long as there is a QEMU at all.
    """
    ours = [link for link in links.values() if link.name.startswith((names.LAN_TAP, names.DIRECT))]
    return any(link.kind in ("tun", "vfio") and link.carrier for link in ours)


def steps(group: Group, links: Mapping[str, Link]) -> tuple[tuple[Step, ...], dict[str, Link]]:
    """What has to be done for one group, in order; and what the interfaces are after that, as far as it matters here.

    :raise Postponed: the product's end would have to be made anew under a running product.
    """
    after = dict(links)
    found = list(_clear(group, after))
    for wanted in group.wanted:
        found += _towards(wanted, after)
    return tuple(found), after


def _clear(group: Group, after: dict[str, Link]) -> Iterator[Step]:
    """Remove what is not wanted, and what is of another kind than wanted, or is a bond of another mode."""
    for name in group.unwanted:
        yield from _remove(name, after)
    for wanted in group.wanted:
        link = after.get(wanted.name)
        if link and wanted.kind and (link.kind != wanted.kind or _made_otherwise(wanted, link)):
            yield from _remove(wanted.name, after)
    ports = {wanted.name: wanted.master for wanted in group.wanted}
    for wanted in group.wanted:
        # No bridge and no other macvtap takes a NIC that one is on: that of the LAN which the NIC has been in.
        for tap in [link for link in after.values() if link.kind == "macvtap" and link.lower == wanted.name]:
            if tap.name not in ports and tap.name.startswith(names.LAN_TAP):
                yield from _remove(tap.name, after)
        if wanted.kind in ("bridge", "bond"):
            for port in [link for link in after.values() if link.master == wanted.name]:
                if ports.get(port.name) != wanted.name:
                    yield from _release(port, after)


def _release(port: Link, after: dict[str, Link]) -> Iterator[Step]:
    """Out of its bridge or bond; down, and with its own address again, which is nobody else's any more."""
    out = Change(port.name, master="", up=False, noarp=False)
    step, released = _change(out, port), _changed(port, out)
    if _is_bond(port.master, after):
        # It comes out with the address and MTU that it came with, whatever the request says, and a bond without ports
        # loses its own address (drivers/net/bonding/bond_main.c, __bond_release_one).
        bond = after[port.master]
        step = Step(out, (Change(bond.name, mac=bond.mac), *_back_into_bond(port)))
        released = replace(released, mac="", mtu=0)
        if not any(link.master == bond.name for link in after.values() if link.name != port.name):
            after[bond.name] = replace(bond, mac="")
    yield step
    if port.permanent and released.mac != port.permanent:
        own = Change(port.name, mac=port.permanent)
        yield _change(own, released)
        released = _changed(released, own)
    after[port.name] = released


def _back_into_bond(port: Link) -> Iterator[Change]:
    """A bond takes no port that is up, and switches it on itself (drivers/net/bonding/bond_main.c, bond_enslave). Most
    kernels do the switching of a request first (net/core/rtnetlink.c, do_setlink), so that it must not say both.
    """
    yield Change(port.name, master=port.master, noarp=port.noarp)
    if not port.up:
        yield Change(port.name, up=False)


def _made_otherwise(wanted: Wanted, link: Link) -> bool:
    """What can only be said when it is made: a mode, with all that depends on it; what a macvtap sits on."""
    made_for_good = wanted.kind in ("bond", "macvtap", "vfio")
    return made_for_good and (link.settings, link.lower) != (wanted.settings, wanted.lower)


def _remove(name: str, after: dict[str, Link]) -> Iterator[Step]:
    link = after.get(name)
    if link is None:
        return
    # Whether a QEMU has a macvtap open, nothing tells; its carrier is the NIC's.
    if link.carrier if link.kind in ("tun", "vfio") else link.kind == "macvtap" and is_product_running(after):
        raise Postponed(f"{name} is the running product's: at its next start")
    for port in [port for port in after.values() if port.master == name]:
        yield from _release(port, after)
    if link.kind == "vfio":
        yield Step(Delete(name), (Create(name, link.kind, "", link.settings),) if link.settings else ())
        del after[name]
        return
    again = [
        Create(name, link.kind, link.lower, link.settings),
        *(() if link.ipv6 else (Ipv6(name, False),)),
        Change(name, mac=link.mac, mtu=link.mtu, allmulti=link.allmulti, queued=None if link.queued else False),
        *(
            _back_into_bond(link)
            if _is_bond(link.master, after)
            else [Change(name, master=link.master, up=link.up, noarp=link.noarp, learning=_not_learning(link))]
        ),
        *(Address(name, address, True) for address in link.addresses if ":" not in address),
    ]
    yield Step(Delete(name), tuple(again))
    del after[name]


def _towards(wanted: Wanted, after: dict[str, Link]) -> Iterator[Step]:
    link = after.get(wanted.name)
    if link is None:
        if not wanted.kind:
            return  # a NIC that is not here: its coming wakes the loop
        if wanted.lower and wanted.lower not in after:
            return
        yield Step(Create(wanted.name, wanted.kind, wanted.lower, wanted.settings), (Delete(wanted.name),))
        link = replace(_NEW, name=wanted.name, kind=wanted.kind, lower=wanted.lower, settings=wanted.settings)
    if wanted.master is not None and wanted.master != link.master and _is_bond(link.master, after):
        yield from _release(link, after)
        link = after[wanted.name]
    # Silent before it is up: what goes up with IPv6 speaks.
    if wanted.ipv6 is not None and wanted.ipv6 != link.ipv6:
        yield Step(Ipv6(wanted.name, wanted.ipv6), (Ipv6(wanted.name, link.ipv6),))
    for address in _addresses(wanted, link):
        if address not in (wanted.addresses or ()):
            yield Step(Address(wanted.name, address, False), (Address(wanted.name, address, True),))
    change = _differing(wanted, link)
    if change.master and _is_bond(change.master, after):
        if link.up:
            yield _change(Change(wanted.name, up=False), link)
        change = replace(change, up=None)  # see _back_into_bond
    if change != Change(wanted.name, kind=wanted.kind):
        yield _change(change, link)
    if change.master and _is_bond(change.master, after) and wanted.up is False:
        yield Step(Change(wanted.name, up=False), ())
    for address in wanted.addresses or ():
        if address not in link.addresses:
            yield Step(Address(wanted.name, address, True), (Address(wanted.name, address, False),))
    after[wanted.name] = _changed(link, change)


def _changed(link: Link, change: Change) -> Link:
    link = _as_moved(link, change.master)
    values = {name: getattr(change, name) for name in _ATTRIBUTES}
    return replace(link, **{name: value for name, value in values.items() if value is not None})


def _as_moved(link: Link, master: Optional[str]) -> Link:
    """What a bridge knows of its port it forgets when that goes elsewhere."""
    return link if master in (None, link.master) else replace(link, learning=True)


def _addresses(wanted: Wanted, link: Link) -> tuple[str, ...]:
    """Those that there are, where it is said which there ought to be; IPv6's own go with IPv6."""
    if wanted.addresses is None:
        return ()
    return tuple(address for address in link.addresses if ":" not in address or wanted.ipv6)


def _is_bond(name: str, after: Mapping[str, Link]) -> bool:
    return name in after and after[name].kind == "bond"


def _differing(wanted: Wanted, link: Link) -> Change:
    there = _as_moved(link, wanted.master)

    def want(name: str) -> object:
        value = getattr(wanted, name)
        return None if value is None or value == getattr(there, name) else value

    differing: dict[str, Any] = {name: want(name) for name in _ATTRIBUTES}
    settings = {}
    if wanted.kind == "bridge":
        # A kernel that does not know a setting does not list it, and then it is not there to be wrong.
        settings = {key: value for key, value in wanted.settings.items() if link.settings.get(key, value) != value}
    return Change(wanted.name, kind=wanted.kind, settings=settings, **differing)


def _change(change: Change, link: Link) -> Step:
    """With what the interface was before as the way back."""
    undo = Change(
        change.name,
        mac=None if change.mac is None or not link.mac else link.mac,
        mtu=None if change.mtu is None else link.mtu or None,
        master=None if change.master is None else link.master,
        up=None if change.up is None else link.up,
        noarp=None if change.noarp is None else link.noarp,
        allmulti=None if change.allmulti is None else link.allmulti,
        queued=None if change.queued is None else link.queued,
        learning=_learning_before(change, link),
        kind=change.kind,
        settings={key: link.settings[key] for key in change.settings},
    )
    return Step(change, (undo,))


def _learning_before(change: Change, link: Link) -> Optional[bool]:
    if change.master is not None:
        return _not_learning(link)
    return None if change.learning is None else link.learning


def _not_learning(link: Link) -> Optional[bool]:
    """What a port that goes back has to be told: it learns by itself."""
    return None if link.learning else False
