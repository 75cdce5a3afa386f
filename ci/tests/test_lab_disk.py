"""Disk images: partitions where they belong, content in them, holes kept."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from factory import programs
from lab.errors import LabError
from lab.images import disk
from lab.images.disk import MIB, SECTOR, Partition


def blob(path: Path, size: int, content: bytes = b"") -> Path:
    with path.open("wb") as file:
        file.truncate(size)
        file.write(content)
    return path


def test_a_partition_is_as_large_as_its_content_in_whole_mib(tmp_path: Path) -> None:
    content = blob(tmp_path / "content", MIB + 1)
    assert Partition("x", "linux", content).sectors == 2 * MIB // SECTOR
    assert Partition("x", "linux", content, size_mib=5).sectors == 5 * MIB // SECTOR
    assert Partition("x", "bios-boot").sectors == MIB // SECTOR


@pytest.mark.parametrize(
    ("scheme", "kind", "message"),
    [
        ("apm", "linux", "there are gpt and mbr"),
        ("mbr", "bios-boot", "there are linux, esp"),
        ("gpt", "swap", "there are linux, esp, bios-boot"),
    ],
)
def test_what_is_allowed_is_said(tmp_path: Path, scheme: str, kind: str, message: str) -> None:
    with pytest.raises(LabError, match=message):
        disk.assemble(tmp_path / "d.img", scheme, [Partition("x", kind)])


def test_too_small_a_disk_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"d\.img: 10 MiB are too small a disk; these partitions need 12"):
        disk.assemble(tmp_path / "d.img", "gpt", [Partition("x", "linux", size_mib=10)], size_mib=10)


def test_content_is_put_without_its_holes(tmp_path: Path) -> None:
    source = blob(tmp_path / "source", 8 * MIB)
    with source.open("r+b") as file:
        file.seek(4 * MIB)
        file.write(b"data")
    target = blob(tmp_path / "target", 20 * MIB)
    disk.put(source, target, 10 * MIB)
    assert target.stat().st_blocks * 512 < MIB
    with target.open("rb") as file:
        file.seek(14 * MIB)
        assert file.read(5) == b"data\0"


def test_a_hole_at_the_end_is_no_error(tmp_path: Path) -> None:
    target = blob(tmp_path / "target", MIB)
    disk.put(blob(tmp_path / "source", MIB, b"x"), target, 0)
    assert target.read_bytes() == b"x" + bytes(MIB - 1)


@pytest.mark.component
@pytest.mark.parametrize("scheme", ["gpt", "mbr"])
def test_a_disk_has_its_partitions(tmp_path: Path, scheme: str) -> None:
    content = blob(tmp_path / "content", 3 * MIB, b"here")
    parts = [Partition("lab-esp", "esp", size_mib=2), Partition("lab-root", "linux", content, bootable=scheme == "mbr")]
    image = tmp_path / "d.img"
    starts = disk.assemble(image, scheme, parts, size_mib=16)
    assert starts == [2048, 2048 + 4096]
    table = json.loads(programs.run("sfdisk", "--json", image))["partitiontable"]
    assert [(part["start"], part["size"]) for part in table["partitions"]] == [(2048, 4096), (6144, 6144)]
    if scheme == "gpt":
        assert [part["name"] for part in table["partitions"]] == ["lab-esp", "lab-root"]
    assert image.stat().st_size == 16 * MIB
    with image.open("rb") as file:
        file.seek(starts[1] * SECTOR)
        assert file.read(4) == b"here"
    again = tmp_path / "again.img"
    disk.assemble(again, scheme, parts, size_mib=16)
    assert again.read_bytes() == image.read_bytes()


@pytest.mark.component
def test_content_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    content = blob(tmp_path / "content", 3 * MIB)
    with pytest.raises(LabError, match="content is larger than partition x"):
        disk.assemble(tmp_path / "d.img", "gpt", [Partition("x", "linux", content, size_mib=1)])


@pytest.mark.component
def test_file_systems_have_labels_and_content(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "hello").write_text("hello")
    attributes = hasattr(os, "setxattr") and os.getuid() == 0
    if attributes:
        for path in (root, root / "etc" / "hello"):
            os.setxattr(path, "security.selinux", b"system_u:object_r:etc_t:s0\0")
    disk.ext4(root, tmp_path / "ext4", 8, "lab-root")
    assert programs.run("blkid", "-p", "-o", "value", "-s", "LABEL", tmp_path / "ext4") == "lab-root\n"
    assert programs.run("debugfs", "-R", "cat /etc/hello", tmp_path / "ext4") == "hello"
    if attributes:
        for name in ("/", "/etc/hello"):
            assert "etc_t" in programs.run("debugfs", "-R", f"ea_list {name}", tmp_path / "ext4")

    disk.fat({"EFI/BOOT/A.EFI": root / "etc" / "hello", "TAG": b"tag"}, tmp_path / "fat", 4, "LAB-ESP")
    assert programs.run("mtype", "-i", tmp_path / "fat", "::EFI/BOOT/A.EFI") == "hello"
    assert programs.run("mtype", "-i", tmp_path / "fat", "::TAG") == "tag"
