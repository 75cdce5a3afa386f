"""The server's virtual terminal: ioctl_console(2), ioctl_vt(2), include/uapi/linux/{kd,vt}.h.

The process needs no capability for any of it where the terminal is its controlling one, as systemd makes it
(``StandardInput=tty``).
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios

from hal_core.errors import HostError

_KDGKBTYPE, _KDSETMODE, _KDSKBMODE, _KDSETLED, _KIOCSOUND = 0x4B33, 0x4B3A, 0x4B45, 0x4B32, 0x4B2F
_VT_SETMODE, _VT_GETSTATE, _VT_RELDISP, _VT_ACTIVATE = 0x5602, 0x5603, 0x5605, 0x5606
_TEXT, _GRAPHICS = 0, 1
_MEDIUMRAW, _UNICODE = 2, 3  # keyboard modes: key codes, and UTF-8
_AUTO, _PROCESS = 0, 1
_ACKNOWLEDGE = 2  # VT_ACKACQ
_LAMPS_AS_THEY_ARE = 0xFF
_PIT_HZ = 1193182  # the clock that KIOCSOUND's number divides

_CLEAR = b"\033c\033[2J\033[H"  # RIS, first of all: whatever was set, colours, margins, a character set
_HIDE_CURSOR = b"\033[?25l"


class Terminal:
    """A virtual terminal that is open.

    :param fd: stays the caller's.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._graphics = False

    @property
    def name(self) -> str:
        return os.ttyname(self.fd)

    @property
    def number(self) -> int:
        """1 for tty1."""
        return os.minor(os.fstat(self.fd).st_rdev)

    def take(self, release_signal: int, acquire_signal: int) -> None:
        """Have its keyboard send key codes, and be asked before another terminal comes to the front.

        :raise HostError: it is no virtual terminal, or not this process's.
        """
        try:
            fcntl.ioctl(self.fd, _KDGKBTYPE, bytes(1))
        except OSError:
            raise HostError(
                f"{self._where()} is no virtual terminal of this server",
                "hal-console.service starts this on /dev/tty1: systemctl start hal-console",
            ) from None
        try:
            self._raw()
            fcntl.ioctl(self.fd, _KDSKBMODE, _MEDIUMRAW)
            mode = struct.pack("bbhhh", _PROCESS, 0, release_signal, acquire_signal, 0)
            fcntl.ioctl(self.fd, _VT_SETMODE, mode)
        except OSError as error:
            raise HostError(f"{self._where()} cannot be taken: {error.strerror}", "run this as root") from None

    def restore(self) -> None:
        """As a getty wants it: text, characters, no signals, silence."""
        for request, argument in (
            (_KDSETMODE, _TEXT),
            (_KDSKBMODE, _UNICODE),
            (_KDSETLED, _LAMPS_AS_THEY_ARE),
            (_KIOCSOUND, 0),
        ):
            fcntl.ioctl(self.fd, request, argument)
        fcntl.ioctl(self.fd, _VT_SETMODE, struct.pack("bbhhh", _AUTO, 0, 0, 0, 0))
        self._graphics = False
        attributes = termios.tcgetattr(self.fd)
        attributes[0] |= termios.ICRNL
        attributes[1] |= termios.OPOST | termios.ONLCR
        attributes[3] |= termios.ICANON | termios.ECHO | termios.ISIG
        termios.tcsetattr(self.fd, termios.TCSANOW, attributes)
        self.write(_CLEAR)

    @property
    def in_front(self) -> bool:
        """Whether it is the terminal that the screen and keyboard belong to now."""
        state = struct.unpack("HHH", fcntl.ioctl(self.fd, _VT_GETSTATE, bytes(6)))
        return bool(state[0] == self.number)

    def graphics(self, wanted: bool) -> None:
        """The kernel writes no text on the screen, or it does: then it shows what the terminal says."""
        if wanted != self._graphics:
            fcntl.ioctl(self.fd, _KDSETMODE, _GRAPHICS if wanted else _TEXT)
            self._graphics = wanted

    def show(self, text: bytes) -> None:
        """These bytes alone, in text mode."""
        self.graphics(False)
        self.write(_CLEAR + _HIDE_CURSOR + text)

    def clear(self) -> None:
        """Nothing but a cursor, in text mode."""
        self.graphics(False)
        self.write(_CLEAR)

    def size(self) -> os.terminal_size:
        """Columns and lines of its text."""
        return os.get_terminal_size(self.fd)

    def let_go(self) -> None:
        """Another terminal may come to the front."""
        fcntl.ioctl(self.fd, _VT_RELDISP, 1)

    def taken_back(self) -> None:
        """It is in the front again, and that is all right."""
        fcntl.ioctl(self.fd, _VT_RELDISP, _ACKNOWLEDGE)

    def switch_to(self, number: int) -> None:
        """Bring terminal ``number`` to the front; it is made, if need be."""
        fcntl.ioctl(self.fd, _VT_ACTIVATE, number)

    def lamps(self, state: int) -> None:
        """:param state: 1 Scroll Lock, 2 Num Lock, 4 Caps Lock."""
        fcntl.ioctl(self.fd, _KDSETLED, state & 7)

    def tone(self, hertz: int) -> None:
        """Sound this from now on; 0: silence."""
        fcntl.ioctl(self.fd, _KIOCSOUND, min(0xFFFF, _PIT_HZ // hertz) if hertz else 0)

    def write(self, data: bytes) -> None:
        """All of these bytes."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view) :]

    def _raw(self) -> None:
        """No line editing, echo or signals on input; output stays as it is."""
        attributes = termios.tcgetattr(self.fd)
        attributes[0] = 0
        attributes[3] = 0
        attributes[6][termios.VMIN] = 1
        attributes[6][termios.VTIME] = 0
        termios.tcsetattr(self.fd, termios.TCSANOW, attributes)

    def _where(self) -> str:
        try:
            return os.ttyname(self.fd)
        except OSError:
            return "standard input"
