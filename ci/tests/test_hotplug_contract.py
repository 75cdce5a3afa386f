"""The contract of hal-vmm, which plans disks and drives, with hal-udev, which exchanges them: a real QEMU takes it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal_core.machine import Optical
from hal_core.qmp import Session
from hal_core.testing import synthetic
from hal_udev.disks import bays, difference, qemu
from hal_udev.disks.present import Present
from hal_udev.dvd import drives
from hal_udev.plan import planfile, product
from hal_vmm.config import DevicesConfig, VmmConfig
from hal_vmm.launch import hotplug
from hal_vmm.plan import guest
from hal_vmm.qemu import flavour_builtin

BINARY = shutil.which("qemu-system-x86_64") or ""
DRIVE = Optical("sr0", "DVD", "Acme", "D1", "pci-0000:00:1f.2-ata-6", "sata")


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """With a plan of hal-vmm's, for Enterprise Linux's QEMU."""
    flavour = flavour_builtin.assume("el9")
    machine = dataclasses.replace(synthetic.machine(disks=3, hal_disk=True), optical=(DRIVE,))
    planned = guest.plan(machine, VmmConfig(), flavour)
    told = {**planned.to_json(), "hotplug": hotplug.to_json(planned, flavour)}
    Path(planfile.path(str(tmp_path))).write_text(json.dumps(told))
    return tmp_path


def test_hal_udev_reads_what_hal_vmm_writes(run_dir: Path) -> None:
    known = bays.read(str(run_dir))
    assert known
    assert known.hot_swap
    assert [bay.id for bay in known.bays] == ["disk0", "disk1", "disk2"]
    ((drive),) = drives.read(str(run_dir))
    assert (drive.id, drive.host, drive.node) == ("dvd0", "/dev/sr0", "dvd0-medium")
    assert product.read(str(run_dir)).buses


@pytest.mark.parametrize(("era", "disks"), [("modern", 3), ("pre-virtio", 9), ("ide", 9)])
def test_a_plan_is_about_the_very_disks_that_it_was_made_of(tmp_path: Path, era: str, disks: int) -> None:
    """Or hal-udev would ask for another one for ever. Those that stay with the host, or have no place, are in it."""
    machine = synthetic.machine(disks=disks, hal_disk=True)
    kept, stick = machine.disks[-1].name, dataclasses.replace(synthetic.usb_key(1), name="sdy")
    machine = dataclasses.replace(machine, disks=(*machine.disks, stick))
    flavour = flavour_builtin.assume("el9")
    planned = guest.plan(machine, VmmConfig(era=era, devices=DevicesConfig(keep_disks=(kept,))), flavour)
    told = {**planned.to_json(), "hotplug": hotplug.to_json(planned, flavour)}
    Path(planfile.path(str(tmp_path))).write_text(json.dumps(told))
    known = bays.read(str(tmp_path))
    assert known
    here = [Present(disk, f"8:{16 * index}") for index, disk in enumerate(machine.disks)]
    assert difference.out_of_date(known, here) == ""
    assert difference.out_of_date(known, here[1:]) or here[0].disk.hal_device


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[str]:
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    done = subprocess.run(["losetup", "--find", "--show", image], check=True, capture_output=True, text=True)
    yield done.stdout.strip()
    subprocess.run(["losetup", "--detach", done.stdout.strip()], check=True)


@pytest.mark.component
@pytest.mark.skipif(not BINARY or os.getuid() != 0, reason="needs QEMU, and root for a loop device")
def test_a_qemu_takes_the_disk_as_it_was_planned(run_dir: Path, loop_device: str) -> None:
    argv = [BINARY, "-machine", "q35,accel=tcg", "-nodefaults", "-no-user-config", "-display", "none", "-m", "16", "-S"]
    argv += ["-device", "virtio-scsi-pci,id=scsi0", "-qmp", f"unix:{run_dir / 'qmp'},server=on,wait=off"]

    async def story() -> dict[str, object]:
        session = Session(str(run_dir / "qmp"), "udev")
        known = bays.read(str(run_dir))
        assert known
        await asyncio.wait_for(session.reconnect(longest_pause=0.1), 60)
        fd = os.open(loop_device, os.O_RDWR | os.O_EXCL)
        try:
            await qemu.add(session, known.bays[1], "7:0", fd)
        finally:
            os.close(fd)
        assert set(await qemu.look(session, {})) == {"disk1"}
        ask = ("serial", "wwn", "scsi-id", "bootindex")
        path = "/machine/peripheral/disk1"
        found = {name: await session.execute("qom-get", {"path": path, "property": name}) for name in ask}
        await session.close()
        return found

    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as process:
        try:
            found = asyncio.run(story())
        finally:
            process.terminate()
    assert found["serial"] == "6XP00001"
    assert found["wwn"] == 0x5000C50000000001
    assert (found["scsi-id"], found["bootindex"]) == (1, 1)
