"""A file is replaced whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NoReturn

import pytest

from hal_core import atomic


def test_write_makes_the_directory_the_content_and_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "a/b/file"
    old_mask = os.umask(0o077)
    try:
        atomic.write(str(path), "tëxt\n", mode=0o640)
    finally:
        os.umask(old_mask)
    assert path.read_text() == "tëxt\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    atomic.write(str(path), b"\xff", mode=0o600)
    assert path.read_bytes() == b"\xff"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["file"]


def test_a_reader_never_sees_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write is made of many small ones, and in between the old file is still there."""
    path = tmp_path / "file"
    path.write_text("old")
    seen = []
    real_write = os.write

    def small_write(fd: int, data: memoryview) -> int:
        seen.append(path.read_text())
        return real_write(fd, data[:10])

    monkeypatch.setattr(os, "write", small_write)
    atomic.write(str(path), "n" * 100)
    assert seen == ["old"] * 10
    assert path.read_text() == "n" * 100


@pytest.mark.parametrize("function", ["write", "fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(*_: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OSError, match="No space left"):
        atomic.write(str(path), "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_file_is_on_the_disk_before_its_name_and_the_name_before_we_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(fd: int) -> None:
        steps.append("fsync directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "fsync file")
        real_fsync(fd)

    def replace(source: str, target: str) -> None:
        steps.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    atomic.write(str(tmp_path / "file"), "new")
    assert steps == ["fsync file", "rename", "fsync directory"]


def test_remove(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    atomic.remove(str(tmp_path / "file"))
    atomic.remove(str(tmp_path / "file"))
    assert os.listdir(tmp_path) == []
    with pytest.raises(OSError, match=r"directory|permitted"):
        atomic.remove(str(tmp_path))
