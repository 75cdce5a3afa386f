"""The launcher: opens what the compiled plan names, drops its privileges and becomes QEMU by exec.

QEMU opens no device itself: each one arrives as a file descriptor under the number that the plan gave it. Everything
was decided when the plan was compiled (:mod:`hal_vmm.launch.launchplan`), so this imports next to nothing and is gone
in milliseconds. The process id stays the same: whoever started the launcher has started QEMU.

A lock on ``<run>/qemu.lock`` is held for as long as QEMU lives, and the file holds the process id. So there is never a
second QEMU on the same disks, and anybody can tell at any moment whether the product's QEMU is there
(:mod:`hal_vmm.manager.qemulock`). It is an open file description lock: QEMU inherits it with the descriptor (fcntl(2)).
"""

from __future__ import annotations

import fcntl
import os
import resource
import sys

from hal_core import atomic
from hal_core.errors import HalError, HostError
from hal_core.notify import notify
from hal_vmm.launch import direct, opening, readplan

PROGRAM = "hal-qemu-launch"
LOCK_FD = 15  # just below launchplan.FIRST_FD

_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/", "TERM": "linux"}


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
    plan = readplan.read(arguments[0])
    _close_inherited()
    run_dir = os.path.dirname(os.path.abspath(arguments[0]))
    _lock(os.path.join(run_dir, "qemu.lock"))
    ids = _user_ids(plan["user"], plan["groups"])
    _make_journal(plan["journal"], ids)
    # From here on the guest manager sees us: only now, because it would take the journal of the last QEMU for ours.
    os.write(LOCK_FD, f"{os.getpid()}\n".encode())
    direct.take(plan, run_dir, ids[0] if ids else None, PROGRAM, _place)
    for node in plan["nodes"]:
        _place(opening.node(node, PROGRAM), node["fd"])
    for tap in plan["taps"]:
        _place(opening.tap(tap["name"]), tap["fd"])
    for listener in plan["listeners"]:
        _place(opening.listener(listener["path"]), listener["fd"])
    _set_limits(plan["memlock"], plan["emulator_cpus"])
    _tell_ready()  # while we still may: the socket need not be open to QEMU's user
    _drop_privileges(ids)
    try:
        os.execve(plan["qemu"], plan["argv"], _ENVIRONMENT)
    except OSError as error:
        raise HostError(
            f"cannot run QEMU {plan['qemu']}: {error.strerror}", "install QEMU, then run: hal-vmm apply"
        ) from error


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
    """QEMU's event journal: see :mod:`hal_vmm.manager.eventjournal` for why and how."""
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
