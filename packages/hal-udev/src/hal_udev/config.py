"""The ``[udev]`` table of hal.toml. With no file at all every device goes to the product."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hal_core.config import listed, option
from hal_core.errors import ConfigError

#: What people call them, and USB does (usb.org, "Defined Class Codes").
CLASSES = {
    "audio": "01",
    "communication": "02",
    "hid": "03",
    "image": "06",
    "printer": "07",
    "storage": "08",
    "smart-card": "0b",
    "video": "0e",
    "wireless": "e0",
    "vendor": "ff",
}


@dataclass(frozen=True)
class KeepConfig:
    class_: str = option(
        "",
        f"What it does, alone or among other things: {', '.join(CLASSES)}; or the class code, two hex digits.",
        pattern=f"|[0-9a-f]{{2}}|{'|'.join(CLASSES)}",
    )
    id: str = option(
        "",
        'Vendor and product as lsusb shows them: "046d:c31c", or "046d:*" for all of a vendor\'s; "*" is any device.',
        pattern=r"|\*|[0-9a-f]{4}:([0-9a-f]{4}|\*)",
    )
    serial: str = option("", "Its serial number.", pattern=r"\S.*|")
    port: str = option(
        "",
        'Where it is plugged in, as `hal udev facts` shows: "1-1.4", or "0000:00:14.0/usb2/1.4", which stays the same '
        "when the kernel numbers the buses otherwise. What is behind a hub in this port counts too.",
        pattern=r"|[0-9]+-[0-9]+(\.[0-9]+)*|[^/\s]+/usb[0-9]/[0-9]+(\.[0-9]+)*",
    )
    give: bool = option(False, "The other way round: it goes to the product, whatever a later rule says.")


@dataclass(frozen=True)
class UdevConfig:
    """USB devices. All of them go to the product; hubs and HAL's own device never do."""

    keep: tuple[KeepConfig, ...] = listed(
        KeepConfig,
        "A device that stays with the host: what is said here must all be true of it. The first rule that fits a "
        "device decides. `hal udev plan` shows which one that is, for each device.",
    )

    def wrong(self) -> Iterator[ConfigError]:
        for index, rule in enumerate(self.keep):
            if not (rule.class_ or rule.id or rule.serial or rule.port):
                yield ConfigError(
                    f"udev.keep[{index}]: says of no device that it stays; class, id, serial or port is needed",
                    'for all devices that no earlier rule fits: id = "*"',
                )
