"""QEMU's side: which devices of ours it has, how one is plugged in and pulled out. Ids of ours begin with ``usb-``.

Every command here may fail, and QEMU may have done it all the same: who calls looks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Any, Optional, cast

from hal_core.errors import HostError, QmpError, QmpRefused
from hal_core.qmp import Session
from hal_udev.plan.difference import Found
from hal_udev.plan.ports import Place
from hal_udev.plan.usbplan import AFTER_FDSETS, FIRST_FDSET, Planned

PREFIX = "usb-"
_PERIPHERAL = "/machine/peripheral"
_AT_ONCE = 16  # questions without an answer
# QEMU asks the device for its strings before it answers, and a slow device takes seconds.
DEADLINE = 10.0


async def look(session: Session) -> dict[str, Found]:
    """What QEMU has of ours, by id.

    :raise QmpError: it does not tell.
    """
    listed: Any = await session.execute("qom-list", {"path": _PERIPHERAL}, DEADLINE)
    ids = [str(child["name"]) for child in listed if str(child["name"]).startswith(PREFIX)]
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(id_: str) -> Optional[Found]:
        async with gate:
            return await look_at(session, id_)

    found = await asyncio.gather(*(one(id_) for id_ in ids))
    return {id_: device for id_, device in zip(ids, found) if device}


async def look_at(session: Session, id_: str) -> Optional[Found]:
    """One of them; None if it is not there (any more).

    :raise QmpError: QEMU does not tell.
    """
    try:
        attached = await _get(session, id_, "attached")
        bus = str(await _get(session, id_, "parent_bus"))
        port = str(await _get(session, id_, "port"))
        source = str(await _get(session, id_, "hostdevice"))
    except QmpRefused as refused:
        if refused.error_class == "DeviceNotFound":
            return None
        return Found(0, False, None)  # it is no usb-host: not ours, though it is called so
    match = re.fullmatch(r"/dev/fdset/([0-9]{1,18})", source)
    place = Place(bus.rpartition("/")[2], int(port)) if port.isascii() and port.isdecimal() else None
    return Found(int(match[1]) if match else 0, attached is True, place)


async def add(session: Session, planned: Planned, fd: int) -> None:
    """Plug in: QEMU gets the open device, and has it when this returns.

    :raise HostError: it says that it has, but has not. :raise QmpError: it does not take it.
    """
    place = cast(Place, planned.place)  # only what has one is plugged in
    await session.execute_with_fd("add-fd", {"fdset-id": planned.fdset, "opaque": planned.id}, fd, DEADLINE)
    try:
        arguments = {
            "driver": "usb-host",
            "id": planned.id,
            "hostdevice": f"/dev/fdset/{planned.fdset}",
            "bus": place.bus,
            "port": str(place.port),
        }
        await session.execute("device_add", arguments, DEADLINE)
    finally:
        # QEMU has a copy of its own by now, or never will: the set's would keep the device open for ever.
        with contextlib.suppress(QmpError):
            await session.execute("remove-fd", {"fdset-id": planned.fdset}, DEADLINE)
    if await _get(session, planned.id, "attached") is not True:
        raise HostError("QEMU has taken it, but does not show it to the product")


async def remove(session: Session, id_: str) -> None:
    """Pull out; for a USB device QEMU does that at once.

    :raise QmpError: it does not.
    """
    try:
        await session.execute("device_del", {"id": id_}, DEADLINE)
    except QmpRefused as refused:
        if refused.error_class != "DeviceNotFound":
            raise


async def tidy(session: Session) -> None:
    """Close what nobody needs: what a resident that was killed has left, and what was removed while the product stood
    still, as it does when everything is plugged in before it starts. A QEMU whose guest does not run closes nothing
    (its monitor/fds.c).

    Not while anything is being plugged in: its set would be closed, too.

    :raise QmpError: QEMU does not.
    """
    sets: Any = await session.execute("query-fdsets", None, DEADLINE)
    for one in sets:
        if FIRST_FDSET <= one["fdset-id"] < AFTER_FDSETS and one["fds"]:
            with contextlib.suppress(QmpRefused):
                await session.execute("remove-fd", {"fdset-id": one["fdset-id"]}, DEADLINE)


async def _get(session: Session, id_: str, name: str) -> object:
    return await session.execute("qom-get", {"path": f"{_PERIPHERAL}/{id_}", "property": name}, DEADLINE)
