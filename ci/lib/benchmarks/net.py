"""``ci/bench net``: what the product's network costs, and how soon it follows the hardware. As root, in namespaces.

NICs are veth pairs, the product is whoever has its taps open, and QEMU is a FAKE (:mod:`hal_core.testing.fakeqmp`):
measured is what hal-netcfg and the kernel do.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import applying, forwarding, mirroring
from benchmarks.measure import BenchError, Row
from hal_netcfg.testing import netns


def measure(cache: Path, rounds: int) -> list[Row]:
    """:param cache: not used; every benchmark gets it.

    :raise BenchError: something cannot be measured here.
    """
    reason = netns.why_not()
    if reason:
        raise BenchError(reason)
    try:
        return forwarding.rows(rounds) + mirroring.rows(rounds) + applying.rows(rounds)
    except AssertionError as error:  # of what the benchmark and the tests have in common
        raise BenchError(str(error)) from None
