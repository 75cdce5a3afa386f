"""The initramfs: its archive's format, and what is in it."""

from __future__ import annotations

import gzip
import stat
import subprocess
from pathlib import Path

import pytest

from lab.images import initramfs
from lab.images.kernel import Kernel


def entries(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and content by path: what Linux reads (init/initramfs.c)."""
    found: dict[str, tuple[int, bytes]] = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        at += (110 + name_size + 3) & ~3
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, archive[at : at + size])
        at += (size + 3) & ~3


def test_an_archive_has_files_after_their_directories(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("echo")
    script.chmod(0o755)
    archive = initramfs.archive({"usr/share/deep/x.txt": b"12345", "opt/script": script, "usr/sbin/run": b""})
    found = entries(archive)
    assert stat.S_ISDIR(found["usr/share/deep"][0])
    assert list(found) == sorted(found)
    assert found["usr/share/deep/x.txt"] == (stat.S_IFREG | 0o644, b"12345")
    assert found["opt/script"] == (stat.S_IFREG | 0o755, b"echo")
    assert found["usr/sbin/run"][0] == stat.S_IFREG | 0o755
    assert found["tmp"][0] == stat.S_IFDIR | 0o1777


def test_an_initramfs_loads_its_modules_and_then_does_what_it_is_for(tmp_path: Path) -> None:
    modules = tmp_path / "6.1"
    modules.mkdir()
    (modules / "modules.dep").write_text("a-b.ko: c.ko\nc.ko:\n")
    for name in ("modules.builtin", "modules.softdep", "modules.alias"):
        (modules / name).write_text("")
    for name in ("a-b.ko", "c.ko"):
        (modules / name).write_text(name)
    output = tmp_path / "initrd.gz"
    kernel = Kernel("6.1", tmp_path / "vmlinuz", modules)
    for _ in range(2):
        before = output.read_bytes() if output.exists() else None
        initramfs.build(kernel, ["a_b"], output, {"bin/busybox": b"not a real one"}, "exec sh\n")
    assert output.read_bytes() == before
    found = entries(gzip.decompress(output.read_bytes()))
    assert found["etc/modules"][1] == b"c.ko\na-b.ko\n"
    assert found["lib/modules/a-b.ko"][1] == b"a-b.ko"
    mode, init = found["init"]
    assert mode == stat.S_IFREG | 0o755
    assert init.startswith(b"#!/bin/busybox sh\n")
    assert init.endswith(b"exec sh\n")


@pytest.mark.parametrize("script", [initramfs.SWITCH_ROOT, "exec sh\n"])
def test_busybox_understands_init(script: str, tmp_path: Path) -> None:
    init = tmp_path / "init"
    init.write_text(initramfs.BEGIN + script)
    shell = [str(initramfs.busybox()), "sh"] if Path("/bin/busybox").exists() else ["sh"]
    subprocess.run([*shell, "-n", str(init)], check=True)
