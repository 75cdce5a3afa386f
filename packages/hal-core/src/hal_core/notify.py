"""Telling whoever started this process how it is doing: the sd_notify(3) protocol, one datagram to ``$NOTIFY_SOCKET``.

Written out here, as the manual page invites to: the launcher cannot afford an import that costs more than itself.
"""

from __future__ import annotations

import _socket
import os


def notify(state: str) -> bool:
    """Send ``state``, "READY=1" or "WATCHDOG=1"; several are separated by newlines.

    :return: False where nobody is listening: not started by a service manager.
    :raise OSError: there is a socket, but it does not take the message.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        # A leading @ stands for the NUL of an abstract address.
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.send(state.encode())
    finally:
        sock.close()
    return True


def environment_of_children() -> dict[str, str]:
    """The environment for a program that must not speak in this process's name.

    systemctl does: since systemd 250, it reports its own failure to ``$NOTIFY_SOCKET``.
    """
    return {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}


def watchdog_seconds() -> float:
    """How often the service manager expects "WATCHDOG=1", in seconds; 0 if it does not (sd_watchdog_enabled(3))."""
    meant_for = os.environ.get("WATCHDOG_PID", "")
    if meant_for and meant_for != str(os.getpid()):
        return 0.0  # for a parent of ours that has passed its environment on
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1_000_000 if microseconds.isdecimal() else 0.0
