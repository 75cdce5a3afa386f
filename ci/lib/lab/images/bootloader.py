"""GRUB on a disk image: for UEFI, for BIOS, or for both on the same disk, without mounting it and without root.

Every core image carries all modules that it needs and one decision: go to the file system with a certain label, and do
what ``/boot/grub/grub.cfg`` there says.
"""

from __future__ import annotations

import shutil
import struct
import tempfile
from pathlib import Path

from factory import programs
from lab.errors import LabError
from lab.images.disk import SECTOR

#: Where UEFI looks on a disk that it has no boot entry for.
REMOVABLE_PATH = "EFI/BOOT/BOOTX64.EFI"
#: Where :func:`menu` belongs, in the file system with the label.
MENU_PATH = "boot/grub/grub.cfg"

_COMMON = (
    *("part_gpt", "part_msdos", "ext2", "search", "search_label", "normal", "configfile", "linux"),
    *("echo", "test", "serial", "terminal", "reboot", "halt", "ls", "cat", "sleep"),
)
_PLATFORMS = {
    # all_video: the kernel's console is then the firmware's picture, which it cannot switch on by itself.
    "x86_64-efi": (*_COMMON, "fat", "all_video", "efi_gop", "efi_uga", "chain"),
    "i386-pc": (*_COMMON, "biosdisk"),
}

# boot.img: what a disk has there stays (a FAT's parameters; disk id and partition table), what grub-bios-setup sets is
# set. Source: GRUB 2.06, include/grub/i386/pc/boot.h and util/setup.c.
_BOOT_CODE = ((0, 0x03), (0x5A, 0x1B8))
_KERNEL_SECTOR = 0x5C
_DRIVE_CHECK = 0x66
_NO_DRIVE_CHECK = (
    b"\x90\x90"  # "enable the workaround, which is for buggy BIOSes which don't pass boot drive correctly"
)
# diskboot.img, the first sector of the core image, ends with the list of the others: first one, number, segment.
_BLOCK_LIST = 0x1F4


def menu(kernel: str, initrd: str, append: str, *, serial: bool = False, timeout: int = 0, title: str = "Linux") -> str:
    """A grub.cfg that boots one kernel; paths are those in the file system that it is in.

    :param append: the kernel's command line
    :param serial: talk to COM1, too (115200)
    :param timeout: seconds in which another choice can be made; 0: none is offered
    """
    console = "serial --unit=0 --speed=115200\nterminal_input console serial\nterminal_output console serial\n"
    return f"""\
{console if serial else ""}set default=0
set timeout={timeout}
# The kernel goes on with the firmware's picture. A BIOS's text mode is better left alone: it can be read.
if [ "$grub_platform" = efi ]; then set gfxpayload=keep; fi
menuentry "{title}" {{
    echo "Loading {title} ..."
    linux {kernel} {append}
    initrd {initrd}
}}
"""


def mkimage() -> str:
    """The name of GRUB's program here: EL and Fedora call it grub2-mkimage."""
    return "grub2-mkimage" if shutil.which("grub2-mkimage") else "grub-mkimage"


def efi_image(label: str, output: Path) -> None:
    """GRUB as a UEFI program; on an EFI system partition, its place is :data:`REMOVABLE_PATH`.

    :param label: of the file system with the menu
    :raise LabError: GRUB for this platform is not installed
    """
    _make_image("x86_64-efi", label, output)


def install_bios(label: str, disk: Path, first_sector: int) -> None:
    """Make a disk bootable by a BIOS.

    :param label: of the file system with the menu
    :param disk: its image; its partition table stays as it is
    :param first_sector: of the room for GRUB's core image: a BIOS boot partition's, or 1, in front of an MBR's first
        partition. Whoever partitions the disk leaves 1 MiB there
    :raise LabError: GRUB for this platform is not installed
    """
    with tempfile.TemporaryDirectory() as directory:
        image = Path(directory, "core.img")
        _make_image("i386-pc", label, image)
        core = bytearray(image.read_bytes())
    struct.pack_into("<Q", core, _BLOCK_LIST, first_sector + 1)
    with disk.open("r+b") as file:
        sector = bytearray(file.read(SECTOR))
        boot = (_directory("i386-pc") / "boot.img").read_bytes()
        for begin, end in _BOOT_CODE:
            sector[begin:end] = boot[begin:end]
        struct.pack_into("<Q", sector, _KERNEL_SECTOR, first_sector)
        sector[_DRIVE_CHECK : _DRIVE_CHECK + 2] = _NO_DRIVE_CHECK
        sector[-2:] = boot[-2:]
        file.seek(0)
        file.write(sector)
        file.seek(first_sector * SECTOR)
        file.write(core)


def _make_image(platform: str, label: str, output: Path) -> None:
    home = _directory(platform)
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as early:
        early.write(f"search --no-floppy --label {label} --set=root\nset prefix=($root)/boot/grub\n")
        early.flush()
        programs.run(
            *(mkimage(), "-O", platform, "-d", home, "-p", "/boot/grub", "-c", early.name, "-o", output),
            *_PLATFORMS[platform],
        )


def _directory(platform: str) -> Path:
    home = Path("/usr/lib/grub", platform)
    if not home.exists():
        packages = {
            "i386-pc": "grub-pc-bin (Debian) or grub2-pc-modules",
            "x86_64-efi": "grub-efi-amd64-bin (Debian) or grub2-efi-x64-modules",
        }
        raise LabError(f"there is no {home}; install {packages[platform]}")
    return home
