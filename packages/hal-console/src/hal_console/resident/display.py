"""What the product's picture is shown on: one class per back-end (:mod:`hal_console.plan`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional, Protocol

from hal_console.rfb.picture import Picture
from hal_console.rfb.pixels import PixelFormat
from hal_console.screen import letters
from hal_console.screen.ansi import TextScreen
from hal_console.screen.framebuffer import Framebuffer
from hal_console.screen.letters import Reader
from hal_console.screen.painter import Painter
from hal_console.terminal.vt import Terminal


class Display(Protocol):
    name: str  # as in the plan
    size: str  # of the screen, for people
    note: str  # why it is not a better one; "" if it could not be
    wanted: PixelFormat  # how the picture has to be

    def show_all(self, picture: Picture) -> None:
        """The whole of it, whatever was on the screen."""

    def show_changes(self, picture: Picture) -> None:
        """What is in :attr:`Picture.changed`; it is emptied."""

    def changed(self) -> bool:
        """Whether the screen has become another one: then ``wanted`` may be different, too."""


class FramebufferDisplay:
    """Text and graphics.

    :param opened: opens the framebuffer, as it is now.
    :raise HostError: there is no framebuffer, or none that can be drawn on.
    """

    name, note = "framebuffer", ""

    def __init__(self, terminal: Terminal, opened: Callable[[], Framebuffer], scale: bool) -> None:
        self._terminal = terminal
        self._opened = opened
        self._scale = scale
        self._painter: Optional[Painter] = None
        self._painted: Optional[Picture] = None
        self._use(opened())

    def show_all(self, picture: Picture) -> None:
        self._terminal.graphics(True)
        self._painter = Painter(self._screen, picture, self._scale)
        self._painted = picture
        self._painter.paint_all()

    def show_changes(self, picture: Picture) -> None:
        if self._painter is None or self._painted is not picture:
            self.show_all(picture)
        else:
            self._painter.paint_changes()

    def changed(self) -> bool:
        screen = self._opened()
        if screen.geometry == self._screen.geometry:
            return False
        self._use(screen)
        return True

    def _use(self, screen: Framebuffer) -> None:
        self._screen = screen
        self.size = str(screen.geometry)
        self.wanted = screen.geometry.format
        self._painter = None


class TextDisplay:
    """What of the picture is text, on a server without a framebuffer."""

    name = "text"

    def __init__(self, terminal: Terminal, note: str) -> None:
        self._terminal = terminal
        self._reader = Reader()
        self.note = note
        self.wanted = letters.WANTED
        self.changed()

    def show_all(self, picture: Picture) -> None:
        self._terminal.clear()
        self._screen.forget()
        self.show_changes(picture)

    def show_changes(self, picture: Picture) -> None:
        picture.changed.clear()
        graphics = f"The product shows graphics, {picture.width}x{picture.height}, which this screen cannot."
        self._terminal.write(self._screen.show(self._reader.rows(picture), graphics).encode())

    def changed(self) -> bool:
        columns, lines = self._terminal.size()
        self._screen = TextScreen(columns, lines)
        self.size = f"{columns}x{lines} characters"
        return False
