"""Whatever is killed, the product is back, or was never away."""

from __future__ import annotations

import random

from lab.plugin import long
from lab.site import Site

TIMES = 20


@long
def test_qemu_killed(running: Site) -> None:
    """QEMU is killed twenty times, at random moments of the product's life: the product is always back."""
    moments = random.Random(running.server.server.name)
    killed: list[int] = []
    for _ in range(TIMES):
        killed.append(running.host.wait_for_service("hal-qemu", killed))
        running.host.kill_at_random_moment(killed[-1], 4, moments)

    running.host.wait_for_service("hal-qemu", killed)
    running.product.wait_until_ready()
    running.host.wait_for_heartbeats()
    assert running.host.status()["crashes"] == TIMES
    assert running.host.denials() == []


@long
def test_manager_killed(running: Site) -> None:
    """The guest manager is killed twenty times, while it works and while it starts: it costs the product nothing."""
    moments = random.Random(running.server.server.name)
    qemu, uptime = running.host.main_pid("hal-qemu"), running.product.uptime()
    killed: list[int] = []
    for time in range(TIMES):
        killed.append(running.host.wait_for_service("hal-vmm", killed, ready=time % 2 == 0))
        running.host.kill_at_random_moment(killed[-1], 3, moments)

    running.host.wait_for_service("hal-vmm", killed)
    running.host.wait_for_state("running")
    assert running.host.main_pid("hal-qemu") == qemu
    assert running.product.boots() == 1
    assert running.product.uptime() > uptime
    assert running.host.status()["crashes"] == 0
    assert running.host.denials() == []
