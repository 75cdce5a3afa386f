"""Opening for QEMU, as root, what it may not open itself: device nodes, serial ports, taps, listening sockets."""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import stat
import sys

from hal_core import atomic
from hal_core.errors import HostError

TYPE_CHECKING = False  # typing.TYPE_CHECKING, without importing typing
if TYPE_CHECKING:
    from typing import Any

_NET = "/sys/class/net"

# include/uapi/asm-generic/ioctls.h and include/uapi/linux/if_tun.h
_TIOCEXCL = 0x540C
_TIOCGEXCL = 0x80045440
_TUNSETIFF = 0x400454CA
_PTS_MAJORS = range(136, 144)  # Documentation/admin-guide/devices.txt
_IFF_TAP_NO_PI_VNET_HDR = 0x0002 | 0x1000 | 0x4000

_IS_KIND = {"block": stat.S_ISBLK, "char": stat.S_ISCHR, "file": stat.S_ISREG}
_FLAGS = {"rw": os.O_RDWR, "append": os.O_WRONLY | os.O_APPEND | os.O_CREAT}
_LISTEN_BACKLOG = 4  # a second client of a QMP socket waits in line instead of being refused


def node(wanted: dict[str, Any], program: str) -> int:
    """One device node of the plan; its ``otherwise`` instead, with a warning by ``program``, where it has one.

    :raise HostError: it is missing, busy, or something else than it ought to be; and there is nothing instead.
    """
    try:
        return _open_checked(wanted)
    except HostError as error:
        if not wanted["otherwise"]:
            raise
        sys.stderr.write(f"<4>{program}: {error.message}; the product gets {wanted['otherwise']} in its place\n")
        return os.open(wanted["otherwise"], os.O_RDWR)


def _open_checked(node: dict[str, Any]) -> int:
    path, what = node["path"], node["what"]
    flags = _FLAGS.get(node["mode"], os.O_RDONLY)
    # Always non-blocking at first: opening a serial port without carrier, or an empty drive, must not hang.
    flags |= os.O_NONBLOCK | os.O_CLOEXEC | (os.O_NOCTTY if node["noctty"] else 0)
    # On a block device O_EXCL is a claim, as mounting it is one (open(2)): whoever comes second is refused.
    flags |= os.O_EXCL if node["exclusive"] else 0
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as error:
        hint = "plan for the hardware that is there: hal-vmm apply"
        if node["exclusive"] and error.errno == errno.EBUSY:
            hint = "this host uses it, as a file system, in a RAID or for LVM? see: lsblk"
        raise HostError(f"cannot open {what}: {path}: {error.strerror}", hint) from None
    is_kind = _IS_KIND.get(node["kind"])
    if is_kind is None or not is_kind(os.fstat(fd).st_mode):
        os.close(fd)
        raise HostError(f"cannot use {what}: {path} is not a {node['kind']} device or file")
    if node["noctty"]:
        _claim_serial(fd, path, what)
    if not node["nonblock"]:
        os.set_blocking(fd, True)
    return fd


def _claim_serial(fd: int, path: str, what: str) -> None:
    """Take a serial port for the product alone.

    :raise HostError: somebody else uses it: it is in exclusive mode (ioctl_tty(2), TIOCGEXCL), or the controlling
        terminal of a process, as with a getty.
    """
    if not os.isatty(fd):
        return
    holder = _controlled_by(os.fstat(fd).st_rdev)
    locked = int.from_bytes(fcntl.ioctl(fd, _TIOCGEXCL, bytes(4)), sys.byteorder)
    if holder or locked:
        os.close(fd)
        raise HostError(
            f"{what}: {path} is busy: {holder or 'another program has locked it'}",
            "free it (a serial-getty on it? systemctl mask it), then: hal vmm stop; hal vmm start",
        )
    if os.major(os.fstat(fd).st_rdev) not in _PTS_MAJORS:  # a pseudo-terminal would stay locked when QEMU has gone
        fcntl.ioctl(fd, _TIOCEXCL)


def _controlled_by(device: int) -> str:
    """The program whose controlling terminal this is, "agetty (pid 812)", or "" (proc(5), stat, field 7)."""
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:  # not by open(), which takes longer than the reading, and there may be a thousand processes
            fd = os.open(f"/proc/{name}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # it ended meanwhile
        try:
            program, _, rest = os.read(fd, 4096).partition(b"(")[2].rpartition(b")")
        except OSError:
            continue  # now it did
        finally:
            os.close(fd)
        if int(rest.split(None, 5)[4]) & 0xFFFFFFFF == device:
            return f"{program.decode(errors='replace')} (pid {name})"
    return ""


def tap(name: str) -> int:
    """Attach to a tap interface; it is made (without carrier or address) when it does not exist yet.

    A macvtap is opened instead: it has a node of its own (drivers/net/tap.c), with the same header before each frame.

    :raise HostError: there is no way to it, or another QEMU has it.
    """
    own = _own_node(name)
    try:
        fd = os.open(own or "/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        request = name.encode().ljust(16, b"\0") + _IFF_TAP_NO_PI_VNET_HDR.to_bytes(2, sys.byteorder) + bytes(22)
        fcntl.ioctl(fd, _TUNSETIFF, request)
    except OSError as error:
        if own:
            hint = "it is a macvtap of hal-netcfg's making: hal netcfg status"
            raise HostError(f"cannot attach to tap {name}: {own}: {error.strerror}", hint) from None
        hint = "is the tun module loaded, and no other QEMU on this tap?"
        raise HostError(f"cannot attach to tap {name}: {error.strerror}", hint) from None
    return fd


def _own_node(name: str) -> str:
    """A macvtap's node, "/dev/tap7" where 7 is its ifindex; "" when the interface is none, or does not exist yet."""
    try:
        nodes = os.listdir(f"{_NET}/{name}/macvtap")
    except FileNotFoundError:
        return ""
    return f"/dev/{nodes[0]}" if nodes else ""


def listener(path: str) -> int:
    """A listening unix socket that only root may connect to, replacing a left-over one."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    atomic.remove(path)
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        sock.bind(path)
    except OSError as error:
        raise HostError(f"cannot listen on {path}: {error.strerror or error}") from None
    finally:
        os.umask(mask)
    sock.listen(_LISTEN_BACKLOG)
    return sock.detach()
