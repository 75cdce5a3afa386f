"""A disk that is plugged in while the product runs is the same one that it will be after the product's next start."""

from __future__ import annotations

import dataclasses
import json

import pytest

from hal_core.machine import Optical
from hal_core.testing import synthetic
from hal_vmm import config
from hal_vmm.config import VmmConfig
from hal_vmm.launch import hotplug
from hal_vmm.launch.commandline import Site, compile_plan
from hal_vmm.plan import guest
from hal_vmm.qemu import flavour_builtin

FLAVOUR = flavour_builtin.assume("el9")
SITE = Site("/run/hal", vhost=False)


@pytest.mark.parametrize("era", ["modern", "pre-virtio", "ide"])
def test_qmps_words_are_those_of_the_command_line(era: str) -> None:
    planned = guest.plan(synthetic.machine(disks=3), VmmConfig(era=era), FLAVOUR)
    words = compile_plan(planned, FLAVOUR, SITE).argv
    nodes = [json.loads(word) for option, word in zip(words, words[1:]) if option == "-blockdev"]
    devices = [word.split(",") for option, word in zip(words, words[1:]) if option == "-device"]
    told = hotplug.to_json(planned, FLAVOUR)
    assert len(told["disks"]) == 3
    assert told["hot_swap"] is (era == "modern")
    for disk, bay in zip(planned.disks, told["disks"]):
        assert (bay["id"], bay["host"], bay["identity"]) == (f"disk{disk.slot}", disk.host, disk.identity)
        ((node),) = [node for node in nodes if node["node-name"] == f"disk{disk.slot}-node"]
        node["file"]["filename"] = ""
        assert bay["blockdev"] == node
        if era != "modern":
            assert bay["device"] is None  # ide-hd
            continue
        kind, *properties = next(device for device in devices if f"id=disk{disk.slot}" in device)
        bay["device"]["wwn"] = f"{bay['device']['wwn']:#x}"
        assert bay["device"].pop("driver") == kind
        assert sorted(f"{key}={value}" for key, value in bay["device"].items()) == sorted(properties)


DRIVE = Optical("sr0", "DVD", "Acme", "D1", "pci-0000:00:1f.2-ata-6", "sata")


@pytest.mark.parametrize(("name", "real"), [("debian12", True), ("el9", False)])
def test_a_disc_is_put_in_by_hal_udev_where_qemu_knows_no_real_drives(name: str, real: bool) -> None:
    flavour = flavour_builtin.assume(name)
    machine = dataclasses.replace(synthetic.machine(disks=1), optical=(DRIVE,))
    ((drive),) = hotplug.to_json(guest.plan(machine, VmmConfig(), flavour), flavour)["drives"]
    assert (drive["id"], drive["host"]) == ("dvd0", "/dev/sr0")
    assert (drive["medium"] is None) is real
    if not real:
        assert drive["medium"]["read-only"]
        assert drive["medium"]["file"]["driver"] == "host_device"


def test_a_qemu_can_be_taken_for_a_poorer_one() -> None:
    rich, poor = flavour_builtin.assume("debian12"), flavour_builtin.assume("el9")
    limited = rich.limited_to(poor)
    assert "host_cdrom" in rich.block_drivers
    assert "host_cdrom" not in limited.block_drivers
    assert limited.machines == rich.machines
    assert limited.binary == rich.binary


def test_the_names_in_hal_toml_are_those_of_the_qemus() -> None:
    assert tuple(flavour_builtin.FLAVOURS) == config.FLAVOURS
