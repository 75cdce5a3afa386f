"""Which disks HAL itself runs from.

Every disk from which a file system is mounted, or memory is swapped to, is HAL's own: the host mounts nothing of the
product's, and a file system that two kernels write to is lost. Whether it is mounted on ``/``, ``/boot/efi``, ``/var``
or elsewhere makes no difference. Optical drives are no disks, and may hold a mounted disc.

From the mounted device the way leads down through device-mapper, md and loop devices to whole disks. If it ends nowhere
(an overlay, ZFS), ``root=`` on the kernel's command line is tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from hal_core.facts import udevdb
from hal_core.facts.tree import Tree

_BLOCK = "/sys/class/block"
# What root= may begin with (Linux' init/do_mounts.c, dracut.cmdline(7)) and udev's word for it.
_TAGS = {
    "UUID": "ID_FS_UUID",
    "LABEL": "ID_FS_LABEL",
    "PARTUUID": "ID_PART_ENTRY_UUID",
    "PARTLABEL": "ID_PART_ENTRY_NAME",
}
_LINKS = {f"/dev/disk/by-{tag.lower()}/": tag for tag in _TAGS}


def find(tree: Tree, disks: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """The names of HAL's own disks.

    :param disks: every whole disk with the names of its partitions.
    """
    owner = {part: disk for disk, parts in disks.items() for part in parts}
    owner.update((disk, disk) for disk in disks)
    own = _disks_below(tree, [*_mounted(tree), *_swaps(tree)], owner)
    return own or _disks_below(tree, _from_command_line(tree, owner), owner)


def _disks_below(tree: Tree, names: Iterable[str], owner: Mapping[str, str]) -> frozenset[str]:
    found = set()
    seen: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in owner:
            found.add(owner[name])
        else:
            directory = f"{_BLOCK}/{name.replace('/', '!')}"
            left += [slave.replace("!", "/") for slave in tree.names(f"{directory}/slaves")]
    return frozenset(found)


def _mounted(tree: Tree) -> Iterator[str]:
    """The block devices that are mounted, by the kernel's names.

    mountinfo has their numbers. A file system with a number of its own (btrfs: 0:35) has the device's path only, and so
    has /proc/mounts, which is all that some recordings hold.
    """
    lines = tree.text("/proc/self/mountinfo").splitlines()
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, source = left.split(), right.split()
        if len(fields) > 2 and len(source) > 1:
            yield _by_number(tree, fields[2]) or _by_path(tree, source[1])
    if not lines:
        for line in tree.text("/proc/mounts").splitlines():
            yield _by_path(tree, line.partition(" ")[0])


def _swaps(tree: Tree) -> Iterator[str]:
    for line in tree.text("/proc/swaps").splitlines()[1:]:
        fields = line.split()
        if len(fields) > 1 and fields[1] == "partition":
            yield _by_path(tree, fields[0])


def _from_command_line(tree: Tree, owner: Iterable[str]) -> Iterator[str]:
    root = root_argument(tree.text("/proc/cmdline"))
    tag, _, value = root.partition("=")
    for directory, its_tag in _LINKS.items():
        if root.startswith(directory):
            tag, value = its_tag, root[len(directory) :]
    if tag not in _TAGS:
        yield _by_path(tree, root)
        return
    wanted = value.strip('"').lower()
    for name in (*owner, *tree.names(_BLOCK, "dm-")):
        properties = udevdb.block(tree, f"{_BLOCK}/{name.replace('/', '!')}")
        if wanted and properties.get(_TAGS[tag], "").lower() == wanted:
            yield name


def root_argument(command_line: str) -> str:
    """The value of the last ``root=``; ``""`` if there is none."""
    found = re.findall(r"(?:^|\s)root=(\S+)", command_line)
    return found[-1] if found else ""


def _by_number(tree: Tree, number: str) -> str:
    """``8:1`` is a link to ``…/block/sda/sda1``; ``""`` if sysfs knows no such block device."""
    return tree.link(f"/sys/dev/block/{number}").replace("!", "/")


def _by_path(tree: Tree, path: str) -> str:
    """``/dev/sda1``, ``/dev/mapper/vg-root`` or a link of udev's; ``""`` for what is no device path."""
    if not path.startswith("/dev/"):
        return ""
    name = _unescape(path)[len("/dev/") :]
    if name.startswith("mapper/"):
        mapped = name[len("mapper/") :]
        for device in tree.names(_BLOCK, "dm-"):
            if tree.line(f"{_BLOCK}/{device}/dm/name") == mapped:
                return device
    return name


def _unescape(path: str) -> str:
    r"""/proc/mounts writes a space as ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)
