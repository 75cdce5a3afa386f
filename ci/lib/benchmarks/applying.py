"""From a host that has just booted to the product's whole network, with more and more NICs; and when nothing differs.

One process each time, from its first look at the host to its last change, without its imports; and once the whole
command, which is what a boot waits for.
"""

from __future__ import annotations

import functools
import time

from benchmarks.measure import Row, interleave
from benchmarks.netserver import server

NICS = (1, 4, 16, 64)
USUAL, MOST = 16, 64
SECONDS = 0.3  # goal for the usual number, imports not counted and counted
GROWTH = 4.8  # goal: four times the NICs take about four times as long


def rows(rounds: int) -> list[Row]:
    """:raise AssertionError: it does not succeed."""
    variants = {f"{nics} NICs" if nics > 1 else "1 NIC": functools.partial(_once, nics) for nics in NICS}
    samples = interleave("apply", {**variants, "command": _command}, rounds)
    usual, most = f"{USUAL} NICs", f"{MOST} NICs"
    made = [
        samples.median(f"apply: {name}", f"{name} first", "ms", 1e3, SECONDS * 1e3 if name == usual else None)
        for name in variants
    ]
    made.append(samples.median(f"apply: {usual}, the whole command", "command whole", "ms", 1e3, SECONDS * 1e3))
    made.append(samples.ratio(f"apply: {most} / {usual}", f"{most} first", f"{usual} first", GROWTH))
    made.append(samples.median(f"nothing to apply: {usual}", f"{usual} again", "ms", 1e3))
    return made


def _once(nics: int) -> dict[str, float]:
    with server(nics) as host:
        return {figure: float(host.run("seconds")) for figure in ("first", "again")}


def _command() -> dict[str, float]:
    with server(USUAL) as host:
        begun = time.perf_counter()
        host.run("apply")
        return {"whole": time.perf_counter() - begun}
