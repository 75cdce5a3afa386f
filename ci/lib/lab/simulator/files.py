"""The directory of one simulated server: what is in it, and how it is when the server is new.

QEMU runs in this directory and knows everything in it by its bare name, so that a unix socket's name always fits into
an address, and a directory that was copied is a server too.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from factory import programs
from lab.errors import LabError
from lab.simulator import installed
from lab.simulator.server import Server

DESCRIPTION = "server.toml"
QEMU_LOG = "qemu.log"  # what QEMU itself complains about
HOST_CONSOLE = "host-console.log"  # the HAL host's hvc0: its kernel's messages and its journal
AGENT = "agent.sock"  # the QEMU guest agent of the HAL host
QMP = "qmp.sock"  # for a person: the lab has monitors of its own
VNC = "vnc.sock"
KEY = "key.qcow2"
VARIABLES = "vars.fd"  # UEFI's
HAL_TOML = "hal.toml"  # the host's configuration, which it fetches at each boot

_MIB = 1 << 20
_QCOW2 = b"QFI\xfb"  # QEMU's docs/interop/qcow2.txt: magic; bytes 24 to 31 are the size
_SIZE_IN_QCOW2 = slice(24, 32)


def disk(serial: str) -> str:
    """The disk with that serial."""
    return f"disk-{serial}.qcow2"


def serial_socket(port: int) -> str:
    """A serial port, counted from 0: one may connect at a time."""
    return f"serial{port}.sock"


def serial_log(port: int) -> str:
    """All that a serial port ever said, whether or not somebody was connected."""
    return f"serial{port}.log"


def lan(nic: int) -> str:
    """Datagram socket of the server's end of a network cable; NICs are counted from 0."""
    return f"lan{nic}.sock"


def lan_peer(nic: int) -> str:
    """Datagram socket of the cable's other end: whoever binds it gets the server's frames."""
    return f"lan{nic}.peer"


@dataclass(frozen=True)
class Images:
    """What is on a new server's media, as raw or qcow2 images, which stay as they are.

    :ivar key: the internal USB key
    :ivar disks: by serial; a disk without one is blank
    :ivar hal_toml: what the host finds in /etc/hal/hal.toml.d before HAL starts
    """

    key: Path
    disks: Mapping[str, Optional[Path]]
    hal_toml: str = ""


def make(directory: Path, server: Server, images: Images) -> None:
    """A new server in a directory that is made, or is empty.

    :raise LabError: an image is missing, or belongs to no disk, or is larger than its disk
    """
    unknown = sorted(set(images.disks) - {disk.serial for disk in server.disks})
    if unknown:
        raise LabError(f"{server.name} has no disk with serial {unknown[0]!r}")
    _make(directory, server)
    (directory / HAL_TOML).write_text(images.hal_toml, "utf-8")
    renew(directory, server, images)


def renew(directory: Path, server: Server, images: Images) -> None:
    """Make the media of a server that is off as if it were new."""
    overlay(directory / KEY, images.key)
    for each in server.disks:
        overlay(directory / disk(each.serial), images.disks.get(each.serial), each.size_mib * _MIB)
    if server.firmware == "uefi":
        shutil.copyfile(installed.firmware().variables, directory / VARIABLES)


def media(server: Server) -> list[str]:
    """All that keeps what a server has written, over a power cut."""
    variables = [VARIABLES] if server.firmware == "uefi" else []
    return [KEY, *(disk(each.serial) for each in server.disks), *variables]


def continue_from(saved: Path, directory: Path, server: Server) -> None:
    """A server, in a directory that is made or empty, with the media of another, which must not change any more."""
    _make(directory, server)
    shutil.copyfile(saved / HAL_TOML, directory / HAL_TOML)
    for name in media(server):
        if name == VARIABLES:
            shutil.copyfile(saved / name, directory / name)
        else:
            overlay(directory / name, saved / name)


def overlay(path: Path, backing: Optional[Path], size: Optional[int] = None) -> None:
    """A qcow2 image that keeps only what differs from its backing image, or from zeros.

    :param size: bytes; without it, the backing image's own
    :raise LabError: the backing image is larger, or is not there
    """
    arguments = ["create", "-q", "-f", "qcow2"]
    if backing is not None:
        form, has = image(backing)
        if size is not None and has > size:
            raise LabError(f"{backing} has {has / _MIB:g} MiB: too much for {path.name}, which has {size / _MIB:g}")
        arguments += ["-b", str(backing.resolve()), "-F", form]
    programs.run("qemu-img", *arguments, path, *([str(size)] if size is not None else []))


def image(path: Path) -> tuple[str, int]:
    """An image's format, raw or qcow2, and the size in bytes of the disk that it is.

    :raise LabError: it cannot be read
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_SIZE_IN_QCOW2.stop)
            if head.startswith(_QCOW2):
                return "qcow2", int.from_bytes(head[_SIZE_IN_QCOW2], "big")
            return "raw", path.stat().st_size
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}") from None


def _make(directory: Path, server: Server) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise LabError(f"{directory} is not empty: a server needs a directory of its own")
    (directory / DESCRIPTION).write_text(server.toml, "utf-8")
