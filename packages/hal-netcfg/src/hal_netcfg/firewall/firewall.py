"""Keeping the firewall loaded: compare what the kernel has with what ought to be there, and replace it if they differ.

nft lists rules in other words than they were loaded in, so the two cannot be compared directly. Instead what it lists
right after loading is remembered, next to what was wanted. Both still hold: the firewall is as it was loaded, and that
is still what is wanted. Anything else, a lost memory too, and it is loaded anew, in one transaction in which no packet
sees half a firewall and no connection ends.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from hal_netcfg.firewall import nft
from hal_netcfg.firewall.rules import FAMILIES, TABLE, Guard, Json, ruleset


@dataclass(frozen=True)
class Loaded:
    """What the caller has to remember for as long as this boot lasts. Only texts: fit for JSON."""

    wanted: str  # the commands that were loaded
    listing: str  # what nft listed then


@dataclass(frozen=True)
class Outcome:
    why: tuple[str, ...]  # what was not as it ought to be, in words; empty: nothing, so nothing was done
    loaded: Loaded

    @property
    def changed(self) -> bool:
        return bool(self.why)


def ensure(guard: Guard, remembered: Optional[Loaded]) -> Outcome:
    """Load the firewall, unless it is the one in the kernel. Counters begin at 0 with every loading.

    :param remembered: from the outcome before; None: there is none in this boot.
    :raise HostError: nft is missing, not permitted or fails. The rules are as they were then.
    """
    commands = ruleset(guard)
    wanted = _text(commands)
    why = _difference(wanted, remembered, nft.listing())
    if not why and remembered is not None:
        return Outcome((), remembered)
    nft.load(commands)
    return Outcome(tuple(why), Loaded(wanted, content(nft.listing())))


def difference(guard: Guard, remembered: Optional[Loaded]) -> list[str]:
    """Why :func:`ensure` would load the firewall, in words; [] if it would not. Changes nothing.

    :raise HostError: nft is missing, not permitted or fails.
    """
    return _difference(_text(ruleset(guard)), remembered, nft.listing())


def counts(listing: Sequence[Json]) -> list[tuple[str, int, int]]:
    """Comment, packets and bytes of every rule that counts, in order.

    :param listing: from :func:`nft.listing`.
    """
    found = []
    for entry in listing:
        rule = entry.get("rule", {})
        for expression in rule.get("expr", ()):
            if "comment" in rule and "counter" in expression:
                found.append((rule["comment"], expression["counter"]["packets"], expression["counter"]["bytes"]))
    return found


def content(listing: Sequence[Json]) -> str:
    """What the tables say, as one text: the same for as long as nobody changes them, however much they have counted."""
    return _text([_timeless(entry) for entry in listing])


def _difference(wanted: str, remembered: Optional[Loaded], listing: Sequence[Json]) -> list[str]:
    present = {entry["table"]["family"] for entry in listing if "table" in entry}
    missing = [f"table {family} {TABLE} is not loaded" for family in FAMILIES if family not in present]
    if missing:
        return missing
    if remembered is None:
        return [f"who has loaded the tables {TABLE} is not known"]
    if remembered.wanted != wanted:
        return ["other rules are wanted than are loaded"]
    if remembered.listing != content(listing):
        return [f"somebody else has changed a table {TABLE}"]
    return []


def _timeless(entry: Json) -> Json:
    """Without handles, which are new after every loading, and without what was counted."""
    return {
        kind: {
            key: [{"counter": None} if "counter" in part else part for part in value] if key == "expr" else value
            for key, value in what.items()
            if key != "handle"
        }
        for kind, what in entry.items()
    }


def _text(value: object) -> str:
    """To be compared as it is: some 30 KiB, and a hash of it would need OpenSSL in memory (``hashlib``)."""
    return json.dumps(value, sort_keys=True)
