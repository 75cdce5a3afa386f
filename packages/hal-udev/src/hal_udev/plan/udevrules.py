"""hal.toml's rules in udev's words: so that udev treats a disk that stays with the host as the host's own. Pure.

hal-vmm's rules (60-hal-hands-off.rules) keep the host's hands off every disk, those on USB included, unless an earlier
rule has set HAL_OWN_DISK.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from hal_udev.config import CLASSES, KeepConfig

NAME = "59-hal-udev.rules"
DIRECTORY = "/etc/udev/rules.d"

_HEAD = """\
# Written by hal-udev from [[udev.keep]] in hal.toml, and written anew by `hal udev apply`: do not edit.
# A USB disk that stays with the host is the host's own: see 60-hal-hands-off.rules.
ACTION=="remove", GOTO="hal_udev_end"
SUBSYSTEM=="block", SUBSYSTEMS=="usb", GOTO="hal_udev_usb"
GOTO="hal_udev_end"
LABEL="hal_udev_usb"
"""
_TAIL = 'LABEL="hal_udev_end"\n'


def path() -> str:
    return os.path.join(DIRECTORY, NAME)


def render(rules: Sequence[KeepConfig]) -> str:
    """The file's content; "" where none is needed."""
    lines = [_line(rule) for rule in rules]
    return _HEAD + "".join(lines) + _TAIL if any(not rule.give for rule in rules) else ""


def _line(rule: KeepConfig) -> str:
    """Parents are matched all on one device (udev(7), KERNELS), and a disk's interface is another one than its device.

    So a class is matched by itself: a disk is behind an interface of class storage, if its device has one at all.
    """
    if rule.class_ and CLASSES.get(rule.class_, rule.class_) != CLASSES["storage"]:
        return f"# not about disks: class {rule.class_}\n"
    vendor, _, product = rule.id.partition(":")
    matches = [f'ATTRS{{idVendor}}=="{vendor}"'] if vendor not in ("", "*") else []
    matches += [f'ATTRS{{idProduct}}=="{product}"'] if product not in ("", "*") else []
    matches += [f'ATTRS{{serial}}=="{_quoted(rule.serial)}"'] if rule.serial else []
    matches = [*(['SUBSYSTEMS=="usb"'] if matches else []), *matches]
    if rule.port:
        device = f"*/{rule.port.partition('/')[0]}/usb*" if "/" in rule.port else "*"
        ports = rule.port.rpartition("/")[2] if "/" in rule.port else rule.port
        kernel = f"*-{ports}" if "/" in rule.port else ports
        places = "|".join(f"{device}/{kernel}{more}/*" for more in ("", ".*"))
        matches.append(f'DEVPATH=="{places}"')
    verdict = 'GOTO="hal_udev_end"' if rule.give else 'ENV{HAL_OWN_DISK}="1", GOTO="hal_udev_end"'
    return ", ".join([*matches, verdict]) + "\n"


def _quoted(text: str) -> str:
    """What udev's patterns would take for something else becomes a ``?``, any one character."""
    return "".join("?" if char in '*?[]|"\\$%' else char for char in text)
