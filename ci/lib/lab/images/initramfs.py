"""An initramfs: busybox, some modules, and what is to be done after they have been loaded.

The archive is written here, entry by entry: the same content gives the same bytes, and nothing has to be laid out on a
disk first.
"""

from __future__ import annotations

import gzip
import posixpath
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Union

from lab.errors import LabError
from lab.images import kernel as kernels
from lab.images.kernel import Kernel

Content = Union[Path, bytes]

_HERE = Path(__file__).parent
#: What every init of ours does first.
BEGIN = (_HERE / "init-modules.sh").read_text()

#: Mount the root file system that the kernel's command line names, and go on with its own init.
SWITCH_ROOT = (_HERE / "init-switch-root.sh").read_text()

_DIRECTORIES = (
    "bin",
    "dev",
    "etc",
    "lib/modules",
    "proc",
    "run",
    "sbin",
    "sys",
    "sysroot",
    "tmp",
    "usr/sbin",
    "var/run",
)


def build(
    kernel: Kernel, modules: Iterable[str], output: Path, extra: Mapping[str, Content] = {}, script: str = SWITCH_ROOT
) -> None:
    """Write an initramfs.

    :param modules: names of what is loaded, in this order, each after what it needs
    :param extra: further files by their path without a leading slash; a file's own permissions are kept, bytes are
        made executable in directories of programs. bin/busybox, a static one, is this machine's unless it is given
    :param script: for busybox's sh; what happens when the modules have been loaded. It has to end with an ``exec``
    :raise LabError: the kernel lacks a module, or there is no busybox here
    """
    files: dict[str, Content] = {"bin/busybox": busybox()} if "bin/busybox" not in extra else {}
    names = []
    for path in kernels.closure(kernel, modules):
        names.append(f"{kernels.plain_name(path)}.ko")
        files[f"lib/modules/{names[-1]}"] = kernels.plain(path)
    files["etc/modules"] = "".join(f"{name}\n" for name in names).encode()
    files["init"] = (BEGIN + script).encode()
    files.update(extra)
    # Hardly compressed: under emulation, what it would save in reading it costs in unpacking.
    output.write_bytes(gzip.compress(archive(files), compresslevel=1, mtime=0))


def busybox() -> Path:
    """This machine's static busybox.

    :raise LabError: there is none
    """
    for path in (Path("/bin/busybox"), Path("/usr/sbin/busybox")):
        if path.exists():
            return path
    raise LabError("there is no busybox here; install busybox-static (Debian) or busybox (EPEL)")


def archive(files: Mapping[str, Content]) -> bytes:
    """A cpio archive of these files and their directories, all root's and from 1970: kernel's initramfs buffer format.

    Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
    """
    entries: dict[str, tuple[int, bytes]] = {}
    for path, content in files.items():
        mode, data = _entry(path, content)
        entries[path] = (stat.S_IFREG | mode, data)
    for path in (*_DIRECTORIES, *(posixpath.dirname(path) for path in files)):
        while path:
            entries[path] = (stat.S_IFDIR | (0o1777 if path == "tmp" else 0o755), b"")
            path = posixpath.dirname(path)
    # Sorted: a directory comes before what is in it.
    parts = [_newc(number, path, *entries[path]) for number, path in enumerate(sorted(entries), 1)]
    return b"".join([*parts, _newc(0, "TRAILER!!!", 0, b"")])


def _entry(path: str, content: Content) -> tuple[int, bytes]:
    if isinstance(content, Path):
        return stat.S_IMODE(content.stat().st_mode), content.read_bytes()
    runs = path == "init" or posixpath.basename(posixpath.dirname(path)) in ("bin", "sbin")
    return 0o755 if runs else 0o644, content


def _newc(inode: int, path: str, mode: int, data: bytes) -> bytes:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    numbers = (inode, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name), 0)
    return _padded(b"070701" + b"".join(b"%08X" % number for number in numbers) + name) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
