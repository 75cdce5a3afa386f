"""A real systemd as process 1 of a container of its own, with HAL's units installed in it as they are: for tests.

The container is a few namespaces and an overlay over a root directory, by default this machine's own: whatever is
written there goes to a tmpfs. It has no device nodes but harmless ones, a network of its own with only a loopback, and
/sys and /proc/sys read-only, all but /proc/sys/net, which is that network's. Its ``reboot.target`` and
``poweroff.target`` end all units and do nothing else. So units, programs, users and directories are where they are on a
server, and nothing of this machine is touched.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional

PATIENCE = 60.0  # seconds: how long a test waits for what takes a moment, on a busy machine

# $1: an empty directory. $2: what is laid over the root. $3: the root. $4: where units are.
_INIT = r"""
set -eu
mount -t tmpfs -o mode=0755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=$3,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
cp -a "$2/." "$1/root/"
cd "$1/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,ro,bind proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for directory in run tmp dev; do mount -t tmpfs -o mode=0755 tmpfs "$directory"; done
chmod 1777 tmp
mkdir dev/pts dev/shm dev/net
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
# Nodes of its own, not this machine's: systemd gives consoles another owner and mode, tmpfiles other nodes.
for node in null zero full random urandom tty kvm net/tun; do
    if [ -e "/dev/$node" ]; then cp -a "/dev/$node" "dev/$node"; fi
done
cp -a dev/null dev/console
pivot_root . .
umount -l .
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=hal-test \
    SYSTEMD_UNIT_PATH="$4" SYSTEMD_GENERATOR_PATH=/nonexistent \
    /lib/systemd/systemd --system --log-target=journal --unit=default.target
"""
_UNIT_PATH = "/run/systemd/system:/usr/lib/hal-test/units"
_UNIT_PATH_OF_ANOTHER = f"/etc/systemd/system:{_UNIT_PATH}:/usr/lib/systemd/system"
_ENTER_CGROUP = 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"'
_PROBE = """
set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
"""
_NAMESPACES = ("--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net")

# The skeleton of every system, without the services that would look at the machine.
_TARGETS = ("basic", "sockets", "timers", "paths", "slices", "local-fs", "multi-user", "final", "umount")
_ENDS = ("reboot", "poweroff")
_JOURNAL = ("systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket")


def cgroup_mount() -> Optional[Path]:
    """Where the unified control group hierarchy is mounted; None: nowhere."""
    for line in Path("/proc/mounts").read_text().splitlines():
        fields = line.split()
        if fields[2] == "cgroup2":
            return Path(fields[1])
    return None


def why_not() -> str:
    """Why no such container can be made here; "" if it can."""
    if os.geteuid() != 0:
        return "a systemd container needs root"
    missing = [name for name in ("unshare", "nsenter", "pivot_root", "systemctl") if shutil.which(name) is None]
    if missing or not Path("/lib/systemd/systemd").exists():
        return f"not installed: {', '.join(missing) or 'systemd'}"
    cgroup = cgroup_mount()
    if cgroup is None or not os.access(cgroup / "cgroup.procs", os.W_OK):
        return "no writable cgroup2 hierarchy"
    probe = subprocess.run(
        ["unshare", *_NAMESPACES, "--fork", "sh", "-c", _PROBE],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"namespaces or overlays are not permitted: {probe.stderr.strip()}" if probe.returncode else ""


class SystemdHost:
    """The container.

    :param base: an empty directory. Put what is to be installed below :attr:`files`, then :meth:`boot`.
    :param root: the root directory of the system that is to run. Of this machine's own no units are loaded, of
        another's all but those of the skeleton.
    """

    def __init__(self, base: Path, root: Path = Path("/")) -> None:
        self._root = root
        self.files = base / "files"
        self.units = self.files / "usr/lib/hal-test/units"
        self.units.mkdir(parents=True)
        self._layer = base / "layer"
        self._layer.mkdir()
        mounted = cgroup_mount()
        if mounted is None:
            raise RuntimeError(why_not())
        self._cgroup = mounted / f"hal-test-{os.getpid()}-{id(self):x}"
        self._outer: Optional[subprocess.Popen[str]] = None
        self._init = 0
        self._skeleton()

    def install(self, source: Path, target: str) -> None:
        """A file or a directory of this machine, at an absolute path of the container."""
        place = self.files / target.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place)

    def write(self, target: str, text: str) -> None:
        """A file with this text, at an absolute path of the container."""
        place = self.files / target.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def boot(self) -> None:
        """Return when systemd is up; no unit but the journal's has been started then."""
        self._cgroup.mkdir()
        unit_path = _UNIT_PATH if self._root == Path("/") else _UNIT_PATH_OF_ANOTHER
        init = ("sh", "-c", _INIT, "sh", str(self._layer), str(self.files), str(self._root), unit_path)
        unshare = ("unshare", *_NAMESPACES, "--fork", "--kill-child", *init)
        outer = subprocess.Popen(
            ["sh", "-c", _ENTER_CGROUP, "sh", str(self._cgroup), *unshare],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._outer = outer
        self.wait(lambda: self._is_booted(outer), "systemd runs in the container")

    def end(self) -> None:
        """Kill it, with everything that runs in it."""
        if self._outer is not None:
            self._outer.kill()  # unshare --kill-child: process 1 goes with it, and with that the whole container
            self._outer.communicate()
        directories = sorted(self._cgroup.rglob("*/"), reverse=True) if self._cgroup.exists() else []
        for directory in [*directories, self._cgroup]:
            if directory.is_dir():
                self.wait(functools.partial(_removed, directory), f"{directory} is empty")

    @property
    def network(self) -> str:
        """The file of its network namespace: whoever is not in the container may bring it a network."""
        return f"/proc/{self._init}/ns/net"

    def run(self, *command: str, check: bool = True) -> str:
        """The standard output of a command in the container.

        :raise AssertionError: it failed, and ``check`` is on.
        """
        done = subprocess.run(
            ["nsenter", f"--target={self._init}", *_NAMESPACES, "--root", "--wd", *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}\n{self.log()}"
            )
        return done.stdout

    def show(self, unit: str, property_: str) -> str:
        """One property of a unit: systemctl(1), show."""
        return self.run("systemctl", "show", "--value", f"--property={property_}", unit).strip()

    def log(self, *units: str) -> str:
        """What the container's journal says."""
        chosen = [f"--unit={unit}" for unit in units]
        return self.run("journalctl", "--no-pager", "--output=short-monotonic", *chosen, check=False)

    def wait(self, what: Callable[[], object], explain: str) -> None:
        """Wait until ``what`` is true.

        :raise AssertionError: it was not in time; the container's journal says more.
        """
        deadline = time.monotonic() + PATIENCE
        while not what():
            if time.monotonic() > deadline:
                raise AssertionError(f"{explain}: not within {PATIENCE} s\n{self.log() if self._init else ''}")
            select.select([], [], [], 0.05)

    def _skeleton(self) -> None:
        """Units that every system has, reduced to their names and order."""
        plain = "[Unit]\nDefaultDependencies=no\n"
        for name in _TARGETS:
            (self.units / f"{name}.target").write_text(plain)
        (self.units / "sysinit.target").write_text(
            plain + "Wants=systemd-journald.socket\nAfter=systemd-journald.socket\n"
        )
        (self.units / "default.target").write_text(plain + "Requires=sysinit.target\nAfter=sysinit.target\n")
        (self.units / "shutdown.target").write_text(plain + "RefuseManualStart=yes\n")
        for name in _ENDS:
            # Ends all that conflicts with shutdown.target, then only says so: no systemd-reboot.service here.
            (self.units / f"{name}.target").write_text(
                plain + "Requires=shutdown.target\nAfter=shutdown.target\nAllowIsolate=yes\n"
            )
        for name in _JOURNAL:
            shutil.copy(f"/lib/systemd/system/{name}", self.units)

    def _is_booted(self, outer: subprocess.Popen[str]) -> bool:
        if outer.poll() is not None:
            raise AssertionError(f"the container has ended: {outer.communicate()[1]}")
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        # Before it is systemd it still is a shell in this machine's root, where this machine's own systemd answers.
        if not children or Path(f"/proc/{children[0]}/comm").read_text() != "systemd\n":
            return False
        if not Path(f"/proc/{children[0]}/root/run/systemd/private").exists():
            return False
        self._init = int(children[0])
        return self.show("default.target", "ActiveState") == "active"


def _removed(directory: Path) -> bool:
    try:
        directory.rmdir()
    except OSError:
        return not directory.exists()  # somebody in it has not quite ended
    return True


@contextlib.contextmanager
def systemd_host(base: Path, root: Path = Path("/")) -> Iterator[SystemdHost]:
    """A container that is ended at the end; the caller installs and boots. The parameters are SystemdHost's."""
    host = SystemdHost(base, root)
    try:
        yield host
    finally:
        host.end()
