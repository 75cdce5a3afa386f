"""QEMU's side of disks: which it has, how one is plugged in and pulled out. Their ids are ``disk`` and the slot.

Every command here may fail, and QEMU may have done it all the same: who calls looks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from typing import Any

from hal_core.errors import QmpError, QmpRefused, QmpTimeout
from hal_core.qmp import Session
from hal_udev.disks import difference
from hal_udev.disks.bays import Bay
from hal_udev.disks.difference import Found

# QEMU waits for what the disk still has to do before it lets go.
DEADLINE = 30.0
_LOOK_DEADLINE = 5.0  # others wait for the answer
_ID = re.compile("disk[0-9]+")


async def look(session: Session, coming: Mapping[str, int]) -> dict[str, Found]:
    """What QEMU has, by id; without the disks that are image files.

    :param coming: by id, sets of descriptors of the disks that are being plugged in just now; it may change meanwhile.
    :raise QmpError: it does not tell.
    """
    nodes: Any = await session.execute("query-named-block-nodes", {"flat": True}, _LOOK_DEADLINE)
    children: Any = await session.execute("qom-list", {"path": "/machine/peripheral"}, _LOOK_DEADLINE)
    sets: Any = await session.execute("query-fdsets", None, _LOOK_DEADLINE)
    devices = {str(child["name"]) for child in children}
    labels = {one["fdset-id"]: str(fd.get("opaque", "")) for one in sets for fd in one["fds"]}
    found = {}
    for node in nodes:
        id_, _, end = str(node.get("node-name", "")).partition("-")
        behind = re.fullmatch(r"/dev/fdset/([0-9]{1,10})", str(node.get("file", "")))
        if _ID.fullmatch(id_) and end == "file" and node.get("drv") == "host_device" and behind:
            fdset = int(behind[1])
            source = difference.number_of(fdset) or labels.get(fdset, "")
            found[id_] = Found(id_, source, fdset, id_ in devices)
    await _tidy(session, {one.fdset for one in found.values()}, coming, labels)
    return found


async def add(session: Session, bay: Bay, number: str, fd: int) -> None:
    """Plug in; the product is told by its controller.

    :param number: of the disk behind ``fd``. :raise QmpError: QEMU does not take it.
    """
    fdset = difference.fdset(number)
    try:
        await session.execute_with_fd("add-fd", {"fdset-id": fdset, "opaque": bay.host}, fd, DEADLINE)
        file = {**bay.blockdev["file"], "filename": f"/dev/fdset/{fdset}"}
        await session.execute("blockdev-add", {**bay.blockdev, "file": file}, DEADLINE)
    finally:
        # QEMU has a copy of its own by now, or never will: the set's would keep the disk open for ever.
        with contextlib.suppress(QmpError):
            await session.execute("remove-fd", {"fdset-id": fdset}, _LOOK_DEADLINE)
    await announce(session, bay)


async def announce(session: Session, bay: Bay) -> None:
    """Tell the product of a disk that QEMU has already. :raise QmpError: QEMU does not."""
    await session.execute("device_add", bay.device, DEADLINE)


async def read(session: Session) -> set[str]:
    """Ids of the disks that the product has read from, or written to, since they were plugged in.

    :raise QmpError: QEMU does not tell.
    """
    stats: Any = await session.execute("query-blockstats", None, _LOOK_DEADLINE)
    # "If the field is absent it means that there haven't been any operations yet": QAPI, BlockDeviceStats.
    return {str(one.get("qdev")) for one in stats if "idle_time_ns" in one["stats"]}


async def withdraw(session: Session, id_: str, deleted: asyncio.Event) -> None:
    """Take a disk from the product; QEMU keeps it.

    :param deleted: set at QEMU's word (DEVICE_DELETED) that it has let go of it.
    :raise QmpError: it does not.
    """
    try:
        await session.execute("device_del", {"id": id_}, DEADLINE)
        await asyncio.wait_for(deleted.wait(), DEADLINE)
    except asyncio.TimeoutError:
        raise QmpTimeout(f"QEMU has not let go of {id_} within {DEADLINE:g} s") from None
    except QmpRefused as refused:
        if refused.error_class != "DeviceNotFound":
            raise


async def remove(session: Session, found: Found, deleted: asyncio.Event) -> None:
    """Pull out.

    :param deleted: as for :func:`withdraw`. :raise QmpError: QEMU does not let go of it.
    """
    if found.device:
        await withdraw(session, found.id, deleted)
    # After that: the set's label is what tells which disk it was, should the product not let go of it.
    with contextlib.suppress(QmpRefused):  # ours have none any more
        await session.execute("remove-fd", {"fdset-id": found.fdset}, DEADLINE)
    await session.execute("blockdev-del", {"node-name": f"{found.id}-node"}, DEADLINE)


async def _tidy(session: Session, used: set[int], coming: Mapping[str, int], labels: dict[int, str]) -> None:
    """A set of ours that no disk has: of a resident that was killed, or of a product that was paused meanwhile.

    (QEMU closes what is removed only while the product runs: monitor/fds.c.)
    """
    for fdset in labels:
        if fdset >= difference.FIRST_FDSET and fdset not in used and fdset not in coming.values():
            with contextlib.suppress(QmpRefused):
                await session.execute("remove-fd", {"fdset-id": fdset}, DEADLINE)
