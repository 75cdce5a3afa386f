"""A server with NICs, for ``ci/bench net``: in network namespaces, with the real hal-netcfg."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import IN_MEMORY
from hal_netcfg.testing.host import Host
from hal_netcfg.testing.netns import Namespace, wait_for


def nic(number: int) -> str:
    """Its name: none that a NIC of the machine has that runs this."""
    return f"nic{number}"


def mac(number: int) -> str:
    """Its permanent address."""
    return f"00:1b:21:00:00:{number:02x}"


@contextlib.contextmanager
def server(nics: int) -> Iterator[Host]:
    """All of its NICs are planned for the product; nothing is done yet."""
    with tempfile.TemporaryDirectory(prefix="hal-bench-", dir=IN_MEMORY) as directory, Namespace() as lan:
        # Of a veth whose other end has the same number, in another namespace, the kernel may tell a second late that
        # its carrier has changed (net/core/link_watch.c). This takes a number in one of them, and they all differ.
        lan.ip("link add taken type bridge")
        host = Host(Path(directory), {nic(number): mac(number) for number in range(nics)}, lan)
        host.plan_product(dict(enumerate(host.nics.values())))
        with host.namespace:
            yield host
        # The kernel takes a namespace's interfaces away some time after it has gone, and holds up meanwhile whoever
        # configures others: with 64 NICs for a second, and it is chance whether that falls into what is measured next.
        # Their other ends go with them.
        wait_for(lambda: "veth" not in lan.run("ip", "-details", "link", "show"), lambda: "its interfaces do not go")
