"""This server's NICs, from hal-core's facts; read again only when an interface has come or gone."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Optional

from hal_core import facts
from hal_core.facts import nics
from hal_core.machine_nic import Nic

Reader = Callable[[], Sequence[Nic]]


def read(root: str = "/") -> tuple[Nic, ...]:
    """:param root: ``/``, or a recorded machine.

    :raise HostError, FileFormatError: as :func:`hal_core.facts.read`.
    """
    return nics.read(facts.open_tree(root))


class Hardware:
    """:param reader: what reads the NICs; a test without hardware has one of its own."""

    def __init__(self, reader: Optional[Reader] = None) -> None:
        self._reader = reader or read
        self._interfaces: list[tuple[int, str]] = []
        self._nics: tuple[Nic, ...] = ()

    def nics(self) -> tuple[Nic, ...]:
        interfaces = socket.if_nameindex()
        if interfaces != self._interfaces:
            self._nics = tuple(self._reader())
            self._interfaces = interfaces
        return self._nics

    def permanent(self) -> dict[str, str]:
        """The permanent MAC address of each NIC, by name; "" where it is not known."""
        return {nic.name: nic.mac for nic in self.nics()}
