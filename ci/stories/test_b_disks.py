"""Disks and discs: what is done to the server's bays and its drive is done to the product's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lab.plugin import long, on
from lab.site import Site

_BLOCK = 2048  # bytes, of a disc


def disc(site: Site, name: str) -> Path:
    """A disc whose first bytes are its name."""
    image = site.server.directory / f"{name}.iso"
    image.write_bytes(name.encode().ljust(512 * _BLOCK, b"\0"))
    return image


def sees(site: Site, serial: str, seconds: float = 120.0) -> tuple[str, str]:
    """The product's name for a disk with that serial number, and its address, when it sees it."""
    found = f"f=$(grep -ls {serial} /sys/block/sd*/device/vpd_pg80)"
    where = site.product.ask(f"until {found}; do sleep 0.3; done; d=${{f%/vpd_pg80}}; readlink -f $d; echo $f", seconds)
    device, page = (line for line in where.splitlines() if line.startswith("/sys/"))  # its kernel may speak, too
    return page.split("/")[3], device.rpartition("/")[2].partition(":")[2]


def wait_until_gone(site: Site, name: str, seconds: float = 120.0) -> None:
    site.product.ask(f"while [ -e /sys/block/{name} ]; do sleep 0.3; done", seconds)


@on("one-u")
def test_disk_swap(running: Site) -> None:
    """A disk is pulled out of its bay and another one put in: the product has that in the place of the first."""
    first, second = running.blank("first", 8), running.blank("second", 8)
    running.server.insert_disk(0, first, "BAY-FIRST")
    name, address = sees(running, "BAY-FIRST")
    running.product.ask(f"echo written by the product | dd of=/dev/{name} conv=sync,fsync 2>/dev/null")
    assert first.read_bytes().startswith(b"written by the product\n")
    (disk,) = (one for one in running.host.udev()["disks"] if one["serial"] == "BAY-FIRST")
    assert disk["host"] not in running.host.run("cat", "/proc/mounts"), "the host keeps its hands off"

    running.server.pull_disk(0)
    wait_until_gone(running, name)
    running.server.insert_disk(0, second, "BAY-SECOND")
    name, new_address = sees(running, "BAY-SECOND")
    assert new_address == address, "the same bay is the same place"
    running.product.ask(f"echo and this | dd of=/dev/{name} conv=sync,fsync 2>/dev/null")
    assert second.read_bytes().startswith(b"and this\n")

    (told,) = (one for one in running.host.udev()["disks"] if one["serial"] == "BAY-SECOND")
    assert (told["state"], told["io_errors"]) == ("attached", 0)
    assert running.product.boots() == 1
    assert running.host.failed_units() == []
    assert running.host.denials() == []


@on("old-box")
def test_dvd(running: Site) -> None:
    """Discs come and go, by the drive's button and by the product's word, where QEMU has the real drive."""
    _discs(running)


@long
@on("old-box")  # a modern product of the lab's has no driver for AHCI, on which HAL's drive is
def test_dvd_without_host_cdrom(running: Site) -> None:
    """The same where QEMU knows no real drives, as on Enterprise Linux: the disc is passed on, and so is the tray."""
    running.host.configure('[vmm]\nqemu_like = "el9"\n')
    running.host.run("hal", "vmm", "stop", seconds=180)
    running.host.run("hal", "vmm", "apply", seconds=180)
    running.host.run("hal", "vmm", "start")
    running.product.wait_until_ready()
    assert "host_device" in running.host.run("cat", "/run/hal/plan.json")
    _discs(running)


def _discs(site: Site) -> None:
    boots = site.product.boots()
    look = "dd if=/dev/sr0 bs=2048 count=1 2>/dev/null | grep -q"

    def swap(name: str, eject: Callable[[], None]) -> None:
        site.server.insert_disc(disc(site, name))
        site.product.ask(f"until {look} {name}; do sleep 0.5; done", 120)
        eject()
        site.product.ask(f"while {look} {name}; do sleep 0.5; done", 120)

    def by_the_product() -> None:
        site.product.ask("eject /dev/sr0")
        site.server.take_disc(60)

    swap("DISC-ONE", site.server.eject_disc)  # by its button: a drive that is locked asks
    swap("DISC-TWO", by_the_product)
    swap("DISC-THREE", site.server.eject_disc)
    assert site.product.boots() == boots
    assert site.host.failed_units() == []
    assert site.host.denials() == []
