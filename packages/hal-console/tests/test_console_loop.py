"""The resident with a real QEMU, and with a fake terminal and a fake framebuffer: what is on the screen, and when."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

import fake_screen
from fake_screen import fake_framebuffer
from fake_terminal import FakeTerminal
from hal_console import notice
from hal_console.config import ConsoleConfig
from hal_console.resident.display import Display, FramebufferDisplay, TextDisplay
from hal_console.resident.loop import Console
from hal_console.screen.framebuffer import Framebuffer
from hal_console.statusfile import STATUS
from hal_console.testing import guests, qemu

PATIENCE = 60.0
needs_qemu = [pytest.mark.component, pytest.mark.skipif(not qemu.find(), reason="no QEMU is installed")]
CYAN, BLACK = 0x00A8A8, 0
DOWN = {"ctrl": 29, "alt": 56, "shift": 42, "a": 30, "f2": 60}


class Resident:
    """The loop, running, and the fakes that it runs on."""

    def __init__(self, run_dir: Path, settings: ConsoleConfig, text: bool = False) -> None:
        self.run_dir = run_dir
        self.terminal = FakeTerminal(80, 30)
        self.screens = [fake_framebuffer(800, 600)]  # the last one is the one that is there now
        display: Display
        if text:
            display = TextDisplay(self.terminal, "no framebuffer")
        else:
            display = FramebufferDisplay(self.terminal, lambda: self.screens[-1], settings.scale)
        self.told: list[str] = []
        self.console = Console(self.terminal, display, settings, str(run_dir), self.told.append)

    @property
    def screen(self) -> Framebuffer:
        return self.screens[-1]

    @property
    def shown(self) -> str:
        return str(json.loads(Path(STATUS.path(str(self.run_dir))).read_text())["showing"])

    def middle(self) -> int:
        """The colour of the screen's middle, without the highest byte, which means nothing."""
        return fake_screen.pixels_of(self.screen)[300][400] & 0xFFFFFF

    def press(self, *codes: int) -> None:
        self.terminal.keyboard.sendall(bytes(codes))

    def product_is(self, **state: object) -> None:
        (self.run_dir / "vmm").mkdir(exist_ok=True)
        (self.run_dir / "vmm" / "state.json").write_text(json.dumps(state))

    async def until(self, what: Callable[[], object]) -> None:
        """Wait until something is so. The fakes tell nobody of it, so it is looked at."""

        async def look() -> None:
            while not what():
                await asyncio.sleep(0.01)

        await asyncio.wait_for(look(), PATIENCE)


async def heard(guest: qemu.Qemu, count: int) -> bytes:
    """So many bytes that the guest's keyboard has sent."""
    guest.com1.setblocking(False)
    loop, got = asyncio.get_running_loop(), b""
    while len(got) < count:
        got += await asyncio.wait_for(loop.sock_recv(guest.com1, count - len(got)), PATIENCE)
    return got


DEFAULTS = ConsoleConfig()


def with_resident(
    run_dir: Path,
    do: Callable[[Resident], Coroutine[object, object, None]],
    settings: ConsoleConfig = DEFAULTS,
    text: bool = False,
) -> Resident:
    """The resident, as it was in the end."""

    async def main() -> Resident:
        resident = Resident(run_dir, settings, text)
        running = asyncio.create_task(resident.console.run())
        try:
            await do(resident)
            assert not running.done()
        finally:
            resident.console.stop()
            await running
            resident.terminal.close()
        return resident

    return asyncio.run(main())


def test_without_a_product_it_says_what_is_going_on(tmp_path: Path) -> None:
    async def look(resident: Resident) -> None:
        await resident.until(lambda: b"The product is being started." in resident.terminal.said)
        resident.product_is(state="restarting", last_exit={"reason": "heartbeats-missed"})
        await resident.until(lambda: b"It had missed its heartbeats" in resident.terminal.said)
        (tmp_path / "vmm" / "rescue").write_text("It has crashed 5 times.\nTry again with: hal vmm start\n")
        resident.product_is(state="rescue")
        await resident.until(lambda: b"Try again with: hal vmm start" in resident.terminal.said)
        assert b"started again." not in resident.terminal.said.replace(b"not started again", b"")
        assert resident.shown == "a notice"

    resident = with_resident(tmp_path, look)
    assert resident.terminal.done[0] == "take"
    assert resident.terminal.done[-1] == "restore"
    assert "graphics" not in resident.terminal.done
    assert resident.told[0] == "READY=1"


def test_a_notice_is_written_once(tmp_path: Path) -> None:
    async def look(resident: Resident) -> None:
        await resident.until(lambda: resident.terminal.said)
        resident.terminal.said = b""
        resident.product_is(state="starting")
        await asyncio.sleep(1.2)  # two looks: there is no event for "nothing has happened"
        assert resident.terminal.said == b""

    with_resident(tmp_path, look)


def test_a_terminal_that_is_hung_up_ends_it(tmp_path: Path) -> None:
    async def main() -> None:
        resident = Resident(tmp_path, ConsoleConfig())
        resident.terminal.keyboard.close()
        await asyncio.wait_for(resident.console.run(), PATIENCE)
        assert resident.terminal.done[-1] == "restore"
        resident.terminal.close()

    asyncio.run(main())


def test_what_nobody_expected_ends_it_and_the_terminal_is_restored(tmp_path: Path) -> None:
    async def main() -> None:
        resident = Resident(tmp_path, ConsoleConfig())
        running = asyncio.create_task(resident.console.run())
        await resident.until(lambda: resident.told)

        def fail() -> None:
            raise ZeroDivisionError("of a test")

        asyncio.get_running_loop().call_soon(fail)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(running, PATIENCE)
        assert resident.terminal.done[-1] == "restore"
        resident.terminal.close()

    asyncio.run(main())


class TestWithQemu:
    pytestmark = needs_qemu

    def test_graphics_are_on_the_framebuffer(self, tmp_path: Path) -> None:
        async def look(resident: Resident) -> None:
            with qemu.running(tmp_path, guests.KEYS) as guest:
                await resident.until(lambda: "graphics" in resident.terminal.done)
                # 720x400: the firmware's first line, where its picture begins.
                await resident.until(lambda: any(fake_screen.pixels_of(resident.screen)[103][40:200]))
                assert not any(map(any, fake_screen.pixels_of(resident.screen)[:100]))
                guest.com1.sendall(b"s")
                await resident.until(lambda: resident.middle() == CYAN)
                rows = fake_screen.pixels_of(resident.screen)
                lit = [(x, y) for y in range(600) for x in range(800) if rows[y][x] & 0xFFFFFF == CYAN]
                assert (min(lit), max(lit)) == ((80, 60), (719, 539))  # 640x480, in the middle of 800x600
                assert len(lit) == 640 * 480
                assert fake_screen.outside_of(resident.screen) == {fake_screen.OUTSIDE}
                assert resident.shown == "the product"

        with_resident(tmp_path, look)

    def test_the_next_product_comes_back_without_a_flicker(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(notice, "PATIENCE", 3 * PATIENCE)  # a busy machine may need longer than a server

        async def look(resident: Resident) -> None:
            with qemu.running(tmp_path, guests.KEYS) as guest:
                await resident.until(lambda: "graphics" in resident.terminal.done)
                guest.com1.sendall(b"s")
                await resident.until(lambda: resident.middle() == CYAN)
            (tmp_path / "qmp" / "console").unlink()
            await resident.until(lambda: resident.shown == "the last picture")
            assert resident.middle() == CYAN
            assert resident.terminal.done.count("text") == 0
            with qemu.running(tmp_path, guests.KEYS):
                await resident.until(lambda: resident.middle() == BLACK)  # the firmware's screen
                assert resident.shown == "the product"
            assert resident.terminal.done.count("graphics") == 1

        with_resident(tmp_path, look)

    def test_a_product_that_stays_away_leaves_a_notice(self, tmp_path: Path) -> None:
        async def look(resident: Resident) -> None:
            with qemu.running(tmp_path, guests.KEYS):
                await resident.until(lambda: "graphics" in resident.terminal.done)
            resident.product_is(state="stopped")
            await resident.until(lambda: b"The product has been stopped." in resident.terminal.said)
            assert resident.terminal.done[-1] == "text"

        with_resident(tmp_path, look)

    def test_keys_reach_the_product(self, tmp_path: Path) -> None:
        async def look(resident: Resident) -> None:
            with qemu.running(tmp_path, guests.KEYS) as guest:
                await resident.until(lambda: "graphics" in resident.terminal.done)
                guest.com1.sendall(b"s")
                await resident.until(lambda: resident.middle() == CYAN)
                resident.press(DOWN["a"], DOWN["a"], DOWN["a"] | 0x80, 0, 0x80, 100 | 0x80)
                assert await heard(guest, 6) == b"!" + bytes.fromhex("1e 1e 9e e038")

        with_resident(tmp_path, look)

    def test_another_terminal_and_back(self, tmp_path: Path) -> None:
        async def look(resident: Resident) -> None:
            with qemu.running(tmp_path, guests.KEYS) as guest:
                await resident.until(lambda: "graphics" in resident.terminal.done)
                guest.com1.sendall(b"s")
                await resident.until(lambda: resident.middle() == CYAN)
                resident.press(DOWN["ctrl"], DOWN["alt"])
                assert await heard(guest, 3) == b"!\x1d\x38"
                os.kill(os.getpid(), signal.SIGUSR1)
                await resident.until(lambda: resident.shown == "another terminal")
                assert resident.terminal.done[-1] == "let go"
                assert await heard(guest, 2) == b"\xb8\x9d"
                at = resident.screen.geometry.offset
                resident.screen.memory[at:] = bytes([0x55]) * (len(resident.screen.memory) - at)  # somebody else's
                os.kill(os.getpid(), signal.SIGUSR2)
                await resident.until(lambda: resident.shown == "the product")
                assert resident.middle() == CYAN
                assert fake_screen.pixels_of(resident.screen)[0][0] == BLACK

        with_resident(tmp_path, look)

    def test_a_screen_that_has_become_another_one(self, tmp_path: Path) -> None:
        async def look(resident: Resident) -> None:
            with qemu.running(tmp_path, guests.KEYS) as guest:
                await resident.until(lambda: "graphics" in resident.terminal.done)
                guest.com1.sendall(b"s")
                await resident.until(lambda: resident.middle() == CYAN)
                resident.screens.append(fake_framebuffer(1024, 768, 16))
                os.kill(os.getpid(), signal.SIGUSR1)
                os.kill(os.getpid(), signal.SIGUSR2)
                cyan = 0xA8 >> 2 << 5 | 0xA8 >> 3
                await resident.until(lambda: fake_screen.pixels_of(resident.screen)[384][512] == cyan)

        with_resident(tmp_path, look)

    @pytest.mark.parametrize("allowed", [True, False])
    def test_the_way_out(self, tmp_path: Path, allowed: bool) -> None:
        async def look(resident: Resident) -> None:
            with qemu.running(tmp_path, guests.KEYS):
                await resident.until(lambda: "graphics" in resident.terminal.done)
                resident.press(DOWN["ctrl"], DOWN["alt"], DOWN["shift"], DOWN["f2"])
                resident.press(DOWN["f2"] | 0x80)
                os.kill(os.getpid(), signal.SIGUSR1)  # after what was typed: the loop reads it first
                await resident.until(lambda: "let go" in resident.terminal.done)
                assert ("switch to 2" in resident.terminal.done) is allowed

        with_resident(tmp_path, look, ConsoleConfig(escape=allowed))

    def test_lamps_and_beeps(self, tmp_path: Path) -> None:
        async def look(resident: Resident) -> None:
            with qemu.running(tmp_path, guests.KEYS) as guest:
                await resident.until(lambda: "graphics" in resident.terminal.done)
                guest.com1.sendall(b"l")
                await resident.until(lambda: resident.terminal.lamp_state == 4)
                guest.com1.sendall(b"b")
                await resident.until(lambda: any(said.endswith("Hz") for said in resident.terminal.done))
            await resident.until(lambda: resident.terminal.done[-1] == "0 Hz")

        with_resident(tmp_path, look)

    def test_text_alone_where_there_is_no_framebuffer(self, tmp_path: Path) -> None:
        async def look(resident: Resident) -> None:
            with qemu.running(tmp_path, guests.KEYS) as guest:
                await resident.until(lambda: b"SeaBIOS (version" in resident.terminal.said)
                guest.com1.sendall(b"s")
                await resident.until(lambda: b"\033[30H\033[37;46m" in resident.terminal.said)  # all cyan

        resident = with_resident(tmp_path, look, text=True)
        assert "graphics" not in resident.terminal.done
