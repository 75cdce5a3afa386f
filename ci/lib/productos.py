"""The demo's product OS: this distribution's kernel and busybox, QEMU's guest agent, hal-guest: in one initramfs.

Built once and cached by content: the same packages, the same scripts, the same modules give the same file.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from factory.errors import FactoryError
from lab import kept
from lab.images import initramfs, kernel, packages

_HERE = Path(__file__).resolve().parent
INIT = _HERE / "product-init.sh"
HEARTBEAT = _HERE.parents[1] / "packages/hal-guest/sbin/hal-heartbeat"
COMMANDS = _HERE / "lab/images/product_files/usr/sbin"

MODULES = (
    "virtio_pci",
    "virtio_console",
    "virtio_scsi",
    "sd_mod",
    "virtio_net",
    "virtio-rng",
    "pvpanic-mmio",
)

#: The product OS cannot be built; the message says what is missing.
BuildError = FactoryError

# Nothing of the machine that it is tried on is touched: no disk, no network.
CONFIG = """\
[vmm]
accel = "auto"
user = "{user}"

[vmm.memory]
guest_mib = 768

[vmm.devices]
keep_disks = ["*"]
serial = ["{port}"]
nic_backend = "unplugged"

[vmm.boot]
kernel = "{kernel}"
initrd = "{initrd}"
append = "console=ttyS0 quiet mitigations=off panic=0"
"""


@dataclass(frozen=True)
class ProductOs:
    kernel: Path
    initrd: Path

    def config(self, user: str, port: str) -> str:
        """The part of hal.toml that boots it with this machine's hands off.

        :param user: whom QEMU runs as; "" is the caller. :param port: what plays the server's serial port.
        """
        return CONFIG.format(user=user, port=port, kernel=self.kernel, initrd=self.initrd)


def build(cache: Path, say: Say) -> ProductOs:
    """The product OS, from the cache if nothing has changed.

    :param say: told what takes time.
    :raise BuildError: a package cannot be had.
    """
    fetched = kernel.fetch("cloud-amd64", cache / "packages", say)
    files = {
        "usr/sbin/hal-heartbeat": HEARTBEAT,
        "usr/sbin/hang": COMMANDS / "hang",
        "usr/sbin/crash": COMMANDS / "crash",
        **packages.program("chrt"),
        **packages.program("qemu-ga"),
    }

    def make(home: Path) -> None:
        say(f"building the product OS around Linux {fetched.version}")
        home.mkdir()
        shutil.copyfile(fetched.image, home / "vmlinuz")
        initramfs.build(fetched, MODULES, home / "initrd.gz", files, INIT.read_text())

    program = (Path(__file__), Path(initramfs.__file__), *sorted((_HERE / "lab").glob("init-*.sh")), INIT)
    ingredients = (*program, initramfs.busybox(), *files.values())
    home = kept.once(cache / kept.digest([fetched.modules.parents[2].name, *MODULES], ingredients), make)
    return ProductOs(home / "vmlinuz", home / "initrd.gz")


class Say:
    """Tells the person at the terminal what is going on."""

    def __call__(self, text: str) -> None:
        print(f"    … {text}", flush=True)
