"""With a real QEMU: ids, ports, buses, descriptors, refusals. There are no USB devices here, so they are FAKE.

What stands for the host's devices are QEMU's own tablets; ``usb-host`` itself is only seen refusing. The lab has it
real.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Optional

import pytest

from bench_of_fakes import PATIENCE
from hal_core import paths, qmp_once
from hal_core.errors import QmpDisconnected
from hal_core.qmp import Session
from hal_core.testing import synthetic
from hal_udev.config import UdevConfig
from hal_udev.plan import planfile
from hal_udev.plan.difference import Found
from hal_udev.plan.ports import Place
from hal_udev.resident.loop import Loop
from hal_udev.resident.qemu import look
from hal_udev.statusfile import STATUS
from hal_udev.testing.server import Bell, FakeServer

QEMU = shutil.which("qemu-system-x86_64") or shutil.which("qemu-kvm", path="/usr/libexec") or ""

pytestmark = [pytest.mark.component, pytest.mark.skipif(not QEMU, reason="no QEMU installed")]

MODERN = ("-device qemu-xhci,id=xhci,p2=15,p3=15 -device qemu-xhci,id=xhci2,p2=15,p3=15", {"xhci.0": 15, "xhci2.0": 15})
OLD = (
    "-device ich9-usb-ehci1,id=ehci,multifunction=on,addr=1d.7 "
    "-device ich9-usb-uhci1,masterbus=ehci.0,firstport=0,multifunction=on,addr=1d.0 "
    "-device ich9-usb-uhci2,masterbus=ehci.0,firstport=2,multifunction=on,addr=1d.1 "
    "-device ich9-usb-uhci3,masterbus=ehci.0,firstport=4,multifunction=on,addr=1d.2",
    {"ehci.0": 6},
)


class WithTablets(Session):
    """FAKE devices: a tablet, whose serial number is the name of the file that a usb-host would have."""

    async def execute(
        self, command: str, arguments: Optional[Mapping[str, object]] = None, deadline: float = 3.0
    ) -> object:
        given: dict[str, Any] = dict(arguments or {})
        if command == "device_add":
            given["driver"] = "usb-tablet"
            given["serial"] = given.pop("hostdevice")
        elif command == "qom-get" and given["property"] == "hostdevice":
            given["property"] = "serial"
        return await super().execute(command, given, deadline)


class Product:
    """A QEMU that stands still."""

    def __init__(self, directory: Path, controllers: str) -> None:
        self._sockets = directory / "qmp"
        self._sockets.mkdir(exist_ok=True)
        self._argv = [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", "tcg"]
        self._argv += ["-S", "-m", "32M", *controllers.split()]
        for name in ("udev", "test"):
            self._argv += ["-chardev", f"socket,id={name},path={self._sockets}/{name},server=on,wait=off"]
            self._argv += ["-mon", f"chardev={name},mode=control"]
        self._process: Optional[subprocess.Popen[bytes]] = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._argv)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def ask(self, command: str, **arguments: object) -> Any:
        with qmp_once.Once(str(self._sockets / "test"), deadline=PATIENCE) as once:
            return once.execute(command, arguments)

    def devices(self) -> dict[str, str]:
        """Id → the port that it is in, of what is attached."""
        listed = self.ask("qom-list", path="/machine/peripheral")
        ids = [one["name"] for one in listed if one["name"].startswith("usb-")]
        get = {id_: f"/machine/peripheral/{id_}" for id_ in ids}
        return {
            id_: self.ask("qom-get", path=path, property="port")
            for id_, path in get.items()
            if self.ask("qom-get", path=path, property="attached")
        }


@asynccontextmanager
async def resident(server: FakeServer, session: type[Session]) -> AsyncIterator[Bell]:
    bell = Bell()
    loops: list[Loop] = []
    path = f"{paths.run_dir()}/qmp/udev"
    connected = session(path, "udev", lambda event: loops[0]._event(event))
    loops.append(Loop(server, UdevConfig(), paths.run_dir(), lambda _: None, connected))
    task = asyncio.create_task(loops[0].run(bell))
    try:
        yield bell
    finally:
        loops[0].stop()
        await asyncio.wait_for(task, PATIENCE)
        bell.close()


def states() -> dict[str, str]:
    path = Path(STATUS.path(paths.run_dir()))
    known = json.loads(path.read_text()) if path.exists() else {"devices": []}
    return {one["port"]: f"{one['state']} {one['reason']}".strip() for one in known["devices"]}


async def until_states(**expected: str) -> None:
    await until(lambda: states() == {port.replace("p", "1-"): state for port, state in expected.items()})


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(int(PATIENCE / 0.02)):
        if is_so():
            return
        await asyncio.sleep(0.02)  # there is no event for what a test wants to see
    raise AssertionError(f"it does not become so: {states()}")


@pytest.fixture
def run_dir(directories: Path) -> Path:
    return Path(paths.run_dir())


def plan_product(run_dir: Path, buses: Mapping[str, int]) -> None:
    told = [{"bus": bus, "ports": ports} for bus, ports in buses.items()]
    Path(planfile.path(str(run_dir))).write_text(json.dumps({"usb_buses": told, "serial": []}))


@pytest.mark.parametrize(("controllers", "buses"), [MODERN, OLD], ids=["xhci", "ehci"])
def test_plugged_in_pulled_out_and_again_after_a_restart_of_either(
    run_dir: Path, controllers: str, buses: dict[str, int]
) -> None:
    plan_product(run_dir, buses)
    qemu, server = Product(run_dir, controllers), FakeServer()
    ports = sum(buses.values())
    for number in range(1, ports + 1):
        server.plug(synthetic.usb_plugged(f"1-{number}"))
    all_attached = {f"p{number}": "attached" for number in range(1, ports + 1)}

    async def story() -> None:
        async with resident(server, WithTablets) as bell:
            await until_states(**all_attached)
            before = qemu.devices()
            assert len(before) == ports
            assert len(qemu.ask("query-fdsets")) == ports, "a product that stands still"
            qemu.ask("cont")
            await until(lambda: qemu.ask("query-fdsets") == [])
            qemu.kill()
            await until_states(**dict.fromkeys(all_attached, "no product"))
            qemu.start()
            await until_states(**all_attached)
            assert qemu.devices() == before, "every device in its port"
            server.pull("1-2")
            server.pull("1-1")
            server.plug(synthetic.usb_plugged("1-1"))
            bell.ring()
            await until_states(**{port: state for port, state in all_attached.items() if port != "p2"})
            server.plug(synthetic.usb_plugged("1-2"))
            bell.ring()
            await until_states(**all_attached)
            assert qemu.devices() == before
        async with resident(server, WithTablets):
            await until_states(**all_attached)
            assert qemu.devices() == before

    qemu.start()
    try:
        asyncio.run(story())
    finally:
        qemu.kill()


def test_a_real_usb_host_that_is_refused_leaves_nothing_behind(run_dir: Path) -> None:
    """Its node is none: /dev/null. What QEMU says is what a person gets to read."""
    plan_product(run_dir, MODERN[1])
    qemu, server = Product(run_dir, MODERN[0]), FakeServer()
    server.plug(synthetic.usb_plugged("1-1"))

    async def story() -> None:
        async with resident(server, Session):
            await until(lambda: states().get("1-1", "").startswith("retrying"))
            assert "failed to open host usb device /dev/fdset/7001002" in states()["1-1"]
            qemu.ask("cont")
            # QEMU's own copy it forgets: of that there is one for each refusal.
            await until(lambda: not any(one["fds"] for one in qemu.ask("query-fdsets")))
        assert qemu.devices() == {}

    qemu.start()
    try:
        if not any(one["name"] == "usb-host" for one in _types(run_dir, qemu)):
            pytest.skip("this QEMU has no usb-host")
        asyncio.run(story())
    finally:
        qemu.kill()


def test_a_real_usb_host_that_has_no_device_is_seen_as_such_and_removed(run_dir: Path) -> None:
    """QEMU takes one by its port though nothing is plugged in there, and waits: somebody may have done that by hand."""
    plan_product(run_dir, MODERN[1])
    qemu = Product(run_dir, MODERN[0])

    async def story() -> None:
        session = Session(f"{run_dir}/qmp/udev", "test")
        await session.connect()
        assert await look(session) == {"usb-1-1": Found(0, False, Place("xhci.0", 3))}
        await session.close()
        async with resident(FakeServer(), Session):
            await until(lambda: "usb-1-1" not in str(qemu.ask("qom-list", path="/machine/peripheral")))

    qemu.start()
    try:
        if not any(one["name"] == "usb-host" for one in _types(run_dir, qemu)):
            pytest.skip("this QEMU has no usb-host")
        nowhere = {"hostbus": "99", "hostport": "9", "bus": "xhci.0", "port": "3"}
        qemu.ask("device_add", driver="usb-host", id="usb-1-1", **nowhere)
        asyncio.run(story())
    finally:
        qemu.kill()


def _types(run_dir: Path, qemu: Product) -> list[dict[str, Any]]:
    for _ in range(int(PATIENCE / 0.05)):
        try:
            found: list[dict[str, Any]] = qemu.ask("qom-list-types", implements="usb-device")
            return found
        except QmpDisconnected:
            subprocess.run(["sleep", "0.05"], check=True)  # it has to make its socket first
    raise AssertionError("QEMU does not start")
