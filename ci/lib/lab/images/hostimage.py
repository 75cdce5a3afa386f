"""The HAL host on its key: the distribution's packages and our RPMs in a root directory, labelled, on a bootable disk.

Installed with dnf, so that scriptlets, users, presets and SELinux modules are the real ones. What the lab adds is in
host_files/: a way in, a console for the journal, a story's configuration. One image boots by UEFI and by BIOS.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from factory import chroot, programs, repository
from factory.chroot import Chroot
from factory.distribution import Distribution
from lab import gadget
from lab.errors import LabError
from lab.images import bootloader, disk, initramfs, kernel
from lab.images.disk import Partition
from lab.images.kernel import Kernel
from lab.images.packages import Say

LABEL = "hal-root"
_HERE = Path(__file__).parent
_FILES = _HERE / "host_files"
# As a kickstart with an empty %packages section leaves it, HAL, and the agent for the lab.
_PACKAGES = (
    *("bash", "coreutils", "dbus", "filesystem", "findutils", "glibc-minimal-langpack", "grep", "iproute", "kmod"),
    *("procps-ng", "rpm", "sed", "shadow-utils", "system-release", "systemd", "systemd-udev", "util-linux"),
    *("policycoreutils", "selinux-policy-targeted", "qemu-guest-agent", "hal-host"),
)

# What the initramfs needs to reach the key, and the host's console.
_EARLY_MODULES = (
    "xhci_pci",
    "ehci_pci",
    "uhci_hcd",
    "usb_storage",
    "uas",
    "sd_mod",
    "virtio_console",
    "virtio_pci",
    "ext4",
)
# What a server's hardware and HAL need; all modules would be five times as much.
_MODULES = (
    *_EARLY_MODULES,
    *(
        "kvm_amd",
        "kvm_intel",
        "tun",
        "vhost_net",
        "bridge",
        "8021q",
        "bonding",
        "macvtap",
        "vfio_iommu_type1",
        "vfio-pci",
        "autofs4",
        "binfmt_misc",
        "qemu_fw_cfg",
        "efivarfs",
        "vfat",
    ),
    *("nls_cp437", "nls_iso8859_1", "nls_ascii", "fuse", "loop", "dm_mod", "isofs", "ahci", "ata_piix", "ata_generic"),
    *("nvme", "sr_mod", "sg", "virtio_scsi", "virtio_blk", "virtio_net", "virtio_balloon", "megaraid_sas", "mptsas"),
    *("e1000", "e1000e", "igb", "vmxnet3", "8139cp", "8139too", "rtl8139", "usbhid", "hid_generic", "usbserial"),
    *("ftdi_sio", "pl2303", "cdc_acm", "snd_usb_audio", "usblp", "ipmi_si", "i6300esb", "iTCO_wdt", "softdog", "bochs"),
    *("cirrus", "button", "evdev", "nf_tables", "nft_ct", "nft_reject_inet", "nft_reject_bridge", "nft_counter"),
    *("nft_log", "nft_limit", "nft_meta_bridge", "nf_conntrack_bridge", "acpi_cpufreq", *gadget.MODULES),
)

# console: the journal's, so that the kernel's last words are there, too; COM1 is the product's. security: Debian's
# kernel has AppArmor first. enforcing is not set: /etc/selinux/config says it, from the first boot on.
# intel_iommu: Debian's kernel leaves Intel's IOMMUs alone otherwise; iommu=pt: the host's own devices do without.
# show_status: what systemd does is in the journal; its animation takes an emulated processor a tenth of the boot.
_APPEND = (
    f"root=LABEL={LABEL} console=tty0 console=hvc0 loglevel=4 security=selinux selinux=1 mitigations=off "
    "intel_iommu=on iommu=pt systemd.show_status=no"
)
# Masked, because HAL needs none of them and each takes an emulated processor a second or more.
_UNITS_TO_DO_WITHOUT = (
    *("systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount", "systemd-update-utmp.service"),
    *("systemd-update-utmp-runlevel.service", "systemd-pstore.service", "dev-mqueue.mount"),
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount"),
    *(f"modprobe@{module}.service" for module in ("configfs", "dm_mod", "drm", "efi_pstore", "fuse", "loop")),
)
_ESP_MIB = 16
_ROOT_MIB = 1536


def build(packages: Path, system: Distribution, cache: Path, say: Say) -> Path:
    """The image, from the cache if nothing of it has changed.

    :param packages: the dnf repository with our RPMs
    :param system: where the rest of the operating system comes from
    :raise LabError: not root: only root can make users' files and SELinux labels
    :raise ProgramFailed: a package does not install, a label does not exist
    """
    image = cache / f"{key(packages, system)}.img"
    if image.exists():
        return image
    if os.geteuid() != 0:
        raise LabError(
            "building the host image needs root, for its users and SELinux labels; running it does not: sudo"
        )
    cache.mkdir(parents=True, exist_ok=True)
    host_kernel = kernel.fetch("amd64", cache.parent / "packages", say)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=cache) as directory:
        work = Path(directory)
        root = work / "root"
        say("installing the host's operating system and HAL")
        chroot.make_base(root, system, _PACKAGES, work / "dnf.log", [packages])
        say(f"making the host image around Linux {host_kernel.version}")
        add_files(Chroot(root, system, work / "preset.log"))
        add_kernel(host_kernel, root)
        label(root)
        assemble(root, work)
        # dnf made device nodes here: nothing may walk into them when the directory is removed.
        chroot.remove(root)
        for older in sorted(cache.glob("*.img"), key=lambda path: path.stat().st_mtime)[:-1]:
            older.unlink()
        (work / "key.img").replace(image)
    return image


def key(packages: Path, system: Distribution) -> str:
    """The same key means the same image."""
    digest = hashlib.sha256("\n".join([system.key, *kernel.package("amd64")]).encode())
    modules = (__file__, bootloader.__file__, disk.__file__, initramfs.__file__, kernel.__file__, gadget.__file__)
    program = [*sorted(_HERE.glob("init-*.sh")), *(Path(module) for module in modules)]
    for path in [*repository.packages(packages), *program]:
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    for path in sorted(_FILES.rglob("*")):
        content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        digest.update(f"{path.relative_to(_FILES)}\0{path.lstat().st_mode:o}\0".encode())
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


def add_files(host: Chroot) -> None:
    """What the lab adds, with its units enabled as their preset says; and what it leaves out."""
    programs.run("cp", "-r", "--no-dereference", "--preserve=mode", f"{_FILES}/.", host.root)
    (host.root / "etc/hostname").write_text("hal-host\n")
    # Empty, not absent: systemd makes one at each boot of a new server, and takes it for no first boot.
    (host.root / "etc/machine-id").write_text("")
    (host.root / "var/log/journal").mkdir(exist_ok=True)
    units = [path.name for path in sorted((_FILES / "etc/systemd/system").iterdir()) if not path.is_symlink()]
    host.run("systemctl", "preset", *units, "getty@.service", user=0)
    host.run("systemctl", "mask", *_UNITS_TO_DO_WITHOUT, user=0)


def add_kernel(host_kernel: Kernel, root: Path) -> None:
    """The kernel, its modules, an initramfs and a menu for the boot loader."""
    kernel.install(host_kernel, root, [name for name in _MODULES if kernel.has(host_kernel, name)])
    boot = root / "boot"
    programs.run("cp", host_kernel.image, boot / "vmlinuz")
    initramfs.build(host_kernel, _EARLY_MODULES, boot / "initrd.img")
    (root / bootloader.MENU_PATH).parent.mkdir(parents=True)
    (root / bootloader.MENU_PATH).write_text(bootloader.menu("/boot/vmlinuz", "/boot/initrd.img", _APPEND, title="HAL"))


def label(root: Path) -> None:
    """SELinux labels for every file, as the host's own policy has them; checked against the policy first."""
    policy = root / "etc/selinux/targeted"
    contexts = policy / "contexts/files/file_contexts"
    programs.run("setfiles", "-c", newest_policy(policy), contexts)
    programs.run("setfiles", "-F", "-m", "-r", root, contexts, root)


def newest_policy(policy: Path) -> Path:
    """The binary policy that the kernel is given."""
    versions = {int(path.suffix[1:]): path for path in _policies(policy)}
    if not versions:
        raise LabError(f"{policy}: no binary policy: selinux-policy-targeted did not install whole")
    return versions[max(versions)]


def _policies(policy: Path) -> Iterator[Path]:
    return (path for path in (policy / "policy").glob("policy.*") if path.suffix[1:].isdecimal())


def assemble(root: Path, work: Path) -> None:
    """The disk, *work*/key.img: for a BIOS, for UEFI, and the root file system."""
    disk.ext4(root, work / "root.ext4", _ROOT_MIB, LABEL)
    bootloader.efi_image(LABEL, work / "grub.efi")
    disk.fat({bootloader.REMOVABLE_PATH: work / "grub.efi"}, work / "esp.fat", _ESP_MIB, "HAL-ESP")
    partitions = [
        Partition("hal-bios", "bios-boot", size_mib=1),
        Partition("hal-esp", "esp", work / "esp.fat"),
        Partition(LABEL, "linux", work / "root.ext4"),
    ]
    first_sectors = disk.assemble(work / "key.img", "gpt", partitions)
    bootloader.install_bios(LABEL, work / "key.img", first_sectors[0])
