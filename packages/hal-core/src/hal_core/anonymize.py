"""Taking out of a recording whatever tells one server from its twins; what facts make of the rest stays the same.

Three steps: files that hold more than facts use are *reduced* to what they use; the secrets are *found*, each where it
is known to be; and all of them are *replaced* everywhere, in contents, names and link targets
(:mod:`hal_core.disguise`). Names that people gave (labels, volume groups) are replaced only where such a name can
stand: a volume may be called "root", or "DELL".
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from hal_core.disguise import MAC, UUID, Disguise
from hal_core.facts import blockdev, dmi, hal_device, udevdb


@dataclass(frozen=True)
class Recording:
    """The content of a recorded machine, by absolute path."""

    files: dict[str, bytes]
    links: dict[str, str]
    directories: tuple[str, ...]


def anonymize(recording: Recording, key: Optional[bytes] = None) -> Recording:
    """The same machine without its serial numbers, asset tags, MACs, WWNs, UUIDs, labels and volume names.

    :param key: for tests; otherwise random, and forgotten, so that nobody can undo it.
    """
    files = {path: _reduced(path, content) for path, content in recording.files.items()}
    disguise = Disguise(key or secrets.token_bytes(32))
    paths = "\n".join([*files, *recording.links, *recording.links.values(), *recording.directories])
    found = {secret for path, content in files.items() for secret in _secrets(path, content)}
    found.update(_in_names(paths))
    disguise.learn(sorted(found))
    return Recording(
        files={disguise.text(path): _replaced(disguise, path, content) for path, content in files.items()},
        links={disguise.text(path): disguise.text(target) for path, target in recording.links.items()},
        directories=tuple(disguise.text(path) for path in recording.directories),
    )


# Numbers that are only numbers. A serial number that happens to be equal to one of them is no reason to change it.
_NO_SECRETS = re.compile(
    "/proc/(cpuinfo|meminfo|consoles|tty/.*)|/sys/devices/system/.*|/sys/kernel/.*"
    "|.*/(size|dev|ifindex|mtu|speed|carrier|type|irq|port|numa_node|class|vendor|device|idVendor|idProduct)"
    "|.*/queue/.*"
)
# Files that hold one secret and nothing else.
_WHOLE = re.compile(rf"/sys/.*/(serial|vpd_pg80)|.*/id/({'|'.join(dmi.IDENTITIES)})|.*/dm/name")
_SERIALS = frozenset({"ID_SCSI_SERIAL", "ID_SERIAL_SHORT", "SCSI_IDENT_SERIAL"})
_GIVEN_NAMES = frozenset({"ID_FS_LABEL", "ID_FS_UUID", "ID_PART_ENTRY_NAME", "ID_PART_ENTRY_UUID"})
# Where such names stand in mounts, swaps and on the command line: after "/dev/mapper/", "/dev/disk/by-label/" and
# "LABEL=", and in "/dev/GROUP/VOLUME"; "/dev/cciss/c0d0p1" is the kernel's own name.
_NAMED_DEVICE = re.compile(
    r"((?:UUID|LABEL|PARTUUID|PARTLABEL)=|/dev/mapper/|/dev/disk/by-[a-z]+/|/dev/(?!mapper/|disk/|cciss/|ida/)(?=[^/\s]+/))"
    r"(\S+)"
)


def _replaced(disguise: Disguise, path: str, content: bytes) -> bytes:
    # Latin-1 leads every byte there and back: a VPD page is not text.
    text = content.decode("latin-1")
    if _WHOLE.fullmatch(path):
        value = _value(path, content)
        header = blockdev.PAGE_HEADER if path.endswith("/vpd_pg80") else 0
        # A field is replaced as a whole, even where it is too short to be looked for elsewhere.
        replaced = text[header:].replace(value, disguise.whole(value)) if value else text[header:]
        return (text[:header] + replaced).encode("latin-1")
    if _NO_SECRETS.fullmatch(path):
        return content
    if path.startswith(udevdb.DIRECTORY):
        return "".join(_replaced_property(disguise, line) for line in text.splitlines()).encode("latin-1")
    if path.startswith("/proc/"):
        return _replaced_devices(disguise, text).encode("latin-1")
    return disguise.text(text).encode("latin-1")


def _replaced_property(disguise: Disguise, line: str) -> str:
    key, _, value = line.partition("=")
    whole = key[2:] in _SERIALS or key[2:] in _GIVEN_NAMES
    return f"{key}={disguise.whole(value) if whole else disguise.text(value)}\n"


def _replaced_devices(disguise: Disguise, text: str) -> str:
    replaced = []
    end = 0
    for match in _NAMED_DEVICE.finditer(text):
        name = "/".join(map(disguise.whole, match[2].split("/")))
        replaced += [disguise.text(text[end : match.start()]), match[1], name]
        end = match.end()
    return "".join([*replaced, disguise.text(text[end:])])


def _value(path: str, content: bytes) -> str:
    if path.endswith("/vpd_pg80"):
        return blockdev.page80(content)
    return content.decode("latin-1").strip("\0\n ")


def _secrets(path: str, content: bytes) -> Iterator[str]:
    """What identifies the server in one file."""
    text = content.decode("latin-1")
    if _WHOLE.fullmatch(path):
        yield _value(path, content)
    elif path.endswith("/wwid"):
        yield from _in_wwn(text.strip())
    elif path.startswith(udevdb.DIRECTORY):
        yield from _in_properties(udevdb.properties(text))
    if not _NO_SECRETS.fullmatch(path):
        yield from _in_names(text)


def _in_properties(properties: dict[str, str]) -> Iterator[str]:
    for key, value in properties.items():
        if key in _SERIALS:
            yield value
        elif key in ("ID_WWN", "ID_WWN_WITH_EXTENSION"):
            yield from _in_wwn(value)
        elif key == "ID_PATH":
            # Fibre Channel and SAS name the far end, iSCSI its address and name: "ip-192.0.2.1:3260-iscsi-iqn.…-lun-0".
            yield from re.findall("0x([0-9a-f]{16})", value)
            yield from re.findall(r"ip-(.+?):[0-9]+-iscsi-(?:.+)-lun", value)
            yield from re.findall("-iscsi-(.+)-lun", value)


def _in_wwn(text: str) -> Iterator[str]:
    """``0x5000c500…``, ``naa.5000c500…``, ``eui.0025…``; ``nvme.8086-SERIAL-MODEL-00000001`` has the serial in hex."""
    if text.startswith("nvme."):
        yield from text.split("-")[1:2]
    else:
        yield re.sub("^(0x|[a-z]+[.])", "", text)


def _in_names(text: str) -> Iterator[str]:
    """What is known by its form alone, wherever it stands: MACs, UUIDs, and MACs in the names of NICs."""
    for mac in (
        *MAC.findall(text),
        *(":".join(re.findall("..", mac)) for mac in re.findall("enx([0-9a-f]{12})", text)),
    ):
        if mac.lower() not in ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"):
            yield mac
    yield from UUID.findall(text)


def _reduced(path: str, content: bytes) -> bytes:
    """Only those lines of a file, and parts of lines, that facts use."""
    text = content.decode("latin-1")
    if path.startswith(udevdb.DIRECTORY):
        lines = [line for line in text.splitlines() if line[:2] == "E:" and line[2:].partition("=")[0] in udevdb.KEYS]
    elif path == "/proc/cmdline":
        root = hal_device.root_argument(text)
        lines = [f"root={root}"] if root else []
    elif path == "/proc/self/mountinfo":
        lines = [line for line in map(_reduced_mount, text.splitlines()) if line]
    elif path in ("/proc/mounts", "/proc/self/mounts"):
        lines = [f"{line.split()[0]} /mounted" for line in text.splitlines() if line.startswith("/dev/")]
    elif path == "/proc/swaps":
        lines = [
            line for line in text.splitlines() if line.startswith("Filename") or re.match(r"/dev/\S+\s+part", line)
        ]
    elif path.startswith(("/proc/net/bonding/", "/proc/self/net/bonding/")):
        lines = [line for line in text.splitlines() if line.startswith(("Slave Interface", "Permanent HW addr"))]
    elif path.endswith("/wwid") and text.startswith("t10."):
        lines = ["t10."]  # vendor, model and serial number run together; facts do not use it
    else:
        return content
    return "".join(f"{line}\n" for line in lines).encode("latin-1")


def _reduced_mount(line: str) -> str:
    """Which device is mounted, without where and how: those name customers and servers."""
    left, _, right = line.partition(" - ")
    fields, source = left.split(), right.split()
    if len(fields) < 3 or len(source) < 2 or not (source[1].startswith("/dev/") or not fields[2].startswith("0:")):
        return ""
    device = source[1] if source[1].startswith("/dev/") else "none"
    return f"0 0 {fields[2]} / /mounted rw - {source[0]} {device} rw"
