"""Making a tap that stays: by the TUN driver's own ioctls, because netlink knows no other way (drivers/net/tun.c).

pyroute2 does the same, with a thread and another netlink socket for each: a millisecond for every NIC. Sources:
Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h.
"""

from __future__ import annotations

import fcntl
import os
import struct

_TUNSETIFF, _TUNSETPERSIST = 0x400454CA, 0x400454CB
_IFF_TAP = 0x0002
_IFREQ = "16sH22x"  # struct ifreq: the name, flags


def make(name: str) -> None:
    """Kept by the kernel when nobody is attached to it: a product's end comes and goes.

    One that is there already, and that nobody is attached to, is as good.

    :raise OSError: not permitted, somebody is attached, or an interface of the name is something else.
    """
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack(_IFREQ, name.encode(), _IFF_TAP))
        fcntl.ioctl(fd, _TUNSETPERSIST, 1)
    finally:
        os.close(fd)
