"""A simulated server, and what a person in front of it does: its switch, its sockets, its keyboard, its screen."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Optional

from lab.errors import LabError
from lab.simulator import files, keyboard
from lab.simulator.power import Powered
from lab.simulator.server import Server

_LOOK_AGAIN = 0.3  # seconds
_LONGEST_TEXT = 80  # characters: QEMU keeps 1024 things to do for its keyboard, and a capital letter is 12 of them


class Machine(Powered):
    """A server, with what is plugged in: it stays plugged in when the power is cut.

    :ivar sticks: images of the USB sticks that are plugged in, by serial
    :ivar disc: the image of the disc in its drive
    :ivar bays: by number, from 0: serial and raw image of the disk in it
    :ivar cards: MAC addresses of the network cards, by slot, from 0
    :ivar pulled: NICs whose cable is not plugged in, counted from 0
    """

    def __init__(self, directory: Path, server: Server, accel: str = "tcg", stays: bool = False) -> None:
        super().__init__(directory, server, accel, stays)
        self.sticks: dict[str, Path] = {}
        self._ports: dict[str, int] = {}  # a stick that has been pulled out comes back into the port where it was
        self.disc: Optional[Path] = None
        self.bays: dict[int, tuple[str, Path]] = {}
        self.cards: dict[int, str] = {}
        self.pulled = {n for n, nic in enumerate(server.nics) if not nic.link}

    @classmethod
    def create(
        cls, directory: Path, server: Server, images: files.Images, accel: str = "tcg", stays: bool = False
    ) -> Machine:
        """A new server. :raise LabError: as :func:`lab.simulator.files.make`."""
        files.make(directory, server, images)
        return cls(directory, server, accel, stays)

    def power_on(self) -> None:
        """Plug the server in and press its switch.

        :raise LabError: it is on already; QEMU does not start
        """
        self.start()
        for serial, image in self.sticks.items():
            self._attach(serial, image)
        for bay, (serial, image) in self.bays.items():
            self._slide_in(bay, serial, image)
        for slot, mac in self.cards.items():
            self._put_in(slot, mac)
        if self.disc is not None:
            self._load(self.disc)
        self.execute("cont")

    def start(self, *more: str) -> None:
        """As :meth:`Powered.start`, with the cables as they are."""
        super().start(*more)
        for nic in self.pulled:
            self._link(nic, False)

    def plug_usb_stick(self, image: Path, serial: str) -> None:
        """Plug in a stick, whose content is that image, and is written to. It stays over a power cut.

        Each stick has a port of its own, of the eight that there are.

        :raise LabError: it is plugged in already
        """
        if serial in self.sticks or not re.fullmatch(r"[A-Za-z0-9._-]{1,20}", serial):
            raise LabError(f"stick {serial!r}: is plugged in already, or no serial: 1 to 20 letters, digits and ._-")
        if self.is_on:
            self._attach(serial, image.resolve())
        self.sticks[serial] = image.resolve()

    def unplug_usb_stick(self, serial: str) -> None:
        """Pull out a stick. :raise LabError: there is none."""
        if self.sticks.pop(serial, None) is None:
            raise LabError(f"stick {serial!r} is not plugged in; plugged in are: {', '.join(self.sticks) or 'none'}")
        if self.is_on:
            self._pull_out(f"stick-{serial}")

    def insert_disk(self, bay: int, image: Path, serial: str) -> None:
        """Slide a disk into a hot-swap bay: a raw image, which is written to. It stays over a power cut.

        :raise LabError: there is no such bay, or a disk is in it
        """
        if not 0 <= bay < self.server.bays:
            raise LabError(f"{self.server.name} has {self.server.bays} bays, counted from 0: no bay {bay}")
        if bay in self.bays:
            raise LabError(f"disk {self.bays[bay][0]} is in bay {bay}")
        if self.is_on:
            self._slide_in(bay, serial, image.resolve())
        self.bays[bay] = (serial, image.resolve())

    def pull_disk(self, bay: int) -> None:
        """Pull a disk out of its bay, whatever it is doing. :raise LabError: there is none."""
        if self.bays.pop(bay, None) is None:
            raise LabError(f"bay {bay} is empty; disks are in: {', '.join(map(str, self.bays)) or 'none'}")
        if self.is_on:
            self._pull_out(f"bay{bay}")

    def insert_card(self, slot: int, mac: str) -> int:
        """Put a network card into a slot, its cable plugged in. It stays over a power cut.

        :return: the number of its NIC. :raise LabError: there is no such slot, or a card is in it
        """
        if not 0 <= slot < self.server.slots:
            raise LabError(f"{self.server.name} has {self.server.slots} slots, counted from 0: no slot {slot}")
        if slot in self.cards:
            raise LabError(f"card {self.cards[slot]} is in slot {slot}")
        if self.is_on:
            self._put_in(slot, mac)
        self.cards[slot] = mac
        return len(self.server.nics) + slot

    def insert_disc(self, image: Path) -> None:
        """Put a DVD into the drive; it stays there over a power cut.

        :raise LabError: there is no drive; it is locked
        """
        if not self.server.dvd:
            raise LabError(f"{self.server.name} has no DVD drive")
        if self.is_on:
            self._load(image.resolve())
        self.disc = image.resolve()

    def wait_until_drive_is_locked(self, seconds: float = 60.0) -> None:
        """Return when an operating system has locked the DVD drive's tray. :raise LabError: it does not"""
        until = time.monotonic() + seconds
        while not self._drive_is("locked"):
            if time.monotonic() > until:
                raise LabError(f"nobody has locked the drive after {seconds:g} s")
            time.sleep(_LOOK_AGAIN)  # QEMU has no event for this

    def press_drive_button(self) -> None:
        """Press the DVD drive's button: its tray opens; an operating system that has locked it is asked first."""
        if not self._drive_is("tray_open"):
            self.execute("blockdev-open-tray", {"id": "dvd"})

    def eject_disc(self, seconds: float = 30.0) -> None:
        """Press the drive's button, and take the disc. :raise LabError: the tray stays closed"""
        if self.is_on:
            self.press_drive_button()
        self.take_disc(seconds)

    def take_disc(self, seconds: float = 30.0) -> None:
        """Take the disc when the drive has opened its tray, and push the tray in. :raise LabError: it stays closed"""
        if self.is_on:
            begin = len(self.record)
            if not self._drive_is("tray_open"):
                is_open = "DEVICE_TRAY_MOVED", lambda data: bool(data["tray-open"])
                self.await_event(*is_open, begin, "the drive has not opened its tray", seconds)
            self.execute("blockdev-remove-medium", {"id": "dvd"})
            self.execute("blockdev-close-tray", {"id": "dvd"})
        self.disc = None

    def pull_cable(self, nic: int) -> None:
        """Pull out a network cable; NICs are counted from 0. It stays out over a power cut."""
        self._cable(nic, False)

    def plug_cable(self, nic: int) -> None:
        """Plug a network cable in again."""
        self._cable(nic, True)

    def lan(self, nic: int) -> tuple[Path, Path]:
        """A network cable: the datagram sockets of the server's end, and of the other, which a peer binds."""
        return self.directory / files.lan(nic), self.directory / files.lan_peer(nic)

    def type(self, text: str) -> None:
        """Type on its keyboard, five characters a second; this returns before they are through.

        :raise LabError: it is too long, or cannot be typed
        """
        if len(text) > _LONGEST_TEXT:
            raise LabError(f"typing {len(text)} characters at once: at most {_LONGEST_TEXT}")
        for keys in keyboard.presses(text):
            self.press(*keys)

    def press(self, *keys: str) -> None:
        """Press keys together: ``press("ctrl", "alt", "f2")``; their names are QEMU's (QKeyCode).

        :raise LabError: there is no such key
        """
        self.execute("send-key", {"keys": [{"type": "qcode", "data": key} for key in keys]})

    def screenshot(self, path: Path) -> Path:
        """Write a picture of its screen: a PNG, or beside it, with ``.ppm``, what an old QEMU can; :return: which."""
        asked = {"filename": str(path.resolve())}
        try:
            self.execute("screendump", {**asked, "format": "png"})
        except LabError:
            path = path.with_suffix(".ppm")
            self.execute("screendump", {"filename": str(path.resolve())})
        return path

    def _attach(self, serial: str, image: Path) -> None:
        node = f"stick-{serial}"
        file = {"driver": "file", "filename": str(image)}
        self.execute("blockdev-add", {"node-name": node, "driver": files.image(image)[0], "file": file})
        port = self._ports.setdefault(serial, len(self._ports) + 2)  # behind the key, which is in the first
        stick = {"driver": "usb-storage", "id": node, "bus": "xhci.0", "port": str(port), "drive": node}
        self.execute("device_add", {**stick, "serial": serial, "removable": True})

    def _pull_out(self, name: str) -> None:
        """A device, and the block node of the same name."""
        begin = len(self.record)
        self.execute("device_del", {"id": name})
        self.await_event("DEVICE_DELETED", lambda data: data.get("device") == name, begin, f"{name} is still there")
        self.execute("blockdev-del", {"node-name": name})

    def _slide_in(self, bay: int, serial: str, image: Path) -> None:
        file = {"driver": "file", "filename": str(image)}
        self.execute("blockdev-add", {"node-name": f"bay{bay}", "driver": "raw", "file": file})
        disk = {"driver": "scsi-hd", "id": f"bay{bay}", "bus": "bays.0", "scsi-id": bay, "drive": f"bay{bay}"}
        self.execute("device_add", {**disk, "serial": serial})

    def _put_in(self, slot: int, mac: str) -> None:
        number = len(self.server.nics) + slot
        ends = {"local": files.lan(number), "remote": files.lan_peer(number)}
        unix = {end: {"type": "unix", "path": path} for end, path in ends.items()}
        self.execute("netdev_add", {"type": "dgram", "id": f"lan{number}", **unix})
        card = {"driver": "virtio-net-pci", "id": f"nic{number}", "bus": f"slot{slot}", "netdev": f"lan{number}"}
        self.execute("device_add", {**card, "mac": mac, "romfile": ""})

    def _drive_is(self, state: str) -> bool:
        """:param state: one of QEMU's BlockInfo."""
        return any(drive.get("qdev") == "dvd" and drive.get(state) for drive in self.execute("query-block"))

    def _load(self, disc: Path) -> None:
        medium = {"id": "dvd", "filename": str(disc), "format": "raw", "read-only-mode": "read-only"}
        self.execute("blockdev-change-medium", medium)

    def _cable(self, nic: int, plugged: bool) -> None:
        if not 0 <= nic < len(self.server.nics):
            raise LabError(f"{self.server.name} has {len(self.server.nics)} NICs, counted from 0: no NIC {nic}")
        (self.pulled.discard if plugged else self.pulled.add)(nic)
        if self.is_on:
            self._link(nic, plugged)

    def _link(self, nic: int, up: bool) -> None:
        self.execute("set_link", {"name": f"lan{nic}", "up": up})
