"""What is plugged into this server, from hal-core's facts; what does not change while it is plugged in is read once."""

from __future__ import annotations

import os
from typing import Optional

from hal_core import facts
from hal_core.facts import udevdb, usb
from hal_core.facts.tree import DirectoryStore, Tree
from hal_core.machine import UsbDevice
from hal_udev import node
from hal_udev.plan.rules import Surroundings

KEYBOARD = "console/keyboard"  # below /run/hal: there for as long as hal-console needs the keyboard


def read(root: str = "/") -> tuple[UsbDevice, ...]:
    """:param root: ``/``, or a recorded machine.

    :raise HostError, FileFormatError: as :func:`hal_core.facts.read`.
    """
    return usb.read(facts.open_tree(root))


def own_known(root: str = "/") -> bool:
    """Whether it is known which disk HAL runs from."""
    return bool(usb.own_directories(facts.open_tree(root)))


class Hardware:
    """:param root: where sys, proc, dev and run are; a test has others than this server's."""

    def __init__(self, root: str = "/") -> None:
        self.root = root
        self.own_known = True  # as of the last look

    def look(self) -> tuple[UsbDevice, ...]:
        """Everything that is plugged in at this moment."""
        tree = self._tree()
        names = tree.names(usb.ROOT)
        own = usb.own_directories(tree)
        self.own_known = bool(own)
        devices = (usb.read_one(tree, port, names, own) for port in usb.ports(names))
        # One without numbers has been pulled out while it was being read.
        return tuple(device for device in devices if device.bus is not None and device.number is not None)

    def look_at(self, port: str) -> Optional[UsbDevice]:
        """What is in this port now; None: nothing."""
        tree = self._tree()
        if not tree.exists(f"{usb.ROOT}/{port}"):
            return None
        device = usb.read_one(tree, port, tree.names(usb.ROOT, f"{port}"), ())
        return device if device.number is not None else None

    def is_settled(self, device: UsbDevice) -> bool:
        """The kernel has registered all of its interfaces, by which rules decide, and udev's rules are through with it:
        it then has a file in udev's database.
        """
        tree = self._tree()
        count = tree.integer(f"{usb.ROOT}/{device.port}/bNumInterfaces")
        if not device.configured or count not in (None, len(device.interfaces)):
            return False
        return tree.exists(f"{udevdb.DIRECTORY}/c{node.MAJOR}:{node.minor(device)}")

    def open(self, device: UsbDevice) -> int:
        """A descriptor for QEMU, after the host's drivers have let go. Blocks, and raises, as :mod:`hal_udev.node`."""
        return node.open_for_qemu(self._node(device), device)

    def give_back(self, device: UsbDevice) -> None:
        """Let the host's drivers have it again. Blocks, and raises, as :mod:`hal_udev.node`."""
        node.give_back(self._node(device), device)

    def surroundings(self, run_dir: str, com_ports: frozenset[str]) -> Surroundings:
        """As of the last look."""
        return Surroundings(console_needs_keyboard(run_dir), self.own_known, com_ports)

    def _node(self, device: UsbDevice) -> str:
        return os.path.join(self.root, f"dev/bus/usb/{device.bus:03d}/{device.number:03d}")

    def _tree(self) -> Tree:
        return Tree(DirectoryStore(self.root))


def console_needs_keyboard(run_dir: str) -> bool:
    """hal-console says so, by a file that is there for as long as it needs it: a contract."""
    return os.path.exists(os.path.join(run_dir, KEYBOARD))
