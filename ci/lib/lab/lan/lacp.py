"""The switch's end of a link aggregation: whoever speaks LACP to one of its ports gets the answer that lets it in.

A switch's ports are one aggregate because they tell the same system and key (IEEE 802.1AX-2020, 6.4.2.3 for the frame,
6.4.2.3.2 for the bits of the state).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Optional

from lab.lan.frames import Ethernet, Unknown

ADDRESS = "01:80:c2:00:00:02"
_ETHERTYPE, _SUBTYPE, _VERSION = 0x8809, 1, 1
_ACTOR, _PARTNER, _COLLECTOR, _INFORMATION, _COLLECTOR_LENGTH = 1, 2, 3, 20, 16
_TO_ACTOR = 2  # bytes before what the sender says of itself
_PRIORITY = 0x8000
# Active, asking for a frame each second, aggregatable, in sync, collecting and distributing.
_STATE = 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x20
_KEY = 1


@dataclass(frozen=True)
class Port:
    """One port of a switch.

    :ivar system: the switch's MAC address, the same for all ports of an aggregate
    :ivar number: from 1
    """

    system: str
    number: int

    def answer(self, frame: Ethernet, mac: str) -> Optional[Ethernet]:
        """What the switch says to a LACP frame; None to any other.

        :param mac: the port's own
        """
        untrusted = frame.payload
        if not isinstance(untrusted, Unknown) or untrusted.number != _ETHERTYPE or frame.destination != ADDRESS:
            return None
        theirs = untrusted.data[_TO_ACTOR : _TO_ACTOR + _INFORMATION]
        if untrusted.data[:4] != bytes((_SUBTYPE, _VERSION, _ACTOR, _INFORMATION)) or len(theirs) < _INFORMATION:
            return None
        system = bytes.fromhex(self.system.replace(":", ""))
        ours = struct.pack(">H6sHHHB3x", _PRIORITY, system, _KEY, _PRIORITY, self.number, _STATE)
        said = bytes((_SUBTYPE, _VERSION, _ACTOR, _INFORMATION)) + ours
        said += bytes((_PARTNER, _INFORMATION)) + theirs[2:]
        said += struct.pack(">BBH12x", _COLLECTOR, _COLLECTOR_LENGTH, 0)
        return Ethernet(ADDRESS, mac, Unknown(_ETHERTYPE, said.ljust(110, b"\0")))
