"""hal-netcfg for tests: the real thing, with FAKE hardware, because nothing here can make a NIC.

``runner NICS VERB…``: NICS is JSON, name → permanent MAC address. Those of them that exist at the moment
(veth pairs, made by the test) are taken for physical NICs.

``runner NICS children COUNT``: apply so many times, each time in a child of its own, after a line on standard
input; its process id is printed first. A child may be killed.

``runner NICS seconds``: apply once, and print how long that took, imports not counted.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time

from hal_core import cli, paths
from hal_core.machine_nic import Nic
from hal_netcfg import hardware, unmanaged
from hal_netcfg.config import NetcfgConfig
from hal_netcfg.engine import Engine
from hal_netcfg.firewall import nft
from hal_netcfg.main import PROGRAM


def fake_nics(nics: dict[str, str]) -> tuple[Nic, ...]:
    """In the order in which they are given."""
    here = {name for _, name in socket.if_nameindex()}
    return tuple(
        Nic(
            name=name,
            mac=mac,
            driver="fake",
            bus="pci",
            bus_path=f"0000:0{number}:00.0",
            speed_mbps=None,
            carrier=None,
            mtu=None,
            master="",
            vlans=(),
            node=None,
        )
        for number, (name, mac) in enumerate(nics.items())
        if name in here
    )


def apply_once() -> int:
    engine = Engine(paths.run_dir(), NetcfgConfig())
    with engine.alone():
        sight = engine.look()
        engine.guard(sight)
        outcomes = engine.apply(sight)
    return 1 if any(outcome.problem for outcome in outcomes) else 0


def in_children(count: int) -> int:
    for _ in range(count):
        if not sys.stdin.readline():
            return 1
        pid = os.fork()
        if pid == 0:
            return cli.run("runner", lambda _: apply_once())
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    return 0


def timed() -> int:
    begun = time.perf_counter()
    status = apply_once()
    print(time.perf_counter() - begun)
    return status


def main(arguments: list[str]) -> int:
    nics: dict[str, str] = json.loads(arguments[0])
    if "HAL_RUN_DIR" in os.environ:  # a NetworkManager that is there is this machine's own
        unmanaged.DIRECTORY = os.path.join(paths.run_dir(), "NetworkManager")
    nft.PATH = os.environ.get("NFT_PATH") or nft.PATH
    hardware.read = lambda root="/": fake_nics(nics)
    if arguments[1] == "children":
        return in_children(int(arguments[2]))
    if arguments[1] == "seconds":
        return timed()
    return PROGRAM.main(arguments[1:])


if __name__ == "__main__":
    sys.exit(cli.run("hal-netcfg", main))
