"""The compiled launch plan, ``/run/hal/qemu.json``: what the launcher opens, and what it then becomes.

Everything is decided here beforehand, down to the file descriptors' numbers, so that the launcher decides nothing. The
guest manager reads the pinning from the same file. Written by ``hal-vmm apply``, replaced atomically.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from hal_vmm.plan.pin import Pin

VERSION = 1
FIRST_FD = 16  # below it: stdin, stdout, stderr, and what the launcher itself has open for a moment


@dataclass(frozen=True)
class Node:
    """A device node or file that the launcher opens as root for QEMU."""

    fd: int
    path: str
    kind: str  # "block", "char" or "file": anything else found there is refused
    mode: str  # "ro", "rw", or "append" to a file that is made; QEMU must ask for exactly this mode (fdset rules)
    what: str  # for messages: "disk sdb (serial S2HSNX0H)"
    nonblock: bool = False
    noctty: bool = False
    otherwise: str = ""  # opened instead, with a warning, when it is missing or busy: the product must boot
    exclusive: bool = False  # O_EXCL: refused while the host has the disk mounted or assembled, and kept from it after


@dataclass(frozen=True)
class Tap:
    """A tap interface that the launcher attaches to (and creates when hal-netcfg has not)."""

    fd: int
    name: str  # "haltap0"


@dataclass(frozen=True)
class Direct:
    """A NIC of the product's that is a real one when hal-netcfg has made that ready: what is otherwise then."""

    lan: int  # the number of the product's NIC
    replaces: tuple[str, str]  # values in argv, of -netdev and -device
    unused: tuple[int, ...]  # descriptors that are then not opened: the tap's, vhost's
    device: str  # the value of -device in their place, but for the device itself
    fd: int  # the device's; -1: QEMU opens it by path
    iommufd: int  # all of them share it; -1 as above


@dataclass(frozen=True)
class Listener:
    """A unix socket that the launcher binds and listens on; only root may connect."""

    fd: int
    path: str


@dataclass(frozen=True)
class LaunchPlan:
    version: int
    qemu: str  # the binary, absolute
    argv: tuple[str, ...]  # argv[0] included
    user: str  # whom QEMU runs as; "" leaves the launcher's user, for tests and demos without root
    groups: tuple[str, ...]  # supplementary groups, "kvm"
    nodes: tuple[Node, ...]
    taps: tuple[Tap, ...]
    listeners: tuple[Listener, ...]
    journal: str  # base name of QEMU's event journal: a FIFO BASE.in, a regular file BASE.out; see eventjournal
    emulator_cpus: tuple[int, ...]  # where QEMU's own threads run; vCPUs are pinned by the guest manager
    pinning: tuple[Pin, ...]
    memlock: Optional[int]  # bytes for RLIMIT_MEMLOCK, -1 for no limit; None leaves it alone
    directs: tuple[Direct, ...] = ()
    direct_memlock: int = (
        0  # bytes: memlock's value where the product has a real NIC, which may write to all its memory
    )
