"""What a server is: read from sysfs, procfs and udev's database into a :class:`hal_core.machine.Machine`.

One module per subject, each a pure function of the files in a :class:`hal_core.facts.tree.Tree`. The same code reads
this server, a recorded one in a tar, and a recorded one unpacked.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hal_core.errors import FileFormatError, HostError
from hal_core.facts.tree import DirectoryStore, Store, Tree

if TYPE_CHECKING:
    from hal_core.machine import Machine

_WANTED = "--root takes a recorded machine: a tar file or a directory"
UNREADABLE = "/hal/unreadable"  # where a recording keeps the names of files that could not be read


def read(root: str = "/") -> Machine:
    """The machine whose root directory, or whose recording, is at ``root``.

    :param root: ``/``; or a recorded machine, as a tar (plain, gzip, bzip2, xz) or as a directory. The recording may
        be in one directory inside.
    :raise HostError: there is nothing at ``root``, or it cannot be read.
    :raise FileFormatError: not a recorded machine, or a damaged one.
    """
    return read_tree(open_tree(root), is_live(root))


def is_live(root: str) -> bool:
    """True if ``root`` is the root directory of this server, and no recording."""
    return os.path.realpath(root) == "/"


def read_tree(tree: Tree, live_host: bool = False) -> Machine:
    """The machine whose files these are.

    :param live_host: they are this server's own, so that /dev/kvm may be looked for.
    """
    # Only now: hal-netcfg and hal-udev read one subject, and would import all of them.
    from hal_core.facts import cpu, disks, dmi, firmware, live, memory, nics, numa, optical, pci, serial, usb
    from hal_core.machine import Machine

    return Machine(
        cpu=cpu.read(tree),
        nodes=numa.read(tree),
        memory=memory.read(tree),
        disks=disks.read(tree),
        optical=optical.read(tree),
        nics=nics.read(tree),
        serial=serial.read(tree),
        usb=usb.read(tree),
        pci=pci.read(tree),
        dmi=dmi.read(tree),
        firmware=firmware.read(tree),
        kvm=live.has_kvm() if live_host else None,
        unreadable=tuple(sorted({*tree.text(UNREADABLE).splitlines(), *tree.unreadable})),
    )


def open_tree(root: str) -> Tree:
    """The files at ``root``; raises as :func:`read` does."""
    if is_live(root):
        from hal_core.facts import live  # only now: see above

        return Tree(DirectoryStore("/"), {**live.permanent_addresses(), **live.lent_nics(), **live.usb_tokens()})
    try:
        if os.path.isdir(root):
            return Tree(_inside(root, DirectoryStore(root)))
        if os.path.exists(root) and not os.path.isfile(root):
            raise FileFormatError(f"{root}: neither a directory nor a plain file", _WANTED)
        from hal_core.facts import archive  # only now: it imports four kinds of compression

        return Tree(_inside(root, archive.read(root)))
    except OSError as error:
        raise HostError(f"{root}: {error.strerror or error}", _WANTED) from error


def _inside(root: str, store: Store) -> Store:
    """The recording itself, which may be in one directory inside the tar or the directory."""
    names = store.names("/") if store.kind("/") == "directory" else []
    if _is_recording(names):
        return store
    directories = [name for name in names if store.kind(f"/{name}") == "directory"]
    inner = store.inside(directories[0]) if len(directories) == 1 else None
    if inner is None or not _is_recording(inner.names("/")):
        raise FileFormatError(
            f"{root}: not a recorded machine: it has neither sys nor proc in it", "'hal record FILE' writes one"
        )
    return inner


def _is_recording(names: list[str]) -> bool:
    return "sys" in names or "proc" in names
