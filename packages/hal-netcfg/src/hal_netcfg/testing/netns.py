"""Network namespaces for tests: without names, without processes, in this very process.

::

    with contextlib.ExitStack() as stack:
        host, lan = (stack.enter_context(Namespace()) for _ in range(2))
        host.ip(f"link add eno1 type veth peer name eth0 netns {lan.path}", "link set eno1 up")
        sock = lan.packet_socket("eth0")

A thread enters a namespace by itself (setns(2)), and a socket or a program that it makes there stays there. So one test
has sockets in several, and nothing is left behind: a namespace goes with the last that is open in it, and with it its
interfaces.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Callable, Optional

PATIENCE = 20.0  # seconds: for what takes a moment, on a busy machine

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23  # linux/socket.h, linux/if_packet.h
_ETH_P_ALL = 0x0003  # linux/if_ether.h
_OWN = "/proc/thread-self/ns/net"
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

_Socket = socket.socket  # Namespace has a method "socket"
_libc = ctypes.CDLL(None, use_errno=True)


def why_not() -> str:
    """Why there are no namespaces to be made here; "" if there are."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [name for name in ("ip", "nft") if shutil.which(name, path=_PATH) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    try:
        Namespace().close()
    except OSError as error:
        return f"network namespaces are not permitted: {error.strerror}"
    return ""


class Namespace:
    """A new one, with nothing but its loopback, which is up; without IPv6, whose noise would be counted.

    :param there: the file of one that there is already, ``/proc/PID/ns/net``, in its place; it is left as it is.
    """

    def __init__(self, there: str = "") -> None:
        if there:
            self._fd = os.open(there, os.O_RDONLY | os.O_CLOEXEC)
            return
        with _back_again():
            _check(_libc.unshare(_CLONE_NEWNET))
            self._fd = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        for which in ("all", "default"):
            self.sysctl(f"ipv6/conf/{which}/disable_ipv6", "1")
        self.ip("link set lo up")

    def __enter__(self) -> Namespace:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._fd)

    @property
    def path(self) -> str:
        """For programs that take a namespace by its file, ``ip link set eth0 netns PATH``."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Within this, the calling thread is in the namespace, with all that it makes."""
        with _back_again():
            _check(_libc.setns(self._fd, _CLONE_NEWNET))
            yield

    def run(self, *command: str, text: str = "") -> str:
        """The standard output of a program in the namespace.

        :raise AssertionError: it failed.
        """
        with self.inside():
            done = subprocess.run(
                command, input=text, capture_output=True, text=True, timeout=PATIENCE, env={"PATH": _PATH}, check=False
            )
        if done.returncode:
            raise AssertionError(f"{' '.join(command)}: status {done.returncode}\n{text}\n{done.stderr}")
        return done.stdout

    def ip(self, *commands: str) -> None:
        """Carry out commands, as ip takes them, "link set eth0 up"."""
        self.run("ip", "-batch", "-", text="\n".join(commands))

    def sysctl(self, name: str, value: str) -> None:
        """:param name: below net/, "ipv4/ip_forward"."""
        with self.inside(), open(f"/proc/sys/net/{name}", "w", encoding="ascii") as file:
            file.write(value)

    def socket(self, family: int, kind: int, protocol: int = 0) -> _Socket:
        """A socket of this namespace, non-blocking."""
        with self.inside():
            sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        return sock

    def packet_socket(self, interface: str) -> _Socket:
        """For whole frames on an interface: it sends any, and receives what comes in, not what goes out (packet(7))."""
        sock = self.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        with self.inside():
            sock.bind((interface, _ETH_P_ALL))
        return sock


def wait_for(condition: Callable[[], object], explain: Callable[[], str]) -> None:
    """Look until the condition is true.

    :raise AssertionError: it was not in time; with what ``explain`` says then.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(explain())
        select.select([], [], [], 0.005)


def received(sock: socket.socket) -> Optional[bytes]:
    """What there is to be read now; None: nothing."""
    try:
        return sock.recv(65535)
    except BlockingIOError:
        return None


@contextlib.contextmanager
def _back_again() -> Iterator[None]:
    own = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        _check(_libc.setns(own, _CLONE_NEWNET))
        os.close(own)


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
