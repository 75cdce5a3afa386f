"""QEMU's side of DVD drives, always by the drive's ``id``: its name for what is in it changes with every disc."""

from __future__ import annotations

import contextlib
from typing import Any

from hal_core.errors import HostError, QmpError, QmpRefused
from hal_core.qmp import Session
from hal_udev.dvd.decision import Virtual
from hal_udev.dvd.drives import Drive

DEADLINE = 30.0
# Ours among QEMU's sets of descriptors; see also hal_udev.disks.difference.
FIRST_FDSET = 900_000_000


async def look(session: Session, id_: str) -> Virtual:
    """:raise HostError: this product has no such drive. :raise QmpError: QEMU does not tell."""
    blocks: Any = await session.execute("query-block", None, DEADLINE)
    for block in blocks:
        if block.get("qdev") in (id_, f"/machine/peripheral/{id_}"):
            return Virtual("inserted" in block, bool(block.get("tray_open")))
    raise HostError(f"the product has no drive {id_}: it gets it at its next start")


async def insert(session: Session, drive: Drive, fd: int) -> None:
    """Put a disc in, and close the tray. :raise QmpError: QEMU does not."""
    fdset = FIRST_FDSET + int(drive.id[len("dvd") :])
    await _open_tray(session, drive.id)
    await _forget(session, drive)  # what a resident that was killed has left
    with contextlib.suppress(QmpRefused):
        await session.execute("remove-fd", {"fdset-id": fdset}, DEADLINE)
    await session.execute_with_fd("add-fd", {"fdset-id": fdset, "opaque": drive.host}, fd, DEADLINE)
    medium: Any = drive.medium
    try:
        file = {**medium["file"], "filename": f"/dev/fdset/{fdset}"}
        await session.execute("blockdev-add", {**medium, "file": file}, DEADLINE)
    finally:
        # QEMU has a copy of its own by now, or never will: the set's would keep the drive open, and its tray shut.
        with contextlib.suppress(QmpError):
            await session.execute("remove-fd", {"fdset-id": fdset}, DEADLINE)
    await session.execute("blockdev-insert-medium", {"id": drive.id, "node-name": drive.node}, DEADLINE)
    await close_tray(session, drive.id)


async def take(session: Session, drive: Drive) -> None:
    """Take the disc out; the tray stays open. :raise QmpError: QEMU does not."""
    await _open_tray(session, drive.id)
    with contextlib.suppress(QmpRefused):  # a descriptor that a paused QEMU has kept
        await session.execute("remove-fd", {"fdset-id": FIRST_FDSET + int(drive.id[len("dvd") :])}, DEADLINE)
    await session.execute("blockdev-remove-medium", {"id": drive.id}, DEADLINE)
    await _forget(session, drive)


async def ask_to_eject(session: Session, id_: str) -> None:
    """As its button does: a drive that the product has locked asks the product; any other opens at once.

    :raise QmpError: QEMU does not.
    """
    await session.execute("blockdev-open-tray", {"id": id_}, DEADLINE)


async def open_tray(session: Session, id_: str) -> None:
    """:raise QmpError: QEMU does not."""
    await _open_tray(session, id_)


async def close_tray(session: Session, id_: str) -> None:
    """:raise QmpError: QEMU does not."""
    await session.execute("blockdev-close-tray", {"id": id_}, DEADLINE)


async def _open_tray(session: Session, id_: str) -> None:
    """Whoever has locked it: there is nothing in it, or what was in it is gone."""
    await session.execute("blockdev-open-tray", {"id": id_, "force": True}, DEADLINE)


async def _forget(session: Session, drive: Drive) -> None:
    try:
        await session.execute("blockdev-del", {"node-name": drive.node}, DEADLINE)
    except QmpRefused as refused:
        if "Failed to find node" not in str(refused):
            raise
