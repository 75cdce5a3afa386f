"""Disks and discs: what is done to the server's bays and its drive is done to the product's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lab.images import disk
from lab.plugin import long, on
from lab.site import Site

_BLOCK = 2048  # bytes, of a disc


def disc(site: Site, name: str) -> Path:
    """A disc whose first bytes are its name."""
    image = site.server.directory / f"{name}.iso"
    image.write_bytes(name.encode().ljust(512 * _BLOCK, b"\0"))
    return image


def formatted(site: Site, name: str) -> Path:
    """A disk with a file system, which any host that is not told otherwise finds at once; and a file on it."""
    content, image = site.server.directory / "content", site.server.directory / f"{name}.img"
    content.mkdir()
    (content / "greeting").write_text("from outside\n")
    disk.ext4(content, image, 8, "BAY-DATA")
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
    first, second = formatted(running, "first"), running.blank("second", 8)
    running.server.insert_disk(0, first, "BAY-FIRST")
    name, address = sees(running, "BAY-FIRST")
    assert "from outside" in running.product.ask(f"mount /dev/{name} /mnt && cat /mnt/greeting && umount /mnt")
    # In front of the file system, which leaves room for a boot loader.
    running.product.ask(f"echo written by the product | dd of=/dev/{name} conv=sync,fsync 2>/dev/null")
    assert first.read_bytes().startswith(b"written by the product\n")
    node = running.host.wait_for_disk("BAY-FIRST", "attached")["host"]
    known = running.host.run("udevadm", "info", "--query=property", f"--name={node}").splitlines()
    assert "HAL_PRODUCT_DISK=1" in known
    assert [line for line in known if line.startswith("ID_FS_")] == [], "the host has read the product's disk"
    assert node not in running.host.run("cat", "/proc/mounts")

    running.server.pull_disk(0)
    wait_until_gone(running, name)
    running.server.insert_disk(0, second, "BAY-SECOND")
    name, new_address = sees(running, "BAY-SECOND")
    assert new_address == address, "the same bay is the same place"
    running.product.ask(f"echo and this | dd of=/dev/{name} conv=sync,fsync 2>/dev/null")
    assert second.read_bytes().startswith(b"and this\n")

    assert running.host.wait_for_disk("BAY-SECOND", "attached")["io_errors"] == 0
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
    polling = "/sys/block/sr0/events_poll_msecs"

    def swap(name: str, eject: Callable[[], None]) -> None:
        site.server.insert_disc(disc(site, name))
        site.product.ask(f"until {look} {name}; do sleep 0.5; done", 120)
        eject()
        site.product.ask(f"while {look} {name}; do sleep 0.5; done", 120)

    def by_the_button_of_a_locked_drive() -> None:
        # The product writes down what a udev would hear; it listens when it has heard the first thing.
        site.product.ask(
            "uevent env >/run/heard & until [ -s /run/heard ]; do echo change >/sys/block/sr0/uevent; sleep 0.3; done"
        )
        site.product.ask(f"exec 5</dev/sr0; echo 500 >{polling}")  # a drive that somebody has open is locked
        site.server.wait_until_drive_is_locked()
        site.server.press_drive_button()
        site.product.ask("until grep -q DISK_EJECT_REQUEST=1 /run/heard; do sleep 0.5; done", 120)
        assert "still there" in site.product.ask(f"{look} DISC-ONE && echo still there")
        site.product.ask(f"kill $!; echo -1 >{polling}; exec 5<&-")
        site.server.eject_disc(60)

    def by_the_product() -> None:
        site.product.ask("eject /dev/sr0")
        site.server.take_disc(60)

    swap("DISC-ONE", by_the_button_of_a_locked_drive)
    swap("DISC-TWO", by_the_product)
    swap("DISC-THREE", site.server.eject_disc)
    assert site.product.boots() == boots
    assert site.host.failed_units() == []
    assert site.host.denials() == []
