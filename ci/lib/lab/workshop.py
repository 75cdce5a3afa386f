"""Where servers come from: new ones, made of images; and copies of those that were saved when their product was up."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from lab import kept
from lab.errors import LabError
from lab.images.packages import Say
from lab.images.product import KINDS
from lab.ingredients import Ingredients, alone
from lab.simulator import commandline, files, installed, snapshot
from lab.simulator.files import Images
from lab.simulator.machine import Machine
from lab.simulator.server import Server
from lab.site import Site

BOOT = 900.0  # seconds, from power-on to the product's command line: 60 on a machine with nothing else to do, 260 seen

# QEMU's emulation of SVM on several processors sometimes stops a guest for good, mostly while its firmware starts. A
# server that has them, and that says nothing for so many seconds before its product is there, is made anew and switched
# on again, and that is said. On one processor, and with KVM, a boot that does not end is a failure at once.
_SILENT = 150.0
_AGAIN = 2

# Which product is on a server's disk; a modern one on every other server.
_PRODUCTS = {"old-box": "ide", "direct": "pre-virtio", "numa": "modern-usb"}
# HAL's defaults are for products that beat once a minute. The lab's do so every second, and crash on purpose.
_HAL_TOML = """\
[vmm]
era = "{era}"

[vmm.heartbeat]
interval = 5
missed = 3
boot_grace = 300
fsck_grace = 0

[vmm.crash]
limit = 100
backoff = 0
"""


class Workshop:
    """One directory with all saved servers.

    :param ingredients: what servers are made of
    :param cache: the directory; it is made
    :param accel: "tcg" or "kvm"
    :param say: told what takes time
    """

    def __init__(self, ingredients: Ingredients, cache: Path, accel: str, say: Say) -> None:
        self.ingredients = ingredients
        self._cache = cache
        self._accel = accel
        self._say = say
        cache.mkdir(parents=True, exist_ok=True)

    def new(self, server: Server, place: Path) -> Site:
        """A server that has never been switched on, with HAL on its key and a product on its disk.

        :param place: its directory, which is made
        """
        return Site(Machine.create(place, server, self._images(server), self._accel))

    def boot(self, site: Site) -> float:
        """Switch such a server on and wait for its product. If none like it has been saved yet, this one is.

        :return: seconds from power-on to the product's command line
        :raise LabError: that did not come
        """
        saved = self._saved(site.server.server)
        with alone(saved.with_suffix(".lock")):  # others who need such a server wait for this one
            if not saved.exists():
                seconds = self._switch_on(site)
                self._save(site, saved)
                return seconds
        return self._switch_on(site)

    def running(self, server: Server, place: Path) -> Site:
        """A server whose product has just come up: a saved one goes on. Entering it switches it on.

        :raise LabError: it did not come up
        """
        saved = self._saved(server)
        with alone(saved.with_suffix(".lock")):
            if not saved.exists():
                self._say(f"booting {server.name}, to be saved for other stories")
                with self.new(server, place) as site:
                    try:
                        self._switch_on(site)
                    except LabError:
                        # No story has begun, and the server's directory goes with this failure.
                        evidence = self._cache.parent / "results" / f"boot-of-{server.name}"
                        site.gather(evidence)
                        self._say(f"what this server has said and shown: {evidence}")
                        raise
                    self._save(site, saved)
                shutil.rmtree(place)
        site = Site(snapshot.restore(saved, place))
        site.host.qmp("cont")
        return site

    def _switch_on(self, site: Site) -> float:
        """Seconds from power-on to the product's command line."""
        server = site.server.server
        for _ in range(_AGAIN if server.cpu.count > 1 and self._accel == "tcg" else 0):
            began = time.monotonic()
            site.server.power_on()
            if _comes_up(site):
                return time.monotonic() - began
            self._say(f"{server.name}: silent for {_SILENT:g} s: are its emulated processors stuck? once more")
            site.server.cut_power()
            files.renew(site.server.directory, server, self._images(server))
        began = time.monotonic()
        site.server.power_on()
        site.product.wait_until_ready(BOOT)
        return time.monotonic() - began

    def _save(self, site: Site, saved: Path) -> None:
        # QEMU 7.2 cannot load an emulated CPU that was saved in the middle of a nested guest (cpu_post_load in its
        # target/i386/machine.c), so the product rests meanwhile.
        site.host.shell.wait_until_up(BOOT)
        site.host.qmp("stop")
        snapshot.save(site.server, saved)
        site.host.qmp("cont")
        # Of other images of the host, which are no longer made: half a gigabyte each.
        for other in self._cache.iterdir():
            if other.is_dir() and not other.name.startswith((".", self.ingredients.key.stem)):
                shutil.rmtree(other)

    def _images(self, server: Server) -> Images:
        kind = _PRODUCTS.get(server.name, "modern")
        disks = {server.product_disk.serial: self.ingredients.product(kind)}
        return Images(self.ingredients.key, disks, _HAL_TOML.format(era=KINDS[kind].era))

    def _saved(self, server: Server) -> Path:
        """Where a server like this is saved, or would be."""
        images = self._images(server)
        parts = [*(str(disk) for disk in images.disks.values()), images.hal_toml, server.toml, self._accel]
        # What was saved fits the same QEMU with the same command line only.
        digest = kept.digest([*parts, installed.qemu_version()], [Path(commandline.__file__)])
        return self._cache / f"{images.key.stem}-{server.name}-{digest}"


def _comes_up(site: Site) -> bool:
    """Wait for the product for as long as anything is said on its console or its host's; whether it is there."""
    until = time.monotonic() + BOOT
    while time.monotonic() < until:
        said = _said(site)
        try:
            site.product.wait_until_ready(_SILENT)
            return True
        except LabError:
            if _said(site) == said:
                return False
    return False


def _said(site: Site) -> list[int]:
    """How much, in bytes."""
    logs = [site.server.directory / name for name in (files.HOST_CONSOLE, files.serial_log(0))]
    return [path.stat().st_size if path.exists() else 0 for path in logs]
