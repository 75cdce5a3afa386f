"""NICs that the product has as PCI devices: bound to vfio-pci, and back to their own driver.

Such a NIC is listed like an interface, by the name haldirectN, though the kernel has none of that name: so it is made,
removed and taken back in the steps of its LAN, like a bridge. What is in sysfs counts; what is written down beside it
(:mod:`hal_core.lent`) is for those who need to know which NIC that was.

Sources: Linux, Documentation/ABI/testing/sysfs-bus-pci, Documentation/driver-api/vfio.rst.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Callable

from hal_core import atomic, lent
from hal_core.errors import HostError
from hal_core.facts import passthrough
from hal_core.facts.tree import DirectoryStore, Tree
from hal_core.lent import Lent
from hal_netcfg import names
from hal_netcfg.links import kernelfile
from hal_netcfg.links.link import Link

_DRIVER = "vfio-pci"
_FLOCK = "=hhxxxxqqixxxx"  # struct flock of x86-64 and aarch64


class Direct:
    """:param run_dir: where it is written down.
    :param prepare: tells a NIC, by netlink, what its virtual function 0 is to wear: name, MAC address.
    :param root: where /sys is, for tests.
    """

    def __init__(self, run_dir: str, prepare: Callable[[str, str], None], root: str = "/") -> None:
        self._run_dir = run_dir
        self._prepare = prepare
        self._root = root.rstrip("/")

    def links(self) -> Iterator[Link]:
        """:raise HostError, FileFormatError: what is written down cannot be read."""
        held = lent.read(self._run_dir)
        running = is_product_running(self._run_dir) if held else False
        for number, one in held.items():
            # Half made, or half removed: like no wanted one, and so made anew.
            whole = self._driver(one.device) == _DRIVER
            settings = wanted(one.mode, one.nic, one.mac, one.driver, one.pci) if whole else {}
            yield Link(f"{names.DIRECT}{number}", 0, "vfio", carrier=running and whole, settings=settings)

    def make(self, name: str, settings: Mapping[str, object]) -> None:
        """:raise HostError: it cannot be handed over; then :meth:`remove` takes back what was done."""
        mode, nic, mac, driver, pci = (str(settings[key]) for key in ("mode", "nic", "mac", "driver", "pci"))
        try:
            one = Lent(nic, mac, driver, mode, pci, pci)
            # First of all: what is half done is then known to be HAL's.
            self._write_down(name, one)
            if mode == "sriov":
                one = replace(one, device=self._function(pci))
                self._write_down(name, one)
                self._prepare(nic, mac)
            self._hand_over(one.device)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise HostError(f"{nic} cannot be handed to the product: {where}{error.strerror}") from None

    def remove(self, name: str) -> None:
        """Give it back to its own driver; nothing where it is not there.

        :raise HostError: its driver does not take it.
        """
        one = lent.read(self._run_dir).get(_number(name))
        if one is None:
            return
        try:
            self._take_back(one)
        except OSError as error:
            raise HostError(f"{one.nic}: {error.filename or one.device}: {error.strerror}") from None
        self._write_down(name, None)

    def _hand_over(self, device: str) -> None:
        found = passthrough.read(Tree(DirectoryStore(self._root or "/")), device)
        others = found.others if found else ()
        if others:
            raise HostError(f"{device} cannot be parted from others in its IOMMU group: {', '.join(others)}")
        self._write(f"devices/{device}/driver_override", _DRIVER)
        if self._driver(device) not in ("", _DRIVER):
            self._write(f"devices/{device}/driver/unbind", device)
        if not self._driver(device):
            self._write("drivers_probe", device)
        if self._driver(device) != _DRIVER:
            raise HostError(f"{_DRIVER} does not take {device}", f"modprobe {_DRIVER}; dmesg")

    def _take_back(self, one: Lent) -> None:
        if self._is_here(one.device):
            self._write(f"devices/{one.device}/driver_override", "\n")
            if self._driver(one.device) == _DRIVER:
                self._write(f"devices/{one.device}/driver/unbind", one.device)
        if not self._is_here(one.pci):
            return  # the card has been pulled
        if one.mode == "sriov":
            self._write(f"devices/{one.pci}/sriov_numvfs", "0")
            self._write(f"devices/{one.pci}/sriov_drivers_autoprobe", "1")
            return
        if not self._driver(one.device):
            self._write("drivers_probe", one.device)
        if not self._driver(one.device):
            raise HostError(f"{one.nic}: its driver {one.driver} does not take it back", "dmesg")

    def _function(self, pci: str) -> str:
        """The NIC's virtual function 0, which no driver of the host's touches."""
        directory = f"{self._root}/sys/bus/pci/devices/{pci}"
        if not os.path.exists(f"{directory}/virtfn0"):
            self._write(f"devices/{pci}/sriov_drivers_autoprobe", "0")
            self._write(f"devices/{pci}/sriov_numvfs", "1")
        return os.path.basename(os.readlink(f"{directory}/virtfn0"))

    def _is_here(self, device: str) -> bool:
        return os.path.exists(f"{self._root}/sys/bus/pci/devices/{device}")

    def _driver(self, device: str) -> str:
        try:
            return os.path.basename(os.readlink(f"{self._root}/sys/bus/pci/devices/{device}/driver"))
        except OSError:
            return ""

    def _write(self, path: str, text: str) -> None:
        kernelfile.write(f"{self._root}/sys/bus/pci/{path}", text)

    def _write_down(self, name: str, one: Lent | None) -> None:
        held = lent.read(self._run_dir)
        held.pop(_number(name), None)
        if one:
            held[_number(name)] = one
        atomic.write(lent.path(self._run_dir), lent.text(held), 0o644)


def wanted(mode: str, nic: str, mac: str, driver: str, pci: str) -> dict[str, object]:
    """A direct NIC's settings, by which one is told from another."""
    return {"mode": mode, "nic": nic, "mac": mac, "driver": driver, "pci": pci}


def is_direct(name: str) -> bool:
    return name.startswith(names.DIRECT)


def is_product_running(run_dir: str) -> bool:
    """By the lock that QEMU holds for as long as it lives, a contract of hal-vmm's: a direct NIC has no tap to tell."""
    try:
        fd = os.open(os.path.join(run_dir, "qemu.lock"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        return bool(struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK)
    finally:
        os.close(fd)


def _number(name: str) -> int:
    return int(name[len(names.DIRECT) :])
