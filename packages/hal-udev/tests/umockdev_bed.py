"""The real umockdev: a server's sysfs, device nodes and udev's events, made from recordings; hal-udev's code in it.

umockdev stands between a program and its C library (LD_PRELOAD), so all of it happens in a process of its own, started
under ``umockdev-wrapper``: this file is also that process's program. A test tells it what to do, and is given what
hal-udev sees.

umockdev shows its own /sys, /dev and /proc in place of the machine's, but it has no /run/udev: udev's properties are in
its events, and in its sysfs (``uevent``). hal-udev reads udev's database. So hal-udev's ``root`` is the testbed's own
directory, into which the database is written as udev would write it. Through the C library, and so through umockdev, go
udev's events, and what a test does at ``/``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import json
import logging
import os
import pickle
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Optional
from unittest import mock

from hal_core import paths
from hal_core.facts.tree import DirectoryStore
from hal_core.machine import UsbDevice
from hal_udev import hardware, node
from hal_udev.commands import plan_command
from hal_udev.config import UdevConfig
from hal_udev.disks import present
from hal_udev.disks.present import DiskHardware, Present
from hal_udev.hardware import Hardware
from hal_udev.plan import planfile, product
from hal_udev.plan.usbplan import Planned
from hal_udev.resident import loop as loop_module
from hal_udev.resident.events import Events
from hal_udev.resident.loop import Loop
from hal_udev.statusfile import STATUS
from hal_udev.testing.server import FakeServer, ModelQemu

RECORDED = Path(__file__).parent / "recorded"
WRAPPER = shutil.which("umockdev-wrapper") or ""
#: What a test waits for at most, if the machine is busy with something else.
PATIENCE = 60.0


def recording(name: str) -> str:
    """The recording of a device, with those above it, as ``umockdev-record`` writes it."""
    return (RECORDED / f"{name}.umockdev").read_text()


def path_of(text: str, name: str) -> str:
    """The sysfs directory of a device in a recording: ``1-4.3``, ``sdb``.

    :raise LookupError: it is not in there.
    """
    for line in text.splitlines():
        if line.startswith("P: ") and line.endswith(f"/{name}"):
            return f"/sys{line[len('P: ') :]}"
    raise LookupError(name)


def numbered(text: str, name: str, number: int) -> str:
    """The recording of the same device, plugged in once more: Linux gives it another number."""
    paragraphs = text.split("\n\n")
    index = next(index for index, one in enumerate(paragraphs) if _path(one).endswith(f"/{name}"))
    bus = int(paragraphs[index].partition("BUSNUM=")[2][:3])
    for old, new in (
        (r"bus/usb/(\d+)/\d+", rf"bus/usb/\g<1>/{number:03d}"),
        (r"DEVNUM=\d+", f"DEVNUM={number:03d}"),
        (r"devnum=\d+", f"devnum={number}"),
        (r"MINOR=\d+", f"MINOR={128 * (bus - 1) + number - 1}"),
        (r"dev=189:\d+", f"dev=189:{128 * (bus - 1) + number - 1}"),
    ):
        paragraphs[index] = re.sub(old, new, paragraphs[index])
    return "\n\n".join(paragraphs)


# --- in the test's process


class Server:
    """The process under umockdev: every method of :class:`Bed`, called there.

    :raise AssertionError: it did not go well there: its own words. Or it took too long, and was killed.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._to, self._answers = process, process.stdin, process.stdout

    def do(self, method: str, *arguments: object) -> Any:
        pickle.dump((method, arguments), self._to)
        self._to.flush()
        if not select.select([self._answers], [], [], PATIENCE)[0]:
            self._process.kill()
            raise AssertionError(f"{method}: the process under umockdev has not answered within {PATIENCE:g} s")
        try:
            failure, answer = pickle.load(self._answers)
        except (EOFError, pickle.UnpicklingError):
            raise AssertionError(f"{method}: the process under umockdev is gone") from None
        assert not failure, failure
        return answer

    def close(self) -> None:
        """Nothing more is asked: the process ends."""
        self._to.close()

    # Those that every test uses, with their types.

    def add(self, *recordings: str) -> None:
        self.do("add", *recordings)

    def uevent(self, path: str, action: str) -> None:
        self.do("uevent", path, action)

    def pull(self, path: str) -> None:
        self.do("pull", path)

    def look(self) -> dict[str, UsbDevice]:
        found: dict[str, UsbDevice] = self.do("look")
        return found

    def plan(self, settings: Optional[UdevConfig] = None) -> dict[str, Planned]:
        found: dict[str, Planned] = self.do("plan", settings or UdevConfig())
        return found

    def is_heard(self) -> bool:
        return bool(self.do("is_heard"))

    def drain(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.do("drain")
        return found


@contextmanager
def server() -> Iterator[Server]:
    """An empty server. At the end nothing may have been complained of: by GLib, by libudev, or by a traceback."""
    # Short: the sockets of umockdev are in there, and the name of a socket is.
    with tempfile.TemporaryDirectory(prefix="hal-") as directory, tempfile.TemporaryFile() as complaints:
        argv = [WRAPPER, sys.executable, __file__]
        environment = {**os.environ, "TMPDIR": directory}
        with subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, env=environment
        ) as process:
            one = Server(process)
            try:
                yield one
            finally:
                one.close()
                try:
                    process.wait(PATIENCE)
                finally:
                    process.kill()
                complaints.seek(0)
                said = complaints.read().decode(errors="replace")
                sys.stderr.write(said)  # with a test that fails for another reason
        assert process.returncode == 0, f"the process under umockdev: exit status {process.returncode}: {said}"
        assert not said, said


# --- in the process under umockdev


class Bed:
    """umockdev's testbed, and what hal-udev makes of it."""

    def __init__(self) -> None:
        self._library = _library()
        self._bed = self._library.umockdev_testbed_new()
        self.root = os.fsdecode(self._library.umockdev_testbed_get_root_dir(self._bed))
        self._hardware = Hardware(self.root)
        self._disks = DiskHardware(self.root)
        self._events: Optional[Events] = None
        for directory in ("run/udev/data", "proc/self"):
            os.makedirs(f"{self.root}/{directory}")
        self.mount("")

    def close(self) -> None:
        """What umockdev has made is removed."""
        for directory in ("run", "proc"):
            shutil.rmtree(f"{self.root}/{directory}")
        ctypes.CDLL("libgobject-2.0.so.0").g_object_unref(ctypes.c_void_p(self._bed))

    # --- the server

    def add(self, *recordings: str) -> None:
        """Plugged in, and udev is through with it; what is there already (a hub, the controller) stays as it is."""
        for text in recordings:
            described = [one for one in text.strip().split("\n\n") if not os.path.exists(self.root + _path(one))]
            if not described:
                continue
            error = ctypes.POINTER(_GError)()
            recorded = "\n\n".join(described).encode() + b"\n"
            self._library.umockdev_testbed_add_from_string(self._bed, recorded, ctypes.byref(error))
            assert not error, error.contents.message
            for one in described:
                self._write_database(one)
                _as_linux_has_it(self.root, _path(one))

    def pull(self, path: str) -> None:
        """Pulled out, without a word: what is behind it goes first, as with the kernel.

        umockdev 0.17 does not take a serial port a second time: a cable that was pulled out stays out.
        """
        for one in self._at_and_below(path, upwards=True):
            directory = self.root + one
            with suppress(FileNotFoundError):
                os.unlink(f"{self.root}/sys/block/{os.path.basename(directory)}")
            with suppress(FileNotFoundError), open(f"{directory}/dev", encoding="ascii") as file:
                kind = "b" if "/block/" in directory else "c"
                os.unlink(f"{self.root}/run/udev/data/{kind}{file.readline().strip()}")
            self._library.umockdev_testbed_remove_device(self._bed, one.encode())
        # What led there, as far as umockdev leaves it.
        for names in ("sys/bus/usb/devices", "sys/dev/block", "sys/dev/char", "dev/serial", "dev/disk"):
            for link in Path(f"{self.root}/{names}").rglob("*"):
                if link.is_symlink() and not link.exists():
                    link.unlink()

    # umockdev can write both, but waits each time until the file is on the disk.

    def set_attribute(self, path: str, name: str, value: Optional[str]) -> None:
        """Of sysfs; None: the device has none."""
        file = Path(f"{self.root}{path}/{name}")
        if value is None:
            file.unlink()
        else:
            file.write_text(value)

    def set_property(self, path: str, name: str, value: bytes) -> None:
        """What udev says of it in its next events."""
        file = Path(f"{self.root}{path}/uevent")
        key = f"{name}=".encode()
        others = [line for line in file.read_bytes().splitlines(True) if not line.startswith(key)]
        file.write_bytes(b"".join([*others, key, value, b"\n"]))

    def uevent(self, path: str, action: str) -> None:
        """An event of udev's. The device must be there still, for umockdev to know what to say of it."""
        self._library.umockdev_testbed_uevent(self._bed, path.encode(), action.encode())

    def forget(self, name: str) -> None:
        """A device's file in udev's database is not there (yet)."""
        os.unlink(f"{self.root}/run/udev/data/{name}")

    def mount(self, number: str) -> None:
        """What the host's root is on, "8:1"."""
        line = f"29 1 {number} / / rw shared:1 - ext4 /dev/root rw\n" if number else ""
        Path(f"{self.root}/proc/self/mountinfo").write_text(line)

    def _write_database(self, described: str) -> None:
        """As systemd's sd-device/device-private.c has it (device_update_db), of what the recording says."""
        lines = described.splitlines()
        said = dict(line[len("E: ") :].split("=", 1) for line in lines if line.startswith("E: "))
        if "MAJOR" not in said:
            return
        links = [f"S:{line[len('S: ') :]}\n" for line in lines if line.startswith("S: ")]
        of_the_kernel = ("BUSNUM", "DEVNAME", "DEVNUM", "DEVTYPE", "DRIVER", "MAJOR", "MINOR", "SUBSYSTEM")
        properties = [f"E:{key}={value}\n" for key, value in said.items() if key not in of_the_kernel]
        kind = "b" if said["SUBSYSTEM"] == "block" else "c"
        text = "".join([*links, "I:1000000\n", *properties, "V:1\n"])
        Path(f"{self.root}/run/udev/data/{kind}{said['MAJOR']}:{said['MINOR']}").write_text(text)

    # --- hal-udev

    def look(self) -> dict[str, UsbDevice]:
        return {device.port: device for device in self._hardware.look()}

    def look_through_the_c_library(self) -> dict[str, UsbDevice]:
        """At / itself, which is umockdev's here."""
        return {device.port: device for device in Hardware("/").look()}

    def look_at(self, port: str) -> Optional[UsbDevice]:
        return self._hardware.look_at(port)

    def is_settled(self, port: str) -> bool:
        return self._hardware.is_settled(self.look()[port])

    def disks(self) -> dict[str, Present]:
        return {one.disk.name: one for one in self._disks.look()}

    def plan(self, settings: UdevConfig) -> dict[str, Planned]:
        """As ``hal udev plan --root`` makes it."""
        return {one.device.port: one for one in plan_command.make(self.root, settings).devices}

    def is_the_devices_node(self, port: str) -> bool:
        """What is behind the node in /dev is this device; umockdev's stat(2) says so, its fstat(2) does not."""
        device = self.look()[port]
        path = Hardware("/")._node(device)
        fd = os.open(path, os.O_RDWR)
        try:
            return node._is_it(fd, os.stat(path), device)
        finally:
            os.close(fd)

    def listen(self) -> None:
        self._events = Events()

    def is_heard(self) -> bool:
        assert self._events
        return bool(select.select([self._events.fileno()], [], [], 0)[0])

    def drain(self) -> list[dict[str, str]]:
        assert self._events
        return self._events.drain()

    def burst(self, path: str, count: int) -> list[dict[str, str]]:
        """So many changes of a disk, of which each says which one it is (HAL_CHANGE); what was heard.

        umockdev's socket has room for a few only, unlike udev's own, and so it is emptied meanwhile.
        """
        room = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
        heard: list[dict[str, str]] = []
        for number in range(1, count + 1):
            self.set_property(path, "HAL_CHANGE", str(number).encode())
            self.set_attribute(path, "size", f"{number}\n")
            self.uevent(path, "change")
            if number % room == 0:
                heard += self.drain()
        return heard + self.drain()

    def look_while_it_is_pulled(self, what: str, path: str) -> list[dict[str, Any]]:
        """It is pulled out before the first access to a file, before the second, … and before the last.

        :return: what each look has found; the last one: with nothing pulled out.
        """
        found: list[dict[str, Any]] = []
        pulled = True
        while pulled:
            with contextlib.ExitStack() as stack:
                countdown = itertools.count(len(found), -1)

                def access(countdown: Iterator[int] = countdown, stack: contextlib.ExitStack = stack) -> None:
                    if next(countdown) == 0:
                        stack.enter_context(self._aside(path))

                def store(root: str, access: Callable[[], None] = access) -> DirectoryStore:
                    return _Watched(root, access)

                stack.enter_context(mock.patch.object(hardware, "DirectoryStore", store))
                stack.enter_context(mock.patch.object(present, "DirectoryStore", store))
                if what == "usb":
                    found.append({one.port: one for one in Hardware(self.root).look()})
                else:
                    found.append({one.disk.name: one for one in DiskHardware(self.root).look()})
                pulled = next(countdown) < 0
        return found

    @contextmanager
    def _aside(self, path: str) -> Iterator[None]:
        """Pulled out, and put back as if nothing had been: quicker than by umockdev."""
        going = [f"{self.root}{path}"]
        for directory in ("bus/usb/devices", "block", "class/block", "dev/block", "dev/char"):
            for link in Path(f"{self.root}/sys/{directory}").iterdir():
                if f"{os.path.realpath(link)}/".startswith(f"{self.root}{path}/"):
                    going.append(str(link))
                    kind = {"dev/block": "b", "dev/char": "c"}.get(directory)
                    going += [f"{self.root}/run/udev/data/{kind}{link.name}"] if kind else []
        with tempfile.TemporaryDirectory() as aside:
            for number, one in enumerate(going):
                os.rename(one, f"{aside}/{number}")
            yield
            for number, one in enumerate(going):
                os.rename(f"{aside}/{number}", one)

    def resident(self, *chapters: tuple[Sequence[tuple[str, str, str]], dict[str, int]]) -> list[str]:
        """The resident's loop, with a model of a QEMU. It does not look by itself: only libudev wakes it.

        :param chapters: what happens, and what the product then has when the loop has come to rest, as numbers by port;
            0: it stays with the host. What happens is "plug" or "unplug", a recording, and a device in it; nobody waits
            for anything in between. Or another resident takes over: "restart".
        :return: what QEMU was told.
        """
        with mock.patch.object(loop_module, "LONGEST_REST_SECONDS", 10 * PATIENCE):
            return asyncio.run(self._residents(chapters))

    async def _residents(self, chapters: Sequence[tuple[Sequence[tuple[str, str, str]], dict[str, int]]]) -> list[str]:
        buses = [{"bus": bus.name, "ports": bus.ports} for bus in product.USUAL.buses]
        Path(planfile.path(paths.run_dir())).write_text(json.dumps({"usb_buses": buses, "serial": []}))
        qemu = ModelQemu(FakeServer(), {bus.name: bus.ports for bus in product.USUAL.buses}, lambda _: None)
        qemu.start()
        end = self._begin(qemu)
        try:
            for happens, wanted in chapters:
                for what, text, name in happens:
                    if what == "restart":
                        await end()
                        with suppress(FileNotFoundError):
                            os.unlink(STATUS.path(paths.run_dir()))
                        end = self._begin(qemu)
                    else:
                        await self._happen(what, text, name)
                until = time.monotonic() + PATIENCE
                while not _is_at_rest(qemu, wanted):
                    assert time.monotonic() < until, f"QEMU has {qemu.seen()}, {qemu.fdsets}; {_states()}"
                    await asyncio.sleep(0.005)  # the code under test has no event for "the test may look now"
        finally:
            await end()
        return qemu.commands

    def _begin(self, qemu: ModelQemu) -> Callable[[], Awaitable[None]]:
        """:return: ends it."""
        qemu._server = there = _Recorded(self.root, self.pull)
        loop = Loop(there, UdevConfig(), paths.run_dir(), lambda _: None, qemu)
        qemu.tell = loop._event  # as its own session would
        task = asyncio.create_task(loop.run(Events()))

        async def end() -> None:
            loop.stop()
            await asyncio.wait_for(task, PATIENCE)

        return end

    async def _happen(self, what: str, text: str, name: str) -> None:
        path = path_of(text, name)
        if what == "plug":
            self.add(text)
        for one in self._at_and_below(path, upwards=what == "unplug"):
            self.uevent(one, "add" if what == "plug" else "remove")
            await asyncio.sleep(0)  # umockdev's socket has room for a few only
        if what == "unplug":
            self.pull(path)

    def _at_and_below(self, path: str, upwards: bool) -> list[str]:
        """The devices there, in the order in which the kernel tells of them."""
        found = [directory for directory, names, _ in os.walk(self.root + path) if "subsystem" in names]
        return [one[len(self.root) :] for one in sorted(found, key=len, reverse=upwards)]


def _is_at_rest(qemu: ModelQemu, wanted: dict[str, int]) -> bool:
    """The loop says of each device that it has looked at it since, and that all is well."""
    states, given = _states(), {port: number for port, number in wanted.items() if number}
    attached = {port for port, state in states.items() if state == "attached"}
    kept = all(states.get(port) == "kept" for port, number in wanted.items() if not number)
    return kept and attached == set(given) and qemu.seen() == given and not qemu.fdsets


def _states() -> dict[str, str]:
    path = Path(STATUS.path(paths.run_dir()))
    devices = json.loads(path.read_text())["devices"] if path.exists() else []
    return {one["port"]: one["state"] for one in devices}


class _Watched(DirectoryStore):
    """Tells of every access before it is made."""

    def __init__(self, root: str, access: Callable[[], None]) -> None:
        super().__init__(root)
        self._access = access

    def __getattribute__(self, name: str) -> Any:
        if name in ("link", "data", "names", "kind"):  # whoever asks for one of these calls it at once
            object.__getattribute__(self, "_access")()
        return super().__getattribute__(name)


class _Recorded(FakeServer):
    """What is plugged in is what umockdev says. FAKE: the node; umockdev has no ioctl by which a driver lets go."""

    def __init__(self, root: str, pull: Callable[[str], None]) -> None:
        super().__init__()
        self._directory = root
        self._real = Hardware(root)
        self._pull = pull

    def look(self) -> tuple[UsbDevice, ...]:
        devices = self._real.look()
        self.own_known, self._tokens = self._real.own_known, self._real.tokens
        self.plugged = {device.port: device for device in devices}
        return devices

    def look_at(self, port: str) -> Optional[UsbDevice]:
        return self._real.look_at(port)

    def is_settled(self, device: UsbDevice) -> bool:
        return self._real.is_settled(device)

    def open(self, device: UsbDevice) -> int:
        """A driver takes with it what it has made of the device: of those, nothing else says what HID devices are."""
        for interface in Path(f"{self._directory}/sys/bus/usb/devices").glob(f"{device.port}:*"):
            with suppress(FileNotFoundError):
                os.unlink(interface / "driver")
            for made in interface.resolve().glob("0003:*"):
                self._pull(str(made)[len(self._directory) :])
        return os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)


class _GError(ctypes.Structure):
    _fields_ = [("domain", ctypes.c_uint32), ("code", ctypes.c_int), ("message", ctypes.c_char_p)]


def _library() -> ctypes.CDLL:
    """Umockdev's, with the types of what is called: python3-gi is not needed for that."""
    library = ctypes.CDLL("libumockdev.so.0")
    text, bed = ctypes.c_char_p, ctypes.c_void_p
    types: dict[str, tuple[Sequence[Any], Any]] = {
        "new": ([], bed),
        "get_root_dir": ([bed], text),
        "add_from_string": ([bed, text, ctypes.c_void_p], ctypes.c_int),
        "remove_device": ([bed, text], None),
        "uevent": ([bed, text, text], None),
    }
    for name, (arguments, result) in types.items():
        function = getattr(library, f"umockdev_testbed_{name}")
        function.argtypes, function.restype = arguments, result
    return library


def _path(described: str) -> str:
    return f"/sys{described.partition(chr(10))[0][len('P: ') :]}"


def _as_linux_has_it(root: str, path: str) -> None:
    """A partition is in the directory of its disk, and nowhere else in /sys/block, where umockdev has it, too."""
    if os.path.exists(f"{root}{path}/partition"):
        with suppress(FileNotFoundError):
            os.unlink(f"{root}/sys/block/{os.path.basename(path)}")


def main() -> None:
    """Do what is asked for on standard input, until it ends."""
    logging.getLogger().addHandler(logging.NullHandler())  # only what nobody has thought of goes to standard error
    bed = Bed()
    answers = sys.stdout.buffer
    while True:
        try:
            method, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            break
        try:
            answer: tuple[str, object] = "", getattr(bed, method)(*arguments)
        except Exception:  # noqa: BLE001 - the test is told
            answer = traceback.format_exc(), None
        pickle.dump(answer, answers)
        answers.flush()
    bed.close()


if __name__ == "__main__":
    main()
