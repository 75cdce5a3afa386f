"""What hal-udev has to know to change a disk while the product runs: in the words of QMP.

Part of ``/run/hal/plan.json``, under ``hotplug``: see :mod:`hal_vmm.plan.planjson`. A disk that is plugged in later has
the very properties that it will have when the product is started anew, because both come from the same function.
"""

from __future__ import annotations

from typing import Any, Optional

from hal_vmm.launch import buses
from hal_vmm.plan.diskplan import DiskPlan, OpticalPlan
from hal_vmm.plan.guestplan import GuestPlan
from hal_vmm.qemu.flavour import Flavour


def to_json(plan: GuestPlan, flavour: Flavour) -> dict[str, Any]:
    return {
        "hot_swap": plan.profile.disk_bus == "scsi",
        "disks": [_disk(disk, flavour) for disk in plan.disks if disk.kind == "block"],
        "drives": [_drive(drive) for drive in plan.optical],
    }


def _disk(disk: DiskPlan, flavour: Flavour) -> dict[str, Any]:
    return {
        "id": f"disk{disk.slot}",
        "slot": disk.slot,
        "host": disk.host,
        "identity": disk.identity,
        "read_only": disk.read_only,
        "blockdev": buses.disk_node(disk, "", flavour),
        "device": _device(disk),
    }


def _drive(drive: OpticalPlan) -> dict[str, Any]:
    """Where QEMU has no ``host_cdrom``, a disc is a disk that can only be read, put into an empty drive."""
    name = f"dvd{drive.slot}"
    file = {"driver": "host_device", "node-name": f"{name}-medium-file", "filename": "", "read-only": True}
    medium = {"driver": "raw", "node-name": f"{name}-medium", "read-only": True, "file": file}
    return {"id": name, "host": drive.host, "medium": None if drive.driver else medium}


def _device(disk: DiskPlan) -> Optional[dict[str, object]]:
    """None where QEMU cannot: the buses of ide-hd take no new device while the product runs (hw/ide/qdev.c)."""
    if disk.bus != "scsi":
        return None
    kind, properties = buses.disk_device(disk)
    # QMP wants a number where the command line takes either.
    wwn = int(disk.wwn, 16) if disk.wwn else None
    return {"driver": kind, **{key: value for key, value in {**properties, "wwn": wwn}.items() if value is not None}}
