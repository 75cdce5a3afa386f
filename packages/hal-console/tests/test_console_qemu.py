"""The screen and the keyboard of a real QEMU: what a guest shows and hears, and nothing made up in between."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import sys
import termios
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import pytest

from hal_console.resident import viewer
from hal_console.resident.viewer import Viewer
from hal_console.rfb.messages import SOUND_RATE
from hal_console.rfb.picture import Picture
from hal_console.rfb.pixels import XRGB32, PixelFormat
from hal_console.rfb.stream import Event, Lamps, Sound, Updated
from hal_console.screen import letters
from hal_console.screen.letters import Reader
from hal_console.terminal.scancodes import SCANCODES
from hal_console.terminal.tone import pitch
from hal_console.testing import guests, qemu
from hal_console.testing.qemu import Qemu
from hal_core.qmp import Session

pytestmark = [pytest.mark.component, pytest.mark.skipif(not qemu.find(), reason="no QEMU is installed")]
PATIENCE = 60.0

PAUSE, PRINT = 119, 99


class Watched:
    """A viewer, and what it has been told."""

    def __init__(self, guest: Qemu, session: Session) -> None:
        self.guest = guest
        self.session = session
        self.events: list[Event] = []
        self.again = asyncio.Event()
        self.viewer: Viewer

    def happened(self, event: Event) -> None:
        self.events.append(event)
        self.again.set()

    async def until(self, what: Callable[[], object]) -> None:
        """Wait until something is so, looking whenever something has happened."""

        async def look() -> None:
            while not what():
                self.again.clear()
                await self.again.wait()

        await asyncio.wait_for(look(), PATIENCE)

    @property
    def text(self) -> str:
        rows = Reader().rows(self.viewer.picture)
        return "\n".join("".join(cell.letter for cell in row).rstrip() for row in rows)

    def tell(self, letter: bytes) -> None:
        self.guest.com1.sendall(letter)


@contextlib.asynccontextmanager
async def watched(guest: Qemu, run_dir: Path, wanted: PixelFormat, sound: bool = False) -> AsyncIterator[Watched]:
    session = Session(str(run_dir / "qmp" / "console"), "test")
    await asyncio.wait_for(session.reconnect(longest_pause=0.1), PATIENCE)
    one = Watched(guest, session)
    try:
        one.viewer = Viewer(await viewer.connect(session), wanted, sound, one.happened)
        try:
            yield one
        finally:
            one.viewer.close()
    finally:
        await session.close()


def with_guest(
    run_dir: Path,
    program: tuple[guests.Code, ...],
    wanted: PixelFormat,
    do: Callable[[Watched], Coroutine[object, object, None]],
    sound: bool = False,
) -> None:
    async def main() -> None:
        with qemu.running(run_dir, program) as guest:
            async with watched(guest, run_dir, wanted, sound) as one:
                await do(one)

    asyncio.run(main())


def colours(picture: Picture) -> set[bytes]:
    """Of a picture of 32 bits per pixel, of which the highest eight mean nothing."""
    return {bytes(picture.view[at : at + 3]) for at in range(0, len(picture.view), 4)}


def unread(sock: socket.socket) -> int:
    """How many bytes wait to be received."""
    return int.from_bytes(fcntl.ioctl(sock, termios.FIONREAD, bytes(4)), sys.byteorder)


async def heard(one: Watched, count: int) -> bytes:
    """So many bytes that the guest's keyboard has sent."""
    one.guest.com1.setblocking(False)
    loop, got = asyncio.get_running_loop(), b""
    while len(got) < count:
        got += await asyncio.wait_for(loop.sock_recv(one.guest.com1, count - len(got)), PATIENCE)
    return got


def test_the_firmware_s_text_can_be_read(tmp_path: Path) -> None:
    async def read(one: Watched) -> None:
        await one.until(lambda: "Booting from Hard Disk" in one.text)
        assert one.text.startswith("SeaBIOS (version ")
        assert letters.UNKNOWN not in one.text
        assert one.viewer.picture.width == 720

    with_guest(tmp_path, guests.KEYS, letters.WANTED, read)


def test_every_key_reaches_the_guest_as_a_keyboard_sends_it(tmp_path: Path) -> None:
    async def press(one: Watched) -> None:
        assert await heard(one, 1) == b"!"
        for code, scancode in sorted(SCANCODES.items()):
            if code in (PAUSE, PRINT):
                continue  # sequences of several bytes: below
            one.viewer.key(True, scancode)
            one.viewer.key(False, scancode)
            prefix = b"\xe0" if scancode & 0x80 and code > 83 else b""
            plain = scancode & 0x7F
            expected = prefix + bytes([plain]) + prefix + bytes([plain | 0x80])
            assert await heard(one, len(expected)) == expected, f"key {code}"
        for code, expected in (
            (PAUSE, bytes.fromhex("e11d45e19dc5")),
            (PRINT, bytes.fromhex("e02ae037e0b7e0aa")),
        ):
            one.viewer.key(True, SCANCODES[code])
            one.viewer.key(False, SCANCODES[code])
            assert await heard(one, len(expected)) == expected, f"key {code}"

    with_guest(tmp_path, guests.KEYS, letters.WANTED, press)


def test_ctrl_alt_1_is_the_product_s(tmp_path: Path) -> None:
    """QEMU's VNC server takes it for itself, unless it is told which display is shown."""

    async def press(one: Watched) -> None:
        assert await heard(one, 1) == b"!"
        for scancode in (0x1D, 0x38, 0x02):
            one.viewer.key(True, scancode)
        for scancode in (0x02, 0x38, 0x1D):
            one.viewer.key(False, scancode)
        assert await heard(one, 6) == b"\x1d\x38\x02\x82\xb8\x9d"

    with_guest(tmp_path, guests.KEYS, letters.WANTED, press)


def test_keypad_and_num_lock_are_left_alone(tmp_path: Path) -> None:
    """A VNC server may press Num Lock by itself, to match what it thinks that the client meant."""

    async def press(one: Watched) -> None:
        assert await heard(one, 1) == b"!"
        for scancode in (0x47, 0x45, 0x47, 0x2A, 0x1E):
            one.viewer.key(True, scancode)
            one.viewer.key(False, scancode)
        assert await heard(one, 10) == bytes.fromhex("47c7 45c5 47c7 2aaa 1e9e")

    with_guest(tmp_path, guests.KEYS, letters.WANTED, press)


def test_graphics_and_back(tmp_path: Path) -> None:
    async def look(one: Watched) -> None:
        await one.until(lambda: one.viewer.picture.width == 720)
        one.tell(b"s")
        cyan = (0x00A8A8).to_bytes(3, "little")  # a VGA has six bits for each colour
        await one.until(lambda: one.viewer.picture.width == 640 and colours(one.viewer.picture) == {cyan})
        assert (one.viewer.picture.width, one.viewer.picture.height) == (640, 480)
        one.tell(b"t")
        await one.until(lambda: (one.viewer.picture.width, one.viewer.picture.height) == (720, 400))

    with_guest(tmp_path, guests.KEYS, XRGB32, look)


def test_pixels_are_as_they_were_asked_for(tmp_path: Path) -> None:
    red_lowest = PixelFormat(16, (0, 5), (5, 6), (11, 5))

    async def look(one: Watched) -> None:
        await one.until(lambda: one.viewer.picture.width == 720)
        one.tell(b"s")
        green, blue = 0xAA >> 2 << 5, 0xAA >> 3 << 11
        cyan = (green | blue).to_bytes(2, "little") * (640 * 480)
        await one.until(lambda: bytes(one.viewer.picture.view) == cyan)

    with_guest(tmp_path, guests.KEYS, red_lowest, look)


def test_the_lamps(tmp_path: Path) -> None:
    async def look(one: Watched) -> None:
        await one.until(lambda: "Booting from Hard Disk" in one.text)
        one.tell(b"l")
        await one.until(lambda: one.events[-1:] == [Lamps(4)] or Lamps(4) in one.events)

    with_guest(tmp_path, guests.KEYS, letters.WANTED, look)


def test_the_beep(tmp_path: Path) -> None:
    async def listen(one: Watched) -> None:
        await one.until(lambda: "Booting from Hard Disk" in one.text)
        one.tell(b"b")

        def pitches() -> list[int]:
            return [pitch(event.samples, SOUND_RATE) for event in one.events if isinstance(event, Sound)]

        await one.until(lambda: any(900 < hertz < 1100 for hertz in pitches()))
        one.tell(b"q")
        await one.until(lambda: pitches()[-1:] == [0])

    with_guest(tmp_path, guests.KEYS, letters.WANTED, listen, sound=True)


def test_what_is_not_watched_is_not_sent_and_comes_whole_later(tmp_path: Path) -> None:
    async def look(one: Watched) -> None:
        await one.until(lambda: "Booting from Hard Disk" in one.text)
        one.viewer.watch(False)
        one.tell(b"s")
        one.viewer.watch(True)
        await one.until(lambda: one.viewer.picture.width == 640)

    with_guest(tmp_path, guests.KEYS, letters.WANTED, look)


def test_who_does_not_read_costs_the_product_nothing(tmp_path: Path) -> None:
    """hal-console may be stopped, or its terminal (Scroll Lock): a product waits for neither.

    With QEMU's own curses it would: QEMU answers to nothing any more while its terminal takes nothing.
    """

    async def stop_reading(one: Watched) -> None:
        await one.until(lambda: one.viewer.picture.width == 1024)
        sock = await viewer.connect(one.session)
        shown = asyncio.Event()
        other = Viewer(sock, XRGB32, False, lambda event: shown.set() if isinstance(event, Updated) else None)
        await asyncio.wait_for(shown.wait(), PATIENCE)
        asyncio.get_running_loop().remove_reader(sock)
        await one.until(lambda: unread(sock) > 1 << 16)  # of a picture of 3 MiB, which never fits
        one.events.clear()
        await one.until(lambda: one.events.count(Updated(False)) > 3)
        await one.session.execute("query-status")  # it answers in time
        other.close()

    with_guest(tmp_path, guests.FILM, XRGB32, stop_reading)


def test_a_qemu_that_goes_is_noticed(tmp_path: Path) -> None:
    async def look(one: Watched) -> None:
        await one.until(lambda: one.viewer.picture.width == 720)
        one.guest.process.kill()
        await asyncio.wait_for(one.viewer.ended.wait(), PATIENCE)
        one.viewer.key(True, 0x1E)  # into the void

    with_guest(tmp_path, guests.KEYS, letters.WANTED, look)
