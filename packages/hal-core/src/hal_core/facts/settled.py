"""This server, at a moment at which none of its disks and NICs is just coming or going.

A disk that udev is not through with has no place yet, and maybe another name: it would be taken for one that was never
here, and be remembered as that. A NIC has its driver's name, eth0: hal.toml may keep it for the host by another one.
"""

from __future__ import annotations

import os
import time

from hal_core import facts
from hal_core.facts import nics, presence, udevdb
from hal_core.facts.presence import Presence
from hal_core.facts.tree import DirectoryStore, Tree
from hal_core.machine import Machine

_LOOK_AGAIN = 0.1  # seconds: udev tells only those who listen to it, and its database is files


def read(root: str = "/", patience: float = 10.0) -> tuple[Machine, tuple[str, ...]]:
    """The machine; and the names of those disks and NICs that udev was not through with after all that time.

    :param patience: seconds. :raise HostError, FileFormatError: as :func:`hal_core.facts.read`.
    """
    until = time.monotonic() + patience
    while True:
        before = _look(root)
        machine = facts.read(root)
        if not os.path.isdir(root.rstrip("/") + udevdb.DIRECTORY):
            return machine, ()  # a container, without udev: there will be no more to know
        settled = {one.name for one in before if one.settled}
        names = [disk.name for disk in machine.disks]
        names += [nic.name for nic in machine.nics if not nic.lent]  # one that is lent is no interface now
        coming = tuple(name for name in names if name not in settled)
        if (not coming and _look(root) == before) or time.monotonic() > until:
            return machine, coming
        time.sleep(_LOOK_AGAIN)


def _look(root: str) -> tuple[Presence, ...]:
    tree = Tree(DirectoryStore(root))
    ports = (name for name in tree.names(nics.ROOT) if nics.is_port(tree, name))
    return (*presence.look(tree), *(_nic(tree, name) for name in ports))


def _nic(tree: Tree, name: str) -> Presence:
    """When udev has given it its name, it is through with it, and only then writes down what it knows of it."""
    number = tree.line(f"{nics.ROOT}/{name}/ifindex")
    return Presence(name, number, tree.exists(f"{udevdb.DIRECTORY}/n{number}"))
