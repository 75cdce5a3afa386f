"""FAKES: a server into which a test plugs devices, udev's events, and a model of a QEMU. No hardware, and no guest.

The model does what QEMU 7.2 does, as tried (and as the lab tries it with the real one): a set of descriptors lives on
while a device has a copy; an unplugged device stays in QEMU, attached, with no event; a device is removed at once.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Callable, Optional

from hal_core import tokens
from hal_core.errors import HostError, QmpDisconnected, QmpRefused, QmpTimeout
from hal_core.machine_usb import UsbDevice
from hal_core.qmp import Event, Session
from hal_udev.hardware import Hardware
from hal_udev.plan.usbplan import FIRST_FDSET


class FakeServer(Hardware):
    """What is plugged in is what the test has plugged in."""

    def __init__(self) -> None:
        super().__init__("/nonexistent")
        self.plugged: dict[str, UsbDevice] = {}
        self.settled = True  #: whether udev is quick
        self.unopenable: dict[str, str] = {}  #: ports whose device's node does not open: why
        self.given_back: list[str] = []
        self.on_open: Callable[[UsbDevice], None] = lambda device: None
        self._number = 1

    def plug(self, device: UsbDevice) -> None:
        """A new device number each time, as the kernel has it: 1 to 127, and then 1 again."""
        self._number = self._number % 127 + 1
        self.plugged[device.port] = replace(device, number=self._number)

    def pull(self, port: str) -> None:
        del self.plugged[port]

    def look(self) -> tuple[UsbDevice, ...]:
        self._tokens = frozenset(tokens.of(device) for device in self.plugged.values() if device.token)
        return tuple(self.plugged.values())

    def look_at(self, port: str) -> Optional[UsbDevice]:
        return self.plugged.get(port)

    def is_settled(self, device: UsbDevice) -> bool:
        return self.settled and device.configured

    def open(self, device: UsbDevice) -> int:
        self.on_open(device)
        if self.plugged.get(device.port) != device:
            raise HostError(f"{device.port}: No such file or directory")
        if device.port in self.unopenable:
            raise HostError(f"{device.port}: {self.unopenable[device.port]}")
        self.plugged[device.port] = self._with_driver(device, "")
        return os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)

    def give_back(self, device: UsbDevice) -> None:
        self.given_back.append(device.port)
        self.plugged[device.port] = self._with_driver(device, "usb-storage")

    @staticmethod
    def _with_driver(device: UsbDevice, driver: str) -> UsbDevice:
        return replace(device, interfaces=tuple(replace(one, driver=driver) for one in device.interfaces))


class ModelQemu(Session):
    """A QEMU that does what is written above, and what a test wants: see the attributes."""

    def __init__(self, server: FakeServer, buses: Mapping[str, int], on_event: Callable[[Event], None]) -> None:
        super().__init__("/nonexistent", "model")
        self.devices: dict[str, dict[str, Any]] = {}
        self.fdsets: dict[int, list[int]] = {}
        self.commands: list[str] = []
        self.refuse: dict[str, str] = {}  #: ids that are refused: QEMU's words
        self.hang: set[str] = set()  #: ids of which device_add is never answered
        self.tell = on_event
        self._server = server
        self._buses = dict(buses)
        self._up = asyncio.Event()  # there is a QEMU
        self._down = asyncio.Event()  # the one that was connected is gone

    @property
    def connected(self) -> bool:
        return not self._down.is_set()

    def start(self) -> None:
        self._up.set()

    def die(self) -> None:
        self.devices.clear()
        self.fdsets.clear()
        self._up.clear()
        self._down.set()

    async def reconnect(self, deadline: float = 3.0, longest_pause: float = 10.0) -> None:
        await self._up.wait()
        self._down.clear()

    async def lost(self) -> None:
        await self._down.wait()

    async def close(self) -> None:
        pass

    def seen(self) -> dict[str, int]:
        """What the product sees: port of the server's → number of the device there."""
        return {id_[len("usb-") :]: one["fdset"] % 1000 for id_, one in self.devices.items() if one["attached"]}

    async def execute(
        self, command: str, arguments: Optional[Mapping[str, object]] = None, deadline: float = 3.0
    ) -> object:
        self.commands.append(command)
        await asyncio.sleep(0)  # others run meanwhile, as with a real one
        if not self.connected:
            raise QmpDisconnected("model: QEMU went away")
        known: dict[str, Any] = dict(arguments or {})
        if command == "device_add" and known["id"] in self.hang:
            raise QmpTimeout(f"no answer to {command} within {deadline:g} s")
        names = {"id": "id_", "property": "property_"}
        does: Callable[..., object] = getattr(self, "_" + command.replace("-", "_"))
        return does(**{names.get(key, key.replace("-", "_")): value for key, value in known.items()})

    async def execute_with_fd(
        self, command: str, arguments: Optional[Mapping[str, object]], fd: int, deadline: float = 3.0
    ) -> object:
        os.fstat(fd)  # it must be open
        return await self.execute(command, {**(arguments or {}), "fd": fd}, deadline)

    def _add_fd(self, fdset_id: int, opaque: str, fd: int) -> object:
        self.fdsets.setdefault(fdset_id, []).append(fd)
        return {"fdset-id": fdset_id, "fd": fd}

    def _remove_fd(self, fdset_id: int) -> object:
        if fdset_id not in self.fdsets:
            raise QmpRefused("remove-fd: File descriptor named 'fdset-id' not found")
        del self.fdsets[fdset_id]
        return {}

    def _query_fdsets(self) -> object:
        return [{"fdset-id": number, "fds": [{"fd": fd} for fd in fds]} for number, fds in self.fdsets.items()]

    def _device_add(self, driver: str, id_: str, hostdevice: str, bus: str, port: str) -> object:
        if id_ in self.devices:
            raise QmpRefused(f"device_add: Duplicate device ID '{id_}'")
        if id_ in self.refuse:
            raise QmpRefused(f"device_add: {self.refuse[id_]}")
        if not 1 <= int(port) <= self._buses.get(bus, 0):
            raise QmpRefused(f"device_add: Bus '{bus}' not found")
        if any((one["bus"], one["port"]) == (bus, port) for one in self.devices.values()):
            raise QmpRefused(f"device_add: usb port {port} (bus {bus}) not found (in use?)")
        fdset = int(hostdevice.rpartition("/")[2])
        if fdset not in self.fdsets or fdset not in map(self._fdset, self._server.plugged.values()):
            raise QmpRefused(f"device_add: failed to open host usb device {hostdevice}")
        self.devices[id_] = {
            "hostdevice": hostdevice,
            "bus": bus,
            "port": port,
            "parent_bus": f"/machine/peripheral/{bus.partition('.')[0]}/{bus}",
            "attached": True,
            "fdset": fdset,
        }
        return {}

    def _device_del(self, id_: str) -> object:
        if id_ not in self.devices:
            raise QmpRefused(f"device_del: Device '{id_}' not found", "DeviceNotFound")
        del self.devices[id_]
        self.tell(Event("DEVICE_DELETED", {"device": id_}, 0.0))
        return {}

    def _qom_list(self, path: str) -> object:
        return [{"name": "xhci", "type": "child<qemu-xhci>"}, *({"name": id_, "type": "x"} for id_ in self.devices)]

    def _qom_get(self, path: str, property_: str) -> object:
        id_ = path.rpartition("/")[2]
        if id_ not in self.devices:
            raise QmpRefused(f"qom-get: Device '{path}' not found", "DeviceNotFound")
        return self.devices[id_][property_]

    @staticmethod
    def _fdset(device: UsbDevice) -> int:
        return FIRST_FDSET + 1000 * (device.bus or 0) + (device.number or 0)


class Bell:
    """Events of udev's, rung by hand; each is of a DVD drive, too."""

    def __init__(self) -> None:
        self._heard, self._rung = socket.socketpair()
        self._heard.setblocking(False)

    def fileno(self) -> int:
        return self._heard.fileno()

    def drain(self) -> list[dict[str, str]]:
        self._heard.recv(4096)
        return [{"DEVNAME": "/dev/sr0"}]

    def ring(self) -> None:
        self._rung.send(b"!")

    def close(self) -> None:
        self._heard.close()
        self._rung.close()
