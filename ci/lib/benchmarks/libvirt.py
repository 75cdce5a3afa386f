"""The same product under libvirt: daemons of our own, in a directory of their own; this machine's libvirt is not asked.

It is libvirt's session mode, as another user where we are root: no cgroups, no security driver, so if anything quicker
than the system's. The daemons are resident before anything is measured, as HAL's manager is.
"""

from __future__ import annotations

import contextlib
import os
import pty
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Optional
from xml.sax.saxutils import escape, quoteattr

from benchmarks import reaper
from benchmarks.measure import BenchError
from benchmarks.watch import Lines, await_exit
from productos import ProductOs

NOT_INSTALLED = "libvirt is not installed"
PATIENCE = 60.0  # seconds
# virtlockd is to libvirt what the launcher's lock and O_EXCL are to HAL: no disk is ever written by two QEMUs.
_DAEMONS = ("virtlogd", "virtlockd", "libvirtd")
_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
_DOMAIN = "product"


def installed() -> bool:
    return all(shutil.which(name, path=_PATH) for name in ("virsh", *_DAEMONS))


class Libvirt:
    """:param base: an empty directory. :param run_dir: another one, in memory.

    :param launch: HAL's launch plan, for the QEMU, the machine type and the sizes.
    """

    def __init__(
        self,
        base: Path,
        run_dir: Path,
        launch: dict[str, Any],
        product: ProductOs,
        port: str,
        user: str,
        extra: tuple[str, ...],
    ) -> None:
        self._user = user or None
        self._group = pwd.getpwnam(user).pw_gid if user else None
        self._runtime = run_dir
        for directory in (base, run_dir):
            directory.mkdir()
        self.environment = {
            "PATH": _PATH,
            "LANG": "C.UTF-8",
            "HOME": str(base),
            **{f"XDG_{name}_HOME": str(base / name.lower()) for name in ("CONFIG", "CACHE", "DATA", "STATE")},
            "XDG_RUNTIME_DIR": str(self._runtime),
            # Named by its socket, because root's own "session" would be the system's libvirtd.
            "LIBVIRT_DEFAULT_URI": f"qemu+unix:///session?socket={self._runtime}/libvirt/libvirt-sock",
        }
        self._log = (base / "daemons.log").open("wb")
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._watcher: Optional[subprocess.Popen[bytes]] = None
        self._definitions = base / "domain.xml"
        try:
            self._start_daemons(base)
            for placed in (False, True):
                text = definition(launch, product, port, extra, str(run_dir), placed)
                self._definitions.write_text(text)
                self.virsh("define", str(self._definitions))
        except BenchError:
            self.end()
            raise

    # --- daemons --------------------------------------------------------------------------------------------------

    def _start_daemons(self, base: Path) -> None:
        settings = base / "config" / "libvirt" / "qemu.conf"
        settings.parent.mkdir(parents=True)
        settings.write_text('lock_manager = "lockd"\n')
        for directory in (base, self._runtime, settings.parents[1], settings.parent):
            if self._user:
                shutil.chown(directory, self._user, self._group)
        for name in _DAEMONS:
            command = [sys.executable, "-I", reaper.__file__, shutil.which(name, path=_PATH) or name]
            self._daemons.append(self._spawn(command, self._log.fileno(), self._user))
            socket = self._runtime / "libvirt" / ("libvirt-sock" if name == "libvirtd" else f"{name}-sock")
            deadline = time.monotonic() + PATIENCE
            while not socket.exists():
                if self._daemons[-1].poll() is not None or time.monotonic() > deadline:
                    raise BenchError(f"{name} does not start; its words: {Path(self._log.name).read_text()[-500:]}")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._daemons[-1].wait(0.05)

    def _spawn(self, command: list[str], output: int, user: Optional[str] = None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            env=self.environment,
            user=user,
            group=self._group if user else None,
            extra_groups=[] if user else None,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )

    @property
    def daemon_pids(self) -> list[int]:
        return [self._number(self._runtime / "libvirt" / f"{name}.pid") for name in _DAEMONS]

    def end(self) -> None:
        """End the domain and everything that was started."""
        with contextlib.suppress(BenchError):
            self.stop()
        for process in [*([self._watcher] if self._watcher else []), *reversed(self._daemons)]:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._log.close()

    # --- the domain -----------------------------------------------------------------------------------------------

    def virsh(self, *arguments: str) -> str:
        """What virsh says.

        :raise BenchError: it failed.
        """
        done = subprocess.run(
            [self.virsh_path, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            raise BenchError(f"virsh {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    @property
    def virsh_path(self) -> str:
        return shutil.which("virsh", path=_PATH) or "virsh"

    def spawn_virsh(self, *arguments: str) -> subprocess.Popen[bytes]:
        """virsh, not waited for."""
        return self._spawn([self.virsh_path, *arguments], self._log.fileno())

    def qemu_pid(self, domain: str) -> int:
        """:raise BenchError: the domain does not run."""
        return self._number(self._runtime / "libvirt" / "qemu" / "run" / f"{domain}.pid")

    @staticmethod
    def _number(path: Path) -> int:
        try:
            return int(path.read_text())
        except (FileNotFoundError, ValueError) as error:
            raise BenchError(f"libvirt has no process id in {path.name}: {error}") from None

    def stop(self) -> None:
        """End every domain, and wait until libvirt knows it."""
        for domain in self.virsh("list", "--name").split():
            pid = self.qemu_pid(domain)
            self.virsh("destroy", domain)
            await_exit(pid, PATIENCE)

    def watch_events(self) -> Lines:
        """A resident watcher: one line per event of any domain's life. On a terminal, so that virsh does not hoard."""
        master, slave = pty.openpty()
        self._watcher = self._spawn([self.virsh_path, "event", "--event", "lifecycle", "--loop"], slave)
        lines = Lines(master)
        os.close(slave)
        return lines


def domain(placed: bool) -> str:
    """Its name."""
    return f"{_DOMAIN}-{'placed' if placed else 'own'}"


def definition(
    launch: dict[str, Any], product: ProductOs, port: str, extra: tuple[str, ...], run_dir: str, placed: bool
) -> str:
    """The product's functions as a domain.

    :param placed: every device directly on pcie.0 and no NIC ROM, as HAL has it; otherwise as libvirt likes it.
    """
    argv = launch["argv"]
    values = {word: argv[index + 1] for index, word in enumerate(argv[:-1]) if word.startswith("-")}
    slots = iter(range(2, 31))

    def place(more: str = "") -> str:
        address = f"<address type='pci' bus='0x00' slot='{next(slots):#04x}'/>" if placed else ""
        return address + more

    channels = "".join(
        f"<channel type='unix'><source mode='bind' path={quoteattr(f'{run_dir}/{name}')}/>"
        f"<target type='virtio' name={quoteattr(name)}/></channel>"
        for name in ("org.qemu.guest_agent.0", "hal.heartbeat.0")
    )
    options = "".join(f"<qemu:arg value={quoteattr(word)}/>" for word in extra)
    kvm = values["-accel"].startswith("kvm")
    return f"""\
<domain type='{"kvm" if kvm else "qemu"}' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{domain(placed)}</name>
  <memory unit='MiB'>{values["-m"].rstrip("M")}</memory>
  <vcpu>{values["-smp"].partition(",")[0]}</vcpu>
  <cpu mode='{"host-passthrough" if kvm else "maximum"}'/>
  <os>
    <type arch='x86_64' machine='{values["-machine"].partition(",")[0]}'>hvm</type>
    <kernel>{escape(str(product.kernel))}</kernel>
    <initrd>{escape(str(product.initrd))}</initrd>
    <cmdline>{escape(values["-append"])}</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <on_crash>preserve</on_crash>
  <devices>
    <emulator>{launch["qemu"]}</emulator>
    <video><model type='vga'/>{place()}</video>
    <controller type='usb' model='qemu-xhci'>{place()}</controller>
    <controller type='virtio-serial'>{place()}</controller>
    <controller type='scsi' model='virtio-scsi'>{place()}</controller>
    <watchdog model='i6300esb' action='pause'>{place()}</watchdog>
    <rng model='virtio'><backend model='builtin'/>{place()}</rng>
    <interface type='user'><model type='virtio'/>{place("<rom enabled='no'/>" if placed else "")}</interface>
    {"<memballoon model='none'/>" if placed else ""}
    <panic model='isa'/>
    <serial type='dev'><source path={quoteattr(port)}/></serial>
    {channels}
  </devices>
  <qemu:commandline>{options}</qemu:commandline>
</domain>
"""
