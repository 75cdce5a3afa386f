"""Discs: what is done to the server's drive is done to the product's."""

from __future__ import annotations

from pathlib import Path

from lab.plugin import long, on
from lab.site import Site

_BLOCK = 2048  # bytes, of a disc


def disc(site: Site, name: str) -> Path:
    """A disc whose first bytes are its name."""
    image = site.server.directory / f"{name}.iso"
    image.write_bytes(name.encode().ljust(512 * _BLOCK, b"\0"))
    return image


@on("old-box")
def test_dvd(running: Site) -> None:
    """A disc is put in, taken out, and another one put in, where QEMU has the real drive."""
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
    for name in ("DISC-ONE", "DISC-TWO"):
        site.server.insert_disc(disc(site, name))
        look = "dd if=/dev/sr0 bs=2048 count=1 2>/dev/null | grep -q"
        site.product.ask(f"until {look} {name}; do sleep 0.5; done", 120)
        site.server.eject_disc()  # by its button: a drive that is locked asks
        site.product.ask(f"while {look} {name}; do sleep 0.5; done", 120)
    assert site.product.boots() == boots
    assert site.host.failed_units() == []
    assert site.host.denials() == []
