"""Reading a server's files: links stay inside the recording, missing files are normal, damaged tars are one line."""

from __future__ import annotations

import errno
import io
import os
import tarfile
from pathlib import Path
from typing import Optional

import pytest

from hal_core import facts, record
from hal_core.errors import FileFormatError, HostError
from hal_core.facts import archive
from hal_core.facts.tree import DirectoryStore, Tree
from hal_core.testing import synthetic


def test_links_are_followed_inside_the_root(tmp_path: Path) -> None:
    root = tmp_path / "recording"
    (root / "sys/devices/pci/sda").mkdir(parents=True)
    (root / "sys/devices/pci/sda/size").write_text("42\n")
    (root / "sys/block").mkdir()
    (root / "sys/block/sda").symlink_to("../devices/pci/sda")
    (root / "sys/block/absolute").symlink_to("/sys/devices/pci/sda")
    (root / "sys/block/chain").symlink_to("absolute")
    tree = Tree(DirectoryStore(str(root)))
    for name in ("sda", "absolute", "chain"):
        assert tree.integer(f"/sys/block/{name}/size") == 42
        assert tree.resolve(f"/sys/block/{name}/size") == "/sys/devices/pci/sda/size"


@pytest.mark.parametrize("target", ["../../../secret", "/secret", "../secret", "../../../../../../../../secret"])
def test_no_link_leads_out_of_the_root(tmp_path: Path, target: str) -> None:
    (tmp_path / "secret").write_text("outside\n")
    root = tmp_path / "recording"
    (root / "sys/class").mkdir(parents=True)
    (root / "sys/class/link").symlink_to(target)
    (root / "sys/outside").symlink_to("../..")
    tree = Tree(DirectoryStore(str(root)))
    assert tree.data("/sys/class/link") is None
    assert tree.data("/sys/outside/secret") is None
    (root / "secret").write_text("inside\n")
    inside = Tree(DirectoryStore(str(root)))
    assert inside.line("/sys/outside/secret") == "inside"


def test_loops_fifos_and_directories_are_missing_files(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "dir").mkdir()
    os.mkfifo(tmp_path / "fifo")
    tree = Tree(DirectoryStore(str(tmp_path)))
    for name in ("a", "a/x", "self", "dir", "missing", "missing/below", "fifo"):
        assert tree.line(f"/{name}") == ""
    assert tree.names("/a") == []
    assert tree.unreadable == []


class _Refusing(DirectoryStore):
    """A store whose files answer with an error of the kernel's."""

    def __init__(self, root: str, number: int) -> None:
        super().__init__(root)
        self._number = number

    def data(self, path: str) -> bytes:
        raise OSError(self._number, os.strerror(self._number), path)

    def names(self, path: str) -> list[str]:
        raise OSError(self._number, os.strerror(self._number), path)


@pytest.mark.parametrize(
    ("number", "told"),
    [(errno.EACCES, True), (errno.EPERM, True), (errno.EINVAL, False), (errno.EIO, False), (errno.ENODEV, False)],
)
def test_only_a_denied_permission_is_told(tmp_path: Path, number: int, told: bool) -> None:
    tree = Tree(_Refusing(str(tmp_path), number))
    assert tree.data("/sys/class/dmi/id/product_serial") is None
    assert tree.data("/sys/class/dmi/id/product_serial") is None
    assert tree.names("/proc/net/vlan") == []
    assert tree.unreadable == (["/sys/class/dmi/id/product_serial", "/proc/net/vlan"] if told else [])


def test_lines_are_stripped_and_printable(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"  ST9\x1b[2J 300\0\xff  \nsecond line\n")
    assert Tree(DirectoryStore(str(tmp_path))).line("/model") == "ST9[2J 300�"


def _tar(members: list[tuple[str, Optional[bytes], str]]) -> bytes:
    """A tar of (name, content, link target); content None makes a link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content, target in members:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type = tarfile.SYMTYPE
                member.linkname = target
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"])
def test_every_kind_of_tar_and_the_directory_give_the_same_machine(tmp_path: Path, suffix: str) -> None:
    machine = synthetic.machine(packages=1, cores=2, disks=2, nics=1, hal_disk=True)
    synthetic.write_tree(str(tmp_path / "tree"), machine)
    path = str(tmp_path / f"server{suffix}")
    record.record(path, str(tmp_path / "tree"))
    assert facts.read(path) == machine
    os.rename(path, tmp_path / "name-says-nothing")
    assert facts.read(str(tmp_path / "name-says-nothing")) == machine
    (tmp_path / "unpacked").mkdir()
    os.rename(tmp_path / "tree", tmp_path / "unpacked/inside")
    assert facts.read(str(tmp_path / "unpacked")) == machine


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_a_tar_cut_short_is_one_line_wherever_it_was_cut(tmp_path: Path, suffix: str) -> None:
    synthetic.write_tree(str(tmp_path / "tree"), synthetic.machine(packages=1, cores=1, disks=1, nics=0))
    path = tmp_path / f"server{suffix}"
    record.record(str(path), str(tmp_path / "tree"))
    whole = path.read_bytes()
    used = len(whole.rstrip(b"\0")) if suffix == ".tar" else len(whole) - 1
    for length in {1, 5, 100, 511, 512, 513, 1024, used // 3, used // 2, used - 512, used - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError) as caught:
            facts.read(str(path))
        assert "\n" not in str(caught.value)
        assert str(path) in caught.value.message


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz"])
def test_a_tar_with_flipped_bits_is_one_line(tmp_path: Path, suffix: str) -> None:
    synthetic.write_tree(str(tmp_path / "tree"), synthetic.machine(packages=1, cores=1, disks=1, nics=0))
    path = tmp_path / f"server{suffix}"
    record.record(str(path), str(tmp_path / "tree"))
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(bytes(whole))
    with pytest.raises(FileFormatError):
        facts.read(str(path))


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "sys/../../up", "sys/.."])
def test_a_member_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "evil.tar"
    path.write_bytes(_tar([("sys/x", b"1", ""), (name, b"1", "")]))
    with pytest.raises(FileFormatError, match="leads out"):
        facts.read(str(path))


def test_links_in_a_tar_stay_inside_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("outside")
    path = tmp_path / "links.tar"
    outside = str(tmp_path / "secret")
    path.write_bytes(_tar([("top/proc/meminfo", None, outside), ("top/sys/class/dmi", None, "../../../../../hal")]))
    tree = facts.open_tree(str(path))
    assert tree.data("/proc/meminfo") is None
    assert tree.resolve("/sys/class/dmi") == "/hal"


def test_hard_links_have_the_content_of_their_first_name(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        first = tarfile.TarInfo("sys/first")
        first.size = 3
        tar.addfile(first, io.BytesIO(b"42\n"))
        second = tarfile.TarInfo("sys/second")
        second.type = tarfile.LNKTYPE
        second.linkname = "sys/first"
        tar.addfile(second)
    path = tmp_path / "hard.tar"
    path.write_bytes(buffer.getvalue())
    assert facts.open_tree(str(path)).integer("/sys/second") == 42


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_BYTES", 100_000)
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(record._PACKERS[".tar.gz"](_tar([("sys/zeros", bytes(200_000), "")])))
    with pytest.raises(FileFormatError, match="larger than"):
        facts.read(str(path))


@pytest.mark.parametrize("content", [b"", b"hello", b"BZh9nonsense", b"\x1f\x8b", bytes(10240), b"x" * 2000])
def test_what_is_no_recording_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(FileFormatError):
        facts.read(str(path))


def test_a_directory_that_is_no_recording_and_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileFormatError, match="neither sys nor proc"):
        facts.read(str(tmp_path / "empty"))
    (tmp_path / "two/a").mkdir(parents=True)
    (tmp_path / "two/b").mkdir()
    with pytest.raises(FileFormatError, match="neither sys nor proc"):
        facts.read(str(tmp_path / "two"))
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(FileFormatError, match="neither a directory nor"):
        facts.read(str(tmp_path / "fifo"))
    with pytest.raises(HostError, match="No such file"):
        facts.read(str(tmp_path / "missing"))
