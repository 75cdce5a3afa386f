"""The ``[console]`` table of hal.toml. With no file at all the product has the server's screen, keyboard and beeper."""

from __future__ import annotations

from dataclasses import dataclass

from hal_core.config import option


@dataclass(frozen=True)
class ConsoleConfig:
    """The product's screen and keyboard on the server's own."""

    framebuffer: str = option(
        "/dev/fb0",
        "The kernel's framebuffer that the product's picture is drawn on. Where there is none, the product's text is "
        "shown, and no graphics.",
        pattern=r"/dev/[A-Za-z0-9_./-]+",
    )
    scale: bool = option(
        True,
        "Enlarge a picture that is at most half as wide and high as the screen, by a whole factor. A picture that is "
        "larger than the screen is always made smaller.",
    )
    escape: bool = option(
        False,
        "Let Ctrl+Alt+Shift+F2 to F12 lead to this server's own virtual terminals, for support engineers. Ctrl+Alt+F1 "
        "leads back. Whoever stands before the server can then try to log in there.",
    )
    beep: bool = option(True, "Let the server beep when the product does.")
