"""Cables shown to a real QEMU: what its e1000 says of its link, read from the register that a driver reads."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal_core.errors import QmpDisconnected
from hal_core.qmp_once import Once
from hal_netcfg.testing.host import Host
from hal_netcfg.testing.netns import PATIENCE, Namespace, wait_for, why_not

QEMU = shutil.which("qemu-system-x86_64") or shutil.which("qemu-kvm", path="/usr/libexec") or ""

pytestmark = [
    pytest.mark.component,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "namespaces can be made"),
    pytest.mark.skipif(not QEMU, reason="no QEMU installed"),
]

NICS = {"eno1": "00:1b:21:00:00:01", "eno2": "00:1b:21:00:00:02"}
_TUNSETIFF, _TAP_NO_PI_VNET_HDR = 0x400454CA, 0x0002 | 0x1000 | 0x4000  # linux/if_tun.h
# Intel 8254x manual, 13.4.2: device status, bit 1 is "link up".
_STATUS, _LINK_UP = 0x0008, 0x2


class Product:
    """A QEMU with an e1000 on every tap, and no guest in it but the BIOS, which gives them their places in memory."""

    def __init__(self, qmp: Once) -> None:
        self._qmp = qmp
        self._registers: list[int] = []
        wait_for(self._is_set_up, lambda: "the BIOS has not set up the NICs")

    def link(self, number: int) -> bool:
        return bool(int(self._status(self._registers[number]), 16) & _LINK_UP)

    def _is_set_up(self) -> bool:
        """Each e1000's registers are its one memory region; before the BIOS has placed it, it is at all ones."""
        found = re.findall(r"32 bit memory at (0x[0-9a-f]{8}) ", self._monitor("info pci"))
        self._registers = [int(place, 16) for place in found]
        return len(found) == len(NICS) and all(self._status(place).startswith("0x") for place in self._registers)

    def _status(self, registers: int) -> str:
        """In hexadecimal; something else while the region is switched off."""
        return self._monitor(f"xp /1xw {registers + _STATUS:#x}").partition(": ")[2]

    def _monitor(self, command: str) -> str:
        return str(self._qmp.execute("human-monitor-command", {"command-line": command})).strip()


def connected(path: Path) -> Once:
    """A client of QEMU's, which has to make its socket first, and then to listen there."""
    found: list[Once] = []

    def listens() -> bool:
        with contextlib.suppress(QmpDisconnected):
            found.append(Once(str(path), deadline=PATIENCE))
        return bool(found)

    wait_for(listens, lambda: "QEMU does not start")
    return found[0]


@contextlib.contextmanager
def product(host: Host) -> Iterator[Product]:
    """As the launcher starts it: taps as descriptors, netdevs by hal-vmm's names, a QMP socket for hal-netcfg."""
    (host.run_dir / "qmp").mkdir(exist_ok=True)
    taps = []
    argv = [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc", "-accel", "tcg", "-m", "64M"]
    for number in range(len(NICS)):
        with host.namespace.inside():
            fd = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", f"haltap{number}".encode(), _TAP_NO_PI_VNET_HDR))
        taps.append(fd)
        argv += [
            "-netdev",
            f"tap,id=lan-{number},fd={fd}",
            "-device",
            f"e1000,id=nic{number},netdev=lan-{number},romfile=",
        ]
    for name in ("netcfg", "test"):
        argv += ["-chardev", f"socket,id={name},path={host.run_dir}/qmp/{name},server=on,wait=off"]
        argv += ["-mon", f"chardev={name},mode=control"]
    socket_path = host.run_dir / "qmp/test"
    process = subprocess.Popen(argv, pass_fds=taps)
    for fd in taps:
        os.close(fd)
    try:
        with connected(socket_path) as qmp:
            yield Product(qmp)
    finally:
        process.kill()
        process.wait(PATIENCE)
        socket_path.unlink()  # or it would look as if the next one were there


@pytest.fixture(name="host")
def new_host(tmp_path: Path) -> Iterator[Host]:
    with Namespace() as lan:
        host = Host(tmp_path, NICS, lan)
        host.plan_product(dict(enumerate(NICS.values())))
        with host.namespace:
            yield host


def test_the_product_sees_its_cables(host: Host) -> None:
    """One is pulled while nobody has QEMU's socket, one while hal-netcfg does; and another QEMU is told anew."""
    host.cable("eno2", plugged=False)
    with host.resident() as resident:
        for _ in range(2):
            with product(host) as seen:
                wait_for_links(seen, True, False)
                host.cable("eno1", plugged=False)
                wait_for_links(seen, False, False)
                host.cable("eno1", plugged=True)
                wait_for_links(seen, True, False)
        assert "LAN 1: the product's NIC has a link" not in resident.log.read_text()


def wait_for_links(seen: Product, *links: bool) -> None:
    wait_for(lambda: [seen.link(number) for number in (0, 1)] == list(links), lambda: f"the links are not {links}")


def test_a_flapping_cable_ends_as_it_is(host: Host) -> None:
    with host.resident() as resident, product(host) as seen:
        wait_for(lambda: seen.link(0) and seen.link(1), resident.log.read_text)
        for _ in range(25):
            host.cable("eno1", plugged=False)
            host.cable("eno1", plugged=True)
        host.cable("eno1", plugged=False)
        wait_for(lambda: not seen.link(0), resident.log.read_text)
        wait_for(lambda: '"0": false' in resident.told(), resident.told)
        shown = resident.log.read_text().count("LAN 0: the product's NIC has ")
        assert shown < 25, "every one of the flaps was shown"
        # It negotiates for half a second whenever it is told that it has a link.
        wait_for(lambda: seen.link(1), resident.log.read_text)
