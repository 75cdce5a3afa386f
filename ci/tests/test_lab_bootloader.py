"""GRUB on disk images: the menu, and what is written where."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from lab.images import bootloader, disk
from lab.images.disk import MIB, SECTOR, Partition


def test_a_menu_boots_at_once_and_leaves_serial_ports_alone() -> None:
    text = bootloader.menu("/boot/vmlinuz", "/boot/initrd", "root=LABEL=x quiet", title="HAL")
    assert "linux /boot/vmlinuz root=LABEL=x quiet\n" in text
    assert "initrd /boot/initrd\n" in text
    assert "set timeout=0\n" in text
    assert "serial" not in text


def test_a_menu_can_use_the_serial_port() -> None:
    text = bootloader.menu("/k", "/i", "", serial=True, timeout=5)
    assert "terminal_output console serial\n" in text
    assert "set timeout=5\n" in text


@pytest.mark.component
@pytest.mark.parametrize("scheme", ["gpt", "mbr"])
def test_a_disk_is_made_bootable_around_its_partition_table(tmp_path: Path, scheme: str) -> None:
    image = tmp_path / "disk.img"
    parts = [Partition("room", "bios-boot")] if scheme == "gpt" else []
    starts = disk.assemble(image, scheme, [*parts, Partition("root", "linux", size_mib=2)])
    room = starts[0] if scheme == "gpt" else 1
    before = image.read_bytes()
    bootloader.install_bios("root", image, room)
    after = image.read_bytes()

    assert after[:3] != before[:3]
    assert after[0x1B8:0x200] == before[0x1B8:0x200]
    assert struct.unpack_from("<Q", after, 0x5C) == (room,)
    core = after[room * SECTOR : room * SECTOR + MIB // 2]
    first, sectors, segment = struct.unpack_from("<QHH", core, 0x1F4)
    assert (first, segment) == (room + 1, 0x820)
    assert 20 * 1024 < sectors * SECTOR < MIB - SECTOR
    if scheme == "gpt":  # its tables are between the two
        assert after[SECTOR : room * SECTOR] == before[SECTOR : room * SECTOR]
    assert after[(room + 1 + sectors) * SECTOR :] == before[(room + 1 + sectors) * SECTOR :]


@pytest.mark.component
def test_the_uefi_image_is_a_program(tmp_path: Path) -> None:
    bootloader.efi_image("root", tmp_path / "grub.efi")
    image = (tmp_path / "grub.efi").read_bytes()
    assert image[:2] == b"MZ"
    assert b"search --no-floppy --label root --set=root" in image
