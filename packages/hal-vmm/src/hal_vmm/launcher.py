"""The launcher: opens what the compiled plan names, drops its privileges and becomes QEMU by exec.

QEMU opens no device itself: each one arrives as a file descriptor under the number that the plan gave it. Everything
was decided when the plan was compiled (:mod:`hal_vmm.launchplan`), so this imports next to nothing and is gone in
milliseconds. The process id stays the same: whoever started the launcher has started QEMU.

A lock on ``<run>/qemu.lock`` is held for as long as QEMU lives, and the file holds the process id. So there is never a
second QEMU on the same disks, and anybody can tell at any moment whether the product's QEMU is there
(:mod:`hal_vmm.qemulock`). It is an open file description lock: QEMU inherits it with the descriptor (fcntl(2)).
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import resource
import stat
import sys

from hal_core import atomic, quickjson
from hal_core.errors import FileFormatError, HalError, HostError
from hal_core.notify import notify

TYPE_CHECKING = False  # typing.TYPE_CHECKING, without importing typing
if TYPE_CHECKING:
    from typing import Any

PROGRAM = "hal-qemu-launch"
# Of the plan's format. Equals launchplan.VERSION, which would cost an import of dataclasses; a test compares them.
VERSION = 1
LOCK_FD = 15  # just below launchplan.FIRST_FD

# include/uapi/asm-generic/ioctls.h and include/uapi/linux/if_tun.h
_TIOCEXCL = 0x540C
_TIOCGEXCL = 0x80045440
_TUNSETIFF = 0x400454CA
_PTS_MAJORS = range(136, 144)  # Documentation/admin-guide/devices.txt
_IFF_TAP_NO_PI_VNET_HDR = 0x0002 | 0x1000 | 0x4000

_PLAN = {  # key → type
    "qemu": str,
    "argv": list,
    "user": str,
    "groups": list,
    "nodes": list,
    "taps": list,
    "listeners": list,
    "journal": str,
    "memlock": (int, type(None)),
    "emulator_cpus": list,
}
_NODE = {
    "fd": int,
    "path": str,
    "kind": str,
    "mode": str,
    "what": str,
    "nonblock": bool,
    "noctty": bool,
    "otherwise": str,
    "exclusive": bool,
}
_SCALARS = {"argv": str, "groups": str, "emulator_cpus": int}  # list → type of its items
_OBJECTS = {"nodes": _NODE, "taps": {"fd": int, "name": str}, "listeners": {"fd": int, "path": str}}
_IS_KIND = {"block": stat.S_ISBLK, "char": stat.S_ISCHR, "file": stat.S_ISREG}
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/", "TERM": "linux"}
_LISTEN_BACKLOG = 4  # a second client of a QMP socket waits in line instead of being refused


def main(arguments: list[str]) -> int:
    """Become QEMU. Returns only ``--help``; everything that is wrong is raised.

    :raise HalError: one line for what is missing; nothing of the product has been touched then.
    """
    if len(arguments) != 1 or arguments[0] in ("-h", "--help"):
        sys.stdout.write(
            f"usage: {PROGRAM} PLAN\n\n"
            "Open what the launch plan (/run/hal/qemu.json, written by `hal-vmm apply`) names, drop privileges,\n"
            "and become QEMU. hal-qemu.service runs this; `hal-vmm run` does where there is no systemd.\n"
        )
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    plan = _read_plan(arguments[0])
    _close_inherited()
    _lock(os.path.join(os.path.dirname(os.path.abspath(arguments[0])), "qemu.lock"))
    ids = _user_ids(plan["user"], plan["groups"])
    _make_journal(plan["journal"], ids)
    # From here on the guest manager sees us: only now, because it would take the journal of the last QEMU for ours.
    os.write(LOCK_FD, f"{os.getpid()}\n".encode())
    for node in plan["nodes"]:
        _place(_open_node(node), node["fd"])
    for tap in plan["taps"]:
        _place(_open_tap(tap["name"]), tap["fd"])
    for listener in plan["listeners"]:
        _place(_listen(listener["path"]), listener["fd"])
    _set_limits(plan["memlock"], plan["emulator_cpus"])
    _tell_ready()  # while we still may: the socket need not be open to QEMU's user
    _drop_privileges(ids)
    try:
        os.execve(plan["qemu"], plan["argv"], _ENVIRONMENT)
    except OSError as error:
        raise HostError(
            f"cannot run QEMU {plan['qemu']}: {error.strerror}", "install QEMU, then run: hal-vmm apply"
        ) from error


def _read_plan(path: str) -> dict[str, Any]:
    hint = "write it anew with: hal-vmm apply"
    try:
        with open(path, encoding="utf-8") as file:
            plan = quickjson.loads(file.read())
    except FileNotFoundError:
        raise HostError(f"no launch plan at {path}", hint) from None
    except OSError as error:
        raise HostError(f"launch plan {path}: {error.strerror}") from None
    except ValueError as error:
        raise FileFormatError(f"launch plan {path} is damaged: {error}", hint) from None
    if not isinstance(plan, dict) or plan.get("version") != VERSION:
        found = plan.get("version") if isinstance(plan, dict) else type(plan).__name__
        raise FileFormatError(f"launch plan {path} has version {found}; this launcher knows {VERSION}", hint)
    wrong = _wrong(plan, _PLAN) or _wrong_items(plan)
    if wrong:
        raise FileFormatError(f"launch plan {path} is damaged: {', '.join(wrong)} missing or wrong", hint)
    return plan


def _wrong(value: object, shape: dict[str, Any]) -> list[str]:
    """The keys that a JSON object lacks, or that hold something of another type."""
    if not isinstance(value, dict):
        return list(shape)
    return [key for key, types in shape.items() if not isinstance(value.get(key, ...), types)]


def _wrong_items(plan: dict[str, Any]) -> list[str]:
    wrong = [key for key, kind in _SCALARS.items() if not all(isinstance(item, kind) for item in plan[key])]
    for key, shape in _OBJECTS.items():
        wrong += [f"{key}[{index}].{name}" for index, item in enumerate(plan[key]) for name in _wrong(item, shape)]
    return wrong


def _close_inherited() -> None:
    """Whatever else the caller had open is none of QEMU's business."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.close(int(name))
            except OSError:
                continue  # the descriptor of this very listing


def _lock(path: str) -> None:
    """Hold ``<run>/qemu.lock`` from now until QEMU's end."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        # struct flock of x86-64 and aarch64: type, whence = SEEK_SET, start = 0, length = 0 (all of it), pid = 0.
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, fcntl.F_WRLCK.to_bytes(2, sys.byteorder) + bytes(30))
    except BlockingIOError:
        pid = os.read(fd, 20).decode("ascii", "replace").strip()
        raise HostError(
            f"the product is already running: QEMU, pid {pid or 'unknown'}", "stop it first with: hal vmm stop"
        ) from None
    os.ftruncate(fd, 0)
    _place(fd, LOCK_FD)


def _user_ids(user: str, groups: list[str]) -> tuple[int, int, list[int]] | None:
    """uid, gid and supplementary groups to become; None to stay who we are."""
    if not user:
        return None
    if os.getuid() != 0:
        raise HostError(f"only root can start QEMU as user {user}", "run as root, or set vmm.user in hal.toml")
    import grp
    import pwd

    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise HostError(f"there is no user {user} to run QEMU as", "systemd-sysusers creates it") from None
    try:
        return entry.pw_uid, entry.pw_gid, [grp.getgrnam(group).gr_gid for group in groups]
    except KeyError as error:
        raise HostError(f"there is no group for QEMU: {error}") from None


def _make_journal(base: str, ids: tuple[int, int, list[int]] | None) -> None:
    """QEMU's event journal: see :mod:`hal_vmm.eventjournal` for why and how."""
    directory = os.path.dirname(base)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    for suffix in (".in", ".out"):
        atomic.remove(base + suffix)
    os.mkfifo(base + ".in", 0o600)
    os.close(os.open(base + ".out", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    # Not close-on-exec: a FIFO forgets what is in it when nobody has it open, and QEMU opens it only after the exec.
    command = os.open(base + ".in", os.O_RDWR | os.O_NONBLOCK)
    os.set_inheritable(command, True)
    os.write(command, b'{"execute":"qmp_capabilities"}\n')
    if ids:
        os.chown(base + ".in", ids[0], ids[1])
        os.chown(base + ".out", ids[0], ids[1])


def _open_node(node: dict[str, Any]) -> int:
    """Open one device node; fall back to the node's ``otherwise`` with a warning where it has one."""
    try:
        return _open_checked(node)
    except HostError as error:
        if not node["otherwise"]:
            raise
        sys.stderr.write(f"<4>{PROGRAM}: {error.message}; the product gets {node['otherwise']} in its place\n")
        return os.open(node["otherwise"], os.O_RDWR)


def _open_checked(node: dict[str, Any]) -> int:
    path, what = node["path"], node["what"]
    flags = os.O_RDWR if node["mode"] == "rw" else os.O_RDONLY
    # Always non-blocking at first: opening a serial port without carrier, or an empty drive, must not hang.
    flags |= os.O_NONBLOCK | os.O_CLOEXEC | (os.O_NOCTTY if node["noctty"] else 0)
    # On a block device O_EXCL is a claim, as mounting it is one (open(2)): whoever comes second is refused.
    flags |= os.O_EXCL if node["exclusive"] else 0
    try:
        fd = os.open(path, flags)
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


def _open_tap(name: str) -> int:
    """Attach to a tap interface; it is made (without carrier or address) when it does not exist yet."""
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        request = name.encode().ljust(16, b"\0") + _IFF_TAP_NO_PI_VNET_HDR.to_bytes(2, sys.byteorder) + bytes(22)
        fcntl.ioctl(fd, _TUNSETIFF, request)
    except OSError as error:
        raise HostError(
            f"cannot attach to tap {name}: {error.strerror}", "is the tun module loaded, and no other QEMU on this tap?"
        ) from None
    return fd


def _listen(path: str) -> int:
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


def _place(fd: int, target: int) -> None:
    """Give a descriptor the number that the plan promised, and let it survive the exec."""
    os.dup2(fd, target, inheritable=True)
    os.close(fd)


def _set_limits(memlock: int | None, emulator_cpus: list[int]) -> None:
    if memlock is not None:
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (memlock, memlock))
        except ValueError as error:  # "not allowed to raise maximum limit", and not an OSError
            raise HostError(f"cannot let QEMU lock {memlock} bytes of memory: {error}", "run as root") from None
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core of QEMU would be the product's whole memory
    if emulator_cpus:
        try:
            os.sched_setaffinity(0, emulator_cpus)
        except OSError as error:
            sys.stderr.write(f"<4>{PROGRAM}: QEMU's own threads are not pinned to {emulator_cpus}: {error.strerror}\n")


def _tell_ready() -> None:
    """The product's start does not depend on whether anybody is still there to hear of it."""
    try:
        notify("READY=1")
    except OSError as error:
        sys.stderr.write(f"<4>{PROGRAM}: nobody could be told that QEMU is ready: {error.strerror}\n")


def _drop_privileges(ids: tuple[int, int, list[int]] | None) -> None:
    if ids:
        uid, gid, groups = ids
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def run() -> int:
    """What ``hal-qemu-launch`` calls: like :func:`hal_core.cli.run`, without its imports."""
    try:
        return main(sys.argv[1:])
    except HalError as error:
        _complain(error.message, error.hint)
        return error.exit_status
    except OSError as error:  # one that nobody expected: it names its file, and a traceback would not help
        _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error), "")
        return 1


def _complain(message: str, hint: str) -> None:
    """<3> is the journal's priority "error" (sd-daemon(3)): there is no HAL command line to talk to here."""
    sys.stderr.write(f"<3>{PROGRAM}: {message}\n" + (f"<3>{PROGRAM}: hint: {hint}\n" if hint else ""))
