"""Disk images out of parts: file systems made from directories, and a partition table around them.

Plain files only: no loop device, nothing mounted. Files stay sparse. Identifiers are derived from names: the same parts
have the same ones every time.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

from factory import programs
from lab.errors import LabError

SECTOR = 512  # bytes
MIB = 1 << 20
_ALIGNMENT = MIB // SECTOR

_TYPES = {
    "gpt": {
        "linux": "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
        "esp": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        "bios-boot": "21686148-6449-6E6F-744E-656564454649",
    },
    "mbr": {"linux": "83", "esp": "ef"},
}
_NAMESPACE = uuid.UUID("6f1f3a0e-6f0c-5a9c-9a4b-2f0d5d1c4e11")
# What every GRUB and every kernel of the last fifteen years can read, whatever this machine's mke2fs would add.
_EXT4 = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,"
    "huge_file,dir_nlink,extra_isize"
)


@dataclass(frozen=True)
class Partition:
    """A part of a disk.

    :ivar name: its PARTLABEL; with an MBR, which has no names, for people only
    :ivar type: linux, esp or, with a GPT, bios-boot
    :ivar content: an image of what is in it; None: nothing
    :ivar size_mib: in MiB; None: as large as its content
    :ivar bootable: with an MBR, the partition that some BIOSes want to see marked
    """

    name: str
    type: str
    content: Optional[Path] = None
    size_mib: Optional[int] = None
    bootable: bool = False

    @property
    def sectors(self) -> int:
        mib = self.size_mib
        if mib is None:
            mib = -(-self.content.stat().st_size // MIB) if self.content else 1
        return mib * MIB // SECTOR


def ext4(root: Path, output: Path, size_mib: int, label: str) -> None:
    """An ext4 file system with the content of a directory: owners, permissions and extended attributes as there.

    :param size_mib: in MiB
    :raise ProgramFailed: the content is too much for it
    """
    _blank(output, size_mib)
    identity = str(uuid.uuid5(_NAMESPACE, f"ext4 {label}"))
    options = f"hash_seed={identity},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    make = ("mkfs.ext4", "-q", "-F", "-t", "ext4", "-O", _EXT4, "-b", "4096", "-I", "256", "-m", "0")
    programs.run(*make, "-L", label, "-U", identity, "-E", options, "-d", root, output)


def fat(files: Mapping[str, Union[Path, bytes]], output: Path, size_mib: int, label: str) -> None:
    """A FAT file system, such as an EFI system partition.

    :param files: by their path without a leading slash
    :param size_mib: in MiB
    :param label: at most eleven characters
    :raise ProgramFailed: the content is too much for it
    """
    _blank(output, size_mib)
    volume = uuid.uuid5(_NAMESPACE, f"fat {label}").hex[:8]
    programs.run("mkfs.vfat", "--invariant", "-i", volume, "-n", label, output)
    with tempfile.TemporaryDirectory() as directory:
        for path, content in files.items():
            place = Path(directory, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        programs.run("mcopy", "-s", "-Q", "-i", output, *sorted(Path(directory).iterdir()), "::")


def assemble(output: Path, scheme: str, partitions: Sequence[Partition], size_mib: Optional[int] = None) -> list[int]:
    """A disk with these partitions, one after the other, each at a whole MiB.

    :param scheme: gpt or mbr
    :param size_mib: of the whole disk, in MiB; None: as large as it has to be
    :return: the first sector of each partition
    :raise LabError: no such scheme, no such type in it, or too small a disk or partition
    """
    table, starts, end = _table(output.name, scheme, partitions)
    # A GPT has a copy of itself at the end.
    needed = -(-end * SECTOR // MIB) + (1 if scheme == "gpt" else 0)
    if size_mib is not None and size_mib < needed:
        raise LabError(f"{output.name}: {size_mib} MiB are too small a disk; these partitions need {needed}")
    _blank(output, needed if size_mib is None else size_mib)
    with tempfile.NamedTemporaryFile("w", suffix=".sfdisk") as script:
        script.write(table)
        script.flush()
        programs.run("sfdisk", "--quiet", "--no-reread", output, standard_input=Path(script.name))
    for partition, start in zip(partitions, starts):
        if partition.content:
            if partition.content.stat().st_size > partition.sectors * SECTOR:
                raise LabError(f"{output.name}: {partition.content.name} is larger than partition {partition.name}")
            put(partition.content, output, start * SECTOR)
    return starts


def _table(name: str, scheme: str, partitions: Sequence[Partition]) -> tuple[str, list[int], int]:
    """The script for sfdisk, the first sector of each partition, and the first one after all."""
    if scheme not in _TYPES:
        raise LabError(f"{name}: no partition table is called {scheme}; there are {' and '.join(_TYPES)}")
    identity = uuid.uuid5(_NAMESPACE, " ".join([scheme, *(partition.name for partition in partitions)]))
    label_id = str(identity) if scheme == "gpt" else f"0x{identity.hex[:8]}"
    lines = [f"label: {'dos' if scheme == 'mbr' else 'gpt'}", f"label-id: {label_id}", "unit: sectors"]
    starts, start = [], _ALIGNMENT
    for partition in partitions:
        if partition.type not in _TYPES[scheme]:
            known = ", ".join(_TYPES[scheme])
            raise LabError(f"{name}: in a {scheme} no partition has the type {partition.type}; there are {known}")
        line = f"start={start}, size={partition.sectors}, type={_TYPES[scheme][partition.type]}"
        if scheme == "gpt":
            line += f', name="{partition.name}", uuid={uuid.uuid5(identity, partition.name)}'
        lines.append(line + (", bootable" if partition.bootable else ""))
        starts.append(start)
        start += partition.sectors
    return "\n".join([*lines, ""]), starts, start


def put(content: Path, output: Path, offset: int) -> None:
    """Copy a file to a place in another one, but not its holes.

    :param offset: in bytes
    """
    with content.open("rb") as source, output.open("r+b") as target:
        end = source.seek(0, os.SEEK_END)
        position = 0
        while position < end:
            try:
                position = os.lseek(source.fileno(), position, os.SEEK_DATA)
            except OSError:  # ENXIO: nothing but a hole up to the end
                return
            hole = os.lseek(source.fileno(), position, os.SEEK_HOLE)
            source.seek(position)
            target.seek(offset + position)
            while position < hole:
                piece = source.read(min(hole - position, MIB))
                target.write(piece)
                position += len(piece)


def _blank(output: Path, size_mib: int) -> None:
    output.unlink(missing_ok=True)
    with output.open("wb") as file:
        file.truncate(size_mib * MIB)
