"""A real QEMU with the product's buses and no product in it, and a server whose disks are loop devices."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar

import pytest

from hal_udev.plan import planfile

Bench = TypeVar("Bench")
BINARY = shutil.which("qemu-system-x86_64") or ""

BIOS = ("-bios", "bios-256k.bin")  # for one that is to read from its disks: SeaBIOS does

needs_loops = pytest.mark.skipif(
    not BINARY or os.getuid() != 0 or not os.path.exists("/dev/loop-control"),
    reason="needs QEMU, root and loop devices",
)


def tell(story: Callable[[Bench], Coroutine[Any, Any, None]], bench: AbstractAsyncContextManager[Bench]) -> None:
    """A story, on that bench, to its end."""

    async def run() -> None:
        async with bench as one:
            await story(one)

    asyncio.run(run())


@contextmanager
def qemu(socket_path: Path, *more: str) -> Iterator[int]:
    """It runs, and its processor halts at once: nobody reads from a disk; its process id."""
    firmware = socket_path.with_name("firmware")
    firmware.write_bytes(bytes(0xFFF0) + b"\xfa\xf4\xeb\xfd" + bytes(12))  # cli; hlt; jmp to hlt
    argv = [BINARY, "-machine", "q35,accel=tcg", "-nodefaults", "-no-user-config", "-display", "none", "-m", "64"]
    argv += ["-bios", str(firmware)]
    argv += ["-object", "iothread,id=io-disk0", "-device", "virtio-scsi-pci,id=scsi0,iothread=io-disk0"]
    argv += ["-qmp", f"unix:{socket_path},server=on,wait=off", *more]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as process:
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)


@contextmanager
def loop_device(image: Path, mib: int = 8) -> Iterator[str]:
    with open(image, "wb") as file:
        file.truncate(mib << 20)
    done = subprocess.run(["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True)
    device = done.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


class DiskServer:
    """What sysfs, udev's database and /dev have of a server's disks: those that are plugged in, and HAL's own.

    :param root: an empty directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.numbers: dict[str, str] = {}
        for directory in ("sys/block", "sys/dev/block", "run/udev/data", "proc/self", "dev"):
            (root / directory).mkdir(parents=True)
        self._write("sdz", "65:144", {"ID_SERIAL_SHORT": "KEY"})
        (root / "proc/self/mountinfo").write_text("29 1 65:144 / / rw shared:1 - ext4 /dev/sdz rw\n")

    def plug(self, name: str, device: str, serial: str, place: str) -> None:
        """A disk, "sdb", that is a loop device in truth, comes to a bay."""
        number = os.stat(device).st_rdev
        text = f"{os.major(number)}:{os.minor(number)}"
        os.mknod(self.root / "dev" / name, 0o600 | stat.S_IFBLK, number)
        self._write(name, text, {"ID_SERIAL_SHORT": serial, "ID_PATH": place})

    def pull(self, name: str) -> None:
        number = self.numbers.pop(name)
        shutil.rmtree(self.root / "sys/block" / name)
        (self.root / "sys/dev/block" / number).unlink()
        (self.root / "run/udev/data" / f"b{number}").unlink()
        (self.root / "dev" / name).unlink()

    def _write(self, name: str, number: str, properties: Mapping[str, str]) -> None:
        directory = self.root / "sys/block" / name
        (directory / "device").mkdir(parents=True)
        (directory / "dev").write_text(f"{number}\n")
        (directory / "size").write_text("16384\n")
        (self.root / "sys/dev/block" / number).symlink_to(f"/sys/block/{name}")
        lines = "".join(f"E:{key}={value}\n" for key, value in properties.items())
        (self.root / "run/udev/data" / f"b{number}").write_text(lines)
        self.numbers[name] = number


def write_plan(run_dir: str, disks: Mapping[int, tuple[str, str]], more: Optional[Mapping[str, Any]] = None) -> None:
    """What hal-vmm would: by slot, the host's disk and its identity."""
    planned = [_planned(slot, host, identity) for slot, (host, identity) in disks.items()]
    known = {
        "usb_buses": [],
        "serial": [],
        "held_back": [],
        "hotplug": {"hot_swap": True, "disks": planned, **(more or {})},
    }
    Path(planfile.path(run_dir)).write_text(json.dumps(known))


def _planned(slot: int, host: str, identity: str) -> dict[str, Any]:
    common: dict[str, Any] = {"cache": {"direct": True, "no-flush": False}, "discard": "unmap", "read-only": False}
    file = {"driver": "host_device", "node-name": f"disk{slot}-file", "filename": "", "aio": "threads", **common}
    device = {"driver": "scsi-hd", "bus": "scsi0.0", "scsi-id": slot, "lun": 0, "id": f"disk{slot}"}
    device |= {"drive": f"disk{slot}-node", "serial": identity, "bootindex": slot, "werror": "report"}
    return {
        "id": f"disk{slot}",
        "slot": slot,
        "host": host,
        "identity": identity,
        "read_only": False,
        "blockdev": {"driver": "raw", "node-name": f"disk{slot}-node", "file": file, **common},
        "device": device,
    }
