"""A real QEMU with the screen that hal-vmm gives a product, for component tests and measurements."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from hal_console.testing import guests

# As hal-vmm's command line has it: no display of QEMU's own, and a VNC server that listens nowhere.
SCREEN = ("-display", "none", "-vnc", "none,display=vga,audiodev=sound", "-audiodev", "none,id=sound")


def find() -> str:
    """The installed QEMU; "" if there is none."""
    return shutil.which("qemu-kvm", path="/usr/libexec") or shutil.which("qemu-system-x86_64") or ""


class Qemu:
    """One QEMU that runs a boot sector: its QMP socket is ``<run>/qmp/console``, its COM1 :attr:`com1`."""

    def __init__(self, run_dir: Path, program: tuple[guests.Code, ...]) -> None:
        (run_dir / "qmp").mkdir(parents=True, exist_ok=True)
        image = run_dir / "disk.img"
        guests.write_image(image, program)
        self.com1, theirs = socket.socketpair()
        argv = [
            *(find(), "-nodefaults", "-no-user-config", "-m", "32"),
            *("-machine", "q35,accel=tcg,vmport=off,pcspk-audiodev=sound", *SCREEN, "-device", "VGA,id=vga"),
            *("-drive", f"file={image},format=raw,if=virtio"),
            *("-chardev", f"socket,id=com1,fd={theirs.fileno()}", "-device", "isa-serial,chardev=com1"),
        ]
        for name in ("console", "cli"):
            path = run_dir / "qmp" / name
            argv += ["-chardev", f"socket,id={name},path={path},server=on,wait=off", "-mon", f"{name},mode=control"]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        theirs.close()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.com1.close()


@contextlib.contextmanager
def running(run_dir: Path, program: tuple[guests.Code, ...]) -> Iterator[Qemu]:
    """A QEMU, ended at the end."""
    qemu = Qemu(run_dir, program)
    try:
        yield qemu
    finally:
        qemu.close()
