"""Where servers come from: the images, made once; new servers with them; and servers that were saved after a boot."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from factory import command as rpms
from factory import distribution, namespaces, target
from factory.distribution import Distribution
from lab.errors import LabError
from lab.images import hostimage, nextrelease, product
from lab.images.packages import Say
from lab.simulator import installed, snapshot
from lab.simulator.files import Images
from lab.simulator.machine import Machine
from lab.simulator.server import Server
from lab.site import Site

BOOT = 600.0  # seconds, from power-on to the product's command line; it is some 60 with two CPUs and nothing else to do

# Which product is on a server's disk; a modern one on every other server.
_ERAS = {"old-box": "ide", "numa": "pre-virtio"}
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
    """One directory with all that is kept.

    :param root: the checkout
    :param cache: the directory; it is made
    :param accel: "tcg" or "kvm"
    :param say: told what takes time
    """

    def __init__(self, root: Path, cache: Path, accel: str, say: Say) -> None:
        self.root = root
        self.cache = cache
        self.accel = accel
        self.say = say
        cache.mkdir(parents=True, exist_ok=True)

    @cached_property
    def packages(self) -> Path:
        """The dnf repository of this checkout's RPMs.

        :raise LabError: they do not build
        """
        namespaces.enter_private_mounts()
        if rpms.main(self.root, ["--target", self._target.name]) != 0:
            raise LabError("the packages do not build: see above")
        return (self.root / "dist" / self._target.name).resolve()

    @cached_property
    def key(self) -> Path:
        """The image of the USB key with the HAL host.

        :raise LabError: it is not there yet, and only root can make it
        """
        with self._alone("host"):
            return hostimage.build(self.packages, self._system, self.cache / "host", self.say)

    def next_release(self) -> list[Path]:
        """Our RPMs once more, with a higher release number.

        :raise FactoryError: they do not build, or only root could
        """
        with self._alone("next"):
            return nextrelease.make(self.root, self.packages, self._system, self.cache / "next", self.say)

    def new(self, server: Server, place: Path) -> Site:
        """A server that has never been switched on, with HAL on its key and a product on its disk.

        :param place: its directory, which is made
        """
        return Site(Machine.create(place, server, self._images(server), self.accel))

    def boot(self, site: Site) -> float:
        """Switch such a server on and wait for its product. If none like it has been saved yet, this one is.

        :return: seconds from power-on to the product's command line
        :raise LabError: that did not come
        """
        began = time.monotonic()
        site.server.power_on()
        site.product.wait_until_ready(BOOT)
        seconds = time.monotonic() - began
        saved = self._saved(site.server.server)
        with self._alone(saved.name):
            if not saved.exists():
                self._save(site, saved)
        return seconds

    def running(self, server: Server, place: Path) -> Site:
        """A server whose product has just come up: a saved one goes on. Entering it switches it on.

        :raise LabError: it did not come up
        """
        saved = self._saved(server)
        with self._alone(saved.name):
            if not saved.exists():
                self.say(f"booting {server.name}, to be saved for other stories")
                with self.new(server, place) as site:
                    site.server.power_on()
                    site.product.wait_until_ready(BOOT)
                    self._save(site, saved)
                shutil.rmtree(place)
        site = Site(snapshot.restore(saved, place))
        site.host.qmp("cont")
        return site

    def _save(self, site: Site, saved: Path) -> None:
        # QEMU 7.2 cannot load an emulated CPU that was saved in the middle of a nested guest (cpu_post_load in its
        # target/i386/machine.c), so the product rests meanwhile.
        site.host.shell.wait_until_up(BOOT)
        site.host.qmp("stop")
        snapshot.save(site.server, saved)
        site.host.qmp("cont")
        images = {image.stem for image in (self.cache / "host").glob("*.img")}
        for other in self.cache.glob("saved/*"):
            if other.name.partition("-")[0] not in images:
                shutil.rmtree(other)

    def _images(self, server: Server) -> Images:
        era = _ERAS.get(server.name, "modern")
        guest = next(iter(self.packages.glob("**/hal-guest-[0-9]*.rpm")), None)
        disk = product.build(era, self.cache / "product", self.say, guest)
        return Images(self.key, {server.product_disk.serial: disk}, _HAL_TOML.format(era=era))

    def _saved(self, server: Server) -> Path:
        """Where a server like this is saved, or would be."""
        images = self._images(server)
        parts = [*(str(disk) for disk in images.disks.values()), images.hal_toml, server.toml, self.accel]
        digest = hashlib.sha256("\0".join([*parts, installed.qemu()]).encode()).hexdigest()[:12]
        return self.cache / "saved" / f"{self.key.stem}-{server.name}-{digest}"

    @cached_property
    def _system(self) -> Distribution:
        return distribution.find(self._target, self.root / ".cache/rpms", self.say)

    @cached_property
    def _target(self) -> target.Target:
        return target.parse(distribution.host_target() or "el9")

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Of several stories that need the same thing, one makes it, and the others wait."""
        with open(self.cache / f"{name}.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
