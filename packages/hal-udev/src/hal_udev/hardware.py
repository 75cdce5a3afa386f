"""What is plugged into this server, from hal-core's facts; what does not change while it is plugged in is read once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Optional

from hal_core import facts, paths, tokens
from hal_core.facts import udevdb, usb
from hal_core.facts.tree import DirectoryStore, Tree
from hal_core.machine_usb import UsbDevice
from hal_core.tokens import Token
from hal_udev import node
from hal_udev.plan.rules import Surroundings

KEYBOARD = "console/keyboard"  # below /run/hal: hal-console needs the keyboard


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
        self._last: dict[str, UsbDevice] = {}  # by port: what was read in full, the last time
        self._same: set[str] = set()  # ports whose device was read in full twice, and was the same
        self._tokens: Optional[frozenset[Token]] = None  # None: nobody has asked yet

    @property
    def tokens(self) -> frozenset[Token]:
        """Of what looks like a keyboard, as of the last look: to be written down, for the next resident."""
        if self._tokens is None:
            self._tokens = tokens.read(paths.run_dir())
        return self._tokens

    def look(self) -> tuple[UsbDevice, ...]:
        """Everything that is plugged in at this moment."""
        tree = self._tree()
        names = tree.names(usb.ROOT)
        own = usb.own_directories(tree)
        self.own_known = bool(own)
        devices = [self._read(tree, port, names, own) for port in usb.ports(names)]
        self._same = {one.port for one in devices if self._last.get(one.port) == one}
        self._last = {one.port: one for one in devices}
        # One without numbers has been pulled out while it was being read.
        here = tuple(device for device in devices if device.bus is not None and device.number is not None)
        # A token is one until it is pulled out; also while the product configures it, and it has no interfaces.
        known = self.tokens
        self._tokens = frozenset(
            tokens.of(one) for one in here if one.token or (known and one.token is None and tokens.of(one) in known)
        )
        return here

    def look_at(self, port: str) -> Optional[UsbDevice]:
        """What is in this port now; None: nothing."""
        tree = self._tree()
        if not tree.exists(f"{usb.ROOT}/{port}"):
            return None
        device = usb.read_one(tree, port, tree.names(usb.ROOT, f"{port}"), ())
        return device if device.number is not None else None

    def is_settled(self, device: UsbDevice) -> bool:
        """The kernel has registered all of its interfaces, by which rules decide, and udev's rules are through with it:
        it then has a file in udev's database. Of what looks like a keyboard, the drivers have read what it really is:
        nobody can ask any more when the product has it.
        """
        tree = self._tree()
        count = tree.integer(f"{usb.ROOT}/{device.port}/bNumInterfaces")
        if not device.configured or count not in (None, len(device.interfaces)) or _is_doubtful(device):
            return False
        return tree.exists(f"{udevdb.DIRECTORY}/c{node.MAJOR}:{node.minor(device)}")

    def open(self, device: UsbDevice) -> int:
        """A descriptor for QEMU, after the host's drivers have let go. Blocks, and raises, as :mod:`hal_udev.node`."""
        return node.open_for_qemu(self._node(device), device)

    def give_back(self, device: UsbDevice) -> None:
        """Let the host's drivers have it again. Blocks, and raises, as :mod:`hal_udev.node`."""
        node.give_back(self._node(device), device)

    def _read(self, tree: Tree, port: str, names: Sequence[str], own: tuple[str, ...]) -> UsbDevice:
        """In full, or of a device that is there for a while only what may change: which drivers have it.

        Twice in full, because a driver's serial ports come a moment after the driver.
        """
        known, directory = self._last.get(port), f"{usb.ROOT}/{port}"
        sure = known and port in self._same and not _is_doubtful(known)
        if known and sure and tree.integer(f"{directory}/devnum") == known.number:
            interfaces = [name for name in names if name.startswith(f"{port}:")]
            drivers = [tree.link(f"{usb.ROOT}/{name}/driver") for name in interfaces]
            configured = tree.integer(f"{directory}/bConfigurationValue") is not None
            own_now = any(path.startswith(f"{tree.resolve(directory)}/") for path in own)
            before = [interface.driver for interface in known.interfaces]
            if (drivers, configured, own_now) == (before, known.configured, known.hal_device):
                return known
        return usb.read_one(tree, port, names, own)

    def surroundings(self, run_dir: str, com_ports: frozenset[str]) -> Surroundings:
        """As of the last look."""
        return Surroundings(console_needs_keyboard(run_dir), self.own_known, com_ports)

    def _node(self, device: UsbDevice) -> str:
        return os.path.join(self.root, f"dev/bus/usb/{device.bus:03d}/{device.number:03d}")

    def _tree(self) -> Tree:
        known = {tokens.RECORDED: tokens.text(self.tokens).encode()} if self.tokens else {}
        return Tree(DirectoryStore(self.root), known)


def _is_doubtful(device: UsbDevice) -> bool:
    """It may be a keyboard, or a token."""
    return device.token is None and device.keyboard


def console_needs_keyboard(run_dir: str) -> bool:
    """hal-console says so, by a file that is there for as long as it needs it: a contract."""
    return os.path.exists(os.path.join(run_dir, KEYBOARD))
