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
    await _open_tray(session, drive.id)
    await let_go(session, drive)  # what a resident that was killed has left
    medium: Any = drive.medium
    arguments = {"fdset-id": _fdset(drive), "opaque": drive.host}
    file = {**medium["file"], "filename": f"/dev/fdset/{_fdset(drive)}"}
    try:
        await session.execute_with_fd("add-fd", arguments, fd, DEADLINE)
        await session.execute("blockdev-add", {**medium, "file": file}, DEADLINE)
        await _remove_fd(session, drive)  # QEMU has a copy of its own by now
        await session.execute("blockdev-insert-medium", {"id": drive.id, "node-name": drive.node}, DEADLINE)
    except QmpError:
        # A disc that is half put in would keep the drive open, and its tray shut.
        with contextlib.suppress(QmpError):
            await let_go(session, drive)
        raise
    await close_tray(session, drive.id)


async def take(session: Session, drive: Drive) -> None:
    """Take the disc out; the tray stays open. :raise QmpError: QEMU does not."""
    await _open_tray(session, drive.id)
    await session.execute("blockdev-remove-medium", {"id": drive.id}, DEADLINE)
    await let_go(session, drive)


async def let_go(session: Session, drive: Drive) -> None:
    """See to it that QEMU does not have the real drive open, which has no disc in the product's drive any more.

    :raise QmpError: it does.
    """
    await _remove_fd(session, drive)  # a paused QEMU keeps one
    try:
        await session.execute("blockdev-del", {"node-name": drive.node}, DEADLINE)
    except QmpRefused as refused:
        if "Failed to find node" not in str(refused):
            raise


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


async def _remove_fd(session: Session, drive: Drive) -> None:
    with contextlib.suppress(QmpRefused):  # there is none
        await session.execute("remove-fd", {"fdset-id": _fdset(drive)}, DEADLINE)


def _fdset(drive: Drive) -> int:
    return FIRST_FDSET + int(drive.id[len("dvd") :])
