"""What wakes the loop. An event carries nothing that matters: it only says "look again".

That is why nothing of a message is read but that there was one, and why the kernel's complaint that it had too many
(ENOBUFS) is as good as a message.
"""

from __future__ import annotations

import contextlib
import socket

from hal_core.errors import HostError

# include/uapi/linux/netlink.h, rtnetlink.h, netfilter/nfnetlink.h
_NETLINK_ROUTE, _NETLINK_NETFILTER = 0, 12
_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR, _RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
_NFNLGRP_NFTABLES = 7

_CHUNK = 1 << 16


def interfaces() -> socket.socket:
    """Interfaces come, change and go; their addresses do.

    :raise HostError: not permitted.
    """
    return _listen(_NETLINK_ROUTE, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR)


def firewall() -> socket.socket:
    """Somebody changes nftables: HAL, or whoever flushes the whole ruleset.

    :raise HostError: not permitted.
    """
    return _listen(_NETLINK_NETFILTER, 1 << (_NFNLGRP_NFTABLES - 1))


def drain(sock: socket.socket) -> None:
    """Take everything that is there."""
    with contextlib.suppress(BlockingIOError):
        while True:
            try:
                sock.recv(_CHUNK)
            except OSError as error:
                if isinstance(error, BlockingIOError):
                    raise
                # ENOBUFS: events were lost, and the next read goes on.


def _listen(protocol: int, groups: int) -> socket.socket:
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
        sock.bind((0, groups))
    except OSError as error:
        raise HostError(
            f"cannot listen to the kernel's events: {error.strerror or error}", "run this as root"
        ) from None
    return sock
