"""The product OS of the lab: a small but whole system on a disk of its own, of one kind at least per era of HAL's.

The distribution's kernel, busybox (its init is much like System V's), the files below product_files/, and what a real
product gets from us: hal-guest. A BIOS boots it, HAL's virtual machine's for one; from a GPT so does UEFI, without HAL.

Its network is 10.77.N.2/24 on its NIC number N, and hal-link's on the one that leads to the host; ``/etc/product`` is
served by HTTP. ``PRODUCT ready`` and the prompt ``product# `` come on COM1 and on the screen.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Optional

from factory import programs
from lab import kept
from lab.errors import LabError
from lab.images import bootloader, disk, initramfs, kernel, packages
from lab.images.kernel import Kernel
from lab.images.packages import Say

PROMPT = "product# "
READY = "PRODUCT ready"
LABEL = "product-root"

_HERE = Path(__file__).parent
_FILES = _HERE / "product_files"
_GUEST = Path(__file__).resolve().parents[4] / "packages" / "hal-guest"
#: hal-guest, as specs/hal-guest.spec installs it.
GUEST_FILES = {
    "usr/sbin/hal-heartbeat": _GUEST / "sbin" / "hal-heartbeat",
    "etc/rc.d/init.d/hal-heartbeat": _GUEST / "init" / "hal-heartbeat",
    "etc/sysconfig/hal-heartbeat": _GUEST / "etc" / "hal-heartbeat",
    "usr/sbin/hal-link": _GUEST / "sbin" / "hal-link",
    "etc/rc.d/init.d/hal-link": _GUEST / "init" / "hal-link",
}
_DIRECTORIES = ("boot/grub", "dev", "mnt", "proc", "root", "run", "sys", "tmp", "var/log")
# A panic is for HAL to see: the kernel must not restart by itself.
_APPEND = f"root=LABEL={LABEL} console=tty0 console=ttyS0,115200 quiet mitigations=off panic=0"
_ROOT_MIB = 64
_ESP_MIB = 4


@dataclass(frozen=True)
class Kind:
    """One product.

    :ivar era: of ``hal_vmm.era``
    :ivar flavour: of the kernel: the cloud one boots faster, but has no AHCI, no e1000, no USB and no watchdogs
    :ivar scheme: of the disk
    :ivar root_modules: loaded to reach the root file system
    :ivar modules: loaded then; those that this kernel lacks are left out
    """

    era: str
    flavour: str
    scheme: str
    root_modules: tuple[str, ...]
    modules: tuple[str, ...]


_ALWAYS = ("pvpanic-mmio", "button", "evdev")
_LATER = ("sr_mod", "isofs", "ehci-pci", "uhci-hcd", "xhci-pci", "usb-storage")
_BY_HAND = ("bochs",)  # loaded by a story: from then on the screen is in a graphics mode
_VIRTIO = ("virtio_net", "virtio_console", "virtio-rng")

_MODERN = Kind(
    "modern",
    "cloud-amd64",
    "gpt",
    ("virtio_pci", "virtio_scsi", "sd_mod", "ext4"),
    (*_VIRTIO, *_ALWAYS, "i6300esb", *_LATER),
)
KINDS = {
    "modern": _MODERN,
    "modern-usb": replace(_MODERN, flavour="amd64"),
    # virtio: not for anything of HAL's, but for a NIC of the server's that it is given as it is. That one is the
    # server's first, and Linux names NICs as their drivers come.
    "pre-virtio": Kind(
        "pre-virtio",
        "amd64",
        "gpt",
        ("ahci", "sd_mod", "ext4"),
        ("virtio_pci", "virtio_net", "e1000", *_ALWAYS, "i6300esb", *_LATER),
    ),
    "ide": Kind("ide", "amd64", "mbr", ("ata_piix", "sd_mod", "ext4"), ("e1000", *_ALWAYS, "ib700wdt", *_LATER)),
}


def build(kind: str, cache: Path, say: Say, hal_guest: Optional[Path] = None) -> Path:
    """The product's disk, from the cache if nothing has changed that it is made of. To be copied before it is used.

    :param kind: one of :data:`KINDS`
    :param say: told what takes time
    :param hal_guest: the RPM; None: the files that it is made of
    :raise LabError: no such kind, or something that it is made of is missing
    """
    if kind not in KINDS:
        raise LabError(f"there is no product {kind}; there are {', '.join(KINDS)}")
    chosen = KINDS[kind]
    fetched = kernel.fetch(chosen.flavour, cache.parent / "packages", say)
    ingredients = packages.program("chrt")  # busybox has none, which "hang" needs for a hang that is one
    ingredients.update(packages.program("eject"))  # nor one, in Debian
    ingredients.update(packages.program("whiptail"), **_terminal())
    if chosen.era == "modern":
        ingredients.update(packages.program("qemu-ga"))

    def make(image: Path) -> None:
        say(f"building the product {kind}")
        root = image.with_name("root")
        _fill(root, chosen, fetched, hal_guest, ingredients)
        _make_disk(image, chosen.scheme, root)

    words = (kind, fetched.modules.parents[2].name, programs.run(bootloader.mkimage(), "--version"))
    files = (*_own_files(), *([hal_guest] if hal_guest else GUEST_FILES.values()), *ingredients.values())
    return kept.once(cache / f"product-{kind}-{kept.digest(words, files)}.img", make)


def hardware(shown: str) -> dict[str, str]:
    """What the product's ``show hardware`` says, by key."""
    lines = (line.strip().partition(" ") for line in shown.splitlines())
    return {key: value for key, _, value in lines if key}


def _own_files() -> Iterator[Path]:
    for module in (__file__, kernel.__file__, initramfs.__file__, bootloader.__file__, disk.__file__):
        yield Path(module)
    yield from sorted(_HERE.glob("init-*.sh"))
    yield from sorted(path for path in _FILES.rglob("*") if path.is_file())
    yield initramfs.busybox()


def _fill(root: Path, kind: Kind, fetched: Kernel, hal_guest: Optional[Path], ingredients: dict[str, Path]) -> None:
    """The product's root directory."""
    shutil.copytree(_FILES, root)
    for path in _DIRECTORIES:
        (root / path).mkdir(parents=True, exist_ok=True)
    for path, target in {"var/run": "/run", "var/lock": "/run/lock"}.items():
        (root / path).symlink_to(target)
    (root / "tmp").chmod(0o1777)
    _install_busybox(root)
    for path, source in ingredients.items():
        _copy(source, root / path)
    if hal_guest:
        packages.unpack_rpm(hal_guest, root)
    else:
        for path, source in GUEST_FILES.items():
            _copy(source, root / path)
    with (root / "etc/sysconfig/hal-heartbeat").open("a") as config:
        config.write("INTERVAL=1\n")
    wanted = [name for name in kind.modules if kernel.has(fetched, name)]
    kernel.install(fetched, root, [*kind.root_modules, *wanted, *filter(partial(kernel.has, fetched), _BY_HAND)])
    (root / "etc/modules").write_text("".join(f"{name}\n" for name in wanted))
    about = {"era": kind.era, "release": f"HAL lab product, era {kind.era}, Linux {fetched.version}"}
    (root / "etc/product").mkdir()
    for name, text in about.items():
        (root / "etc/product" / name).write_text(f"{text}\n")
    shutil.copyfile(fetched.image, root / "boot/vmlinuz")
    initramfs.build(fetched, kind.root_modules, root / "boot/initrd.gz")
    menu = bootloader.menu("/boot/vmlinuz", "/boot/initrd.gz", _APPEND, serial=True, title=f"product ({kind.era})")
    (root / bootloader.MENU_PATH).write_text(menu)


def _terminal() -> dict[str, Path]:
    """What whiptail has to know of the screen."""
    return {
        "usr/share/terminfo/l/linux": packages.first(Path("/"), "lib/terminfo/l/linux", "usr/share/terminfo/l/linux")
    }


def _install_busybox(root: Path) -> None:
    _copy(initramfs.busybox(), root / "bin/busybox")
    for path in programs.run(initramfs.busybox(), "--list-full").split():
        link = root / path
        link.parent.mkdir(parents=True, exist_ok=True)
        # Ours, and the real programs, go first.
        if not os.path.lexists(link):
            link.symlink_to("/bin/busybox")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _make_disk(image: Path, scheme: str, root: Path) -> None:
    system, esp, efi = (image.with_name(name) for name in ("root.ext4", "esp.fat", "grub.efi"))
    disk.ext4(root, system, _ROOT_MIB, LABEL)
    bootloader.efi_image(LABEL, efi)
    disk.fat({bootloader.REMOVABLE_PATH: efi}, esp, _ESP_MIB, "PRODUCT-ESP")
    parts = [
        disk.Partition("product-esp", "esp", esp),
        disk.Partition("product-root", "linux", system, bootable=scheme == "mbr"),
    ]
    if scheme == "gpt":
        parts.insert(0, disk.Partition("product-bios", "bios-boot"))
    starts = disk.assemble(image, scheme, parts)
    # An MBR leaves room for GRUB in front of its first partition.
    bootloader.install_bios(LABEL, image, starts[0] if scheme == "gpt" else 1)
