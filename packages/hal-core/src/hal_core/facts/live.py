"""What no file of the kernel's tells: a NIC's permanent address, whether KVM is there, what HAL has handed over.

The thin edge of the facts: never called for a recorded machine. A recording holds addresses and NICs as files.
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct

from hal_core import lent, paths, tokens
from hal_core.facts import nics

_SIOCETHTOOL = 0x8946  # include/uapi/linux/sockios.h
_ETHTOOL_GPERMADDR = 0x20  # include/uapi/linux/ethtool.h
_ROOM = 32  # MAX_ADDR_LEN; an InfiniBand address has 20 bytes
_IFNAMSIZ = 16


def has_kvm() -> bool:
    return os.path.exists("/dev/kvm")


def lent_nics() -> dict[str, bytes]:
    """The file that facts look for at :data:`nics.LENT`; none where nothing was handed over."""
    try:
        with open(lent.path(paths.run_dir()), "rb") as file:
            return {nics.LENT: file.read()}
    except OSError:
        return {}


def usb_tokens() -> dict[str, bytes]:
    """The file that facts look for at :data:`tokens.RECORDED`; none where no token is plugged in."""
    found = tokens.read(paths.run_dir())
    return {tokens.RECORDED: tokens.text(found).encode()} if found else {}


def permanent_addresses() -> dict[str, bytes]:
    """The files that facts look for below :data:`nics.PERMANENT`: one for each NIC that has an answer."""
    found = {}
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            for name in os.listdir(nics.ROOT):
                address = _permanent_address(sock, name)
                if any(address):
                    found[f"{nics.PERMANENT}/{name}/permaddr"] = address.hex(":").encode() + b"\n"
    except OSError:
        return {}  # no network in this sandbox or kernel: files alone have to do, which facts are made for
    return found


def _permanent_address(sock: socket.socket, name: str) -> bytes:
    """As ``ethtool -P`` has it; empty where the driver does not say, and for what is no network interface."""
    if len(name) >= _IFNAMSIZ:
        return b""
    answer = array.array("B", struct.pack("=II", _ETHTOOL_GPERMADDR, _ROOM) + bytes(_ROOM))
    request = struct.pack(f"{_IFNAMSIZ}sP16x", name.encode(), answer.buffer_info()[0])
    try:
        fcntl.ioctl(sock, _SIOCETHTOOL, request)
    except OSError:
        return b""  # gone in the meantime, or not a device with such an address: sysfs is asked instead
    size = struct.unpack_from("=I", answer, 4)[0]
    return answer.tobytes()[8 : 8 + min(size, _ROOM)]
