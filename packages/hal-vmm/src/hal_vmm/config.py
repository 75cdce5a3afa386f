"""The ``[vmm]`` table of hal.toml. With no file at all everything is derived from the hardware: this is for exceptions.

Every option's text here is what ``hal.toml`` documents in place and what ``hal.toml(5)`` prints: written once.
"""

from __future__ import annotations

from dataclasses import dataclass

from hal_core.config import option, section

ERAS = ("modern", "pre-virtio", "ide")
FLAVOURS = ("debian12", "el9", "el10", "fedora")  # of hal_vmm.qemu.flavour_builtin


@dataclass(frozen=True)
class CpuConfig:
    model: str = option(
        "auto",
        "CPU model the product sees: \"auto\" (the host's own, or a named model where the product's era needs one), "
        '"host", or a name that QEMU knows.',
        pattern=r"[A-Za-z0-9._-]+(,[+-][a-z0-9._-]+)*",
    )
    keep: tuple[int, ...] = option(
        (),
        "Logical CPUs whose cores stay with the host. Empty: the product gets every core, the host lives on the "
        "hyper-threads.",
        low=0,
    )


@dataclass(frozen=True)
class MemoryConfig:
    guest_mib: int = option(
        0, "Memory of the product in MiB. 0: all of it but what the host needs (see hal-vmm(1)).", low=0, high=64 << 20
    )
    host_mib: int = option(
        0,
        "Memory kept for the host in MiB. 0: by the formula in hal-vmm(1). Not together with guest_mib.",
        low=0,
        high=1 << 20,
    )
    hugepages: str = option(
        "none", "Back the product's memory with huge pages of this size.", choices=("none", "2M", "1G")
    )
    ksm: bool = option(False, "Let the kernel merge equal pages. Saves memory, costs CPU; not with huge pages.")


@dataclass(frozen=True)
class DevicesConfig:
    keep_disks: tuple[str, ...] = option(
        (),
        'Disks that stay with the host, each by name (sdb), WWN, serial number or ID_PATH; "*" means all. HAL\'s own '
        "device always stays.",
    )
    keep_nics: tuple[str, ...] = option((), 'NICs that stay with the host, each by name or MAC address; "*" means all.')
    serial: tuple[str, ...] = option(
        ("auto",),
        'Serial ports for the product, in order: device paths, or "auto" for every port that the server has.',
    )
    disk_files: tuple[str, ...] = option(
        (), "Image files that the product gets as further disks, after the real ones (for demos and tests)."
    )
    nic_backend: str = option(
        "tap",
        'Where the product\'s NICs lead: "tap" (haltap0 …, the bridges of hal-netcfg) or "unplugged" (no network at '
        "all).",
        choices=("tap", "unplugged"),
    )
    host_link: bool = option(
        True,
        "Give the product a NIC on the private link to the host, after all its others (see hal-vmm(1)). Not with "
        'nic_backend = "unplugged".',
    )
    ide_nic: str = option("e1000", "NIC model of the era ide.", choices=("e1000", "rtl8139"))
    watchdog: bool = option(True, "Give the product a hardware watchdog (i6300esb; ib700 in the era ide).")


@dataclass(frozen=True)
class BootConfig:
    kernel: str = option("", "Boot this kernel directly instead of from the product's disks (installation, tests).")
    initrd: str = option("", "Initial RAM disk for the kernel above.")
    append: str = option("", "Command line for the kernel above.")


@dataclass(frozen=True)
class HeartbeatConfig:
    transport: str = option(
        "auto",
        'How the product says that it lives: "agent" (QEMU guest agent), "line" (one line per beat on a serial '
        'channel), "auto" (either), "none".',
        choices=("auto", "agent", "line", "none"),
    )
    interval: int = option(60, "Seconds between heartbeats.", low=1, high=3600)
    missed: int = option(5, "Restart the product after this many heartbeats in a row are missed.", low=2, high=1000)
    boot_grace: int = option(
        600, "Seconds after a start in which a missing heartbeat means nothing: the product boots.", low=0, high=86400
    )
    fsck_grace: int = option(
        3600,
        "Seconds added to boot_grace after an unclean end: the product checks its file systems.",
        low=0,
        high=86400,
    )


@dataclass(frozen=True)
class CrashConfig:
    limit: int = option(
        5, "After this many crashes within window_minutes HAL stops restarting: rescue state.", low=1, high=100
    )
    window_minutes: int = option(30, "Minutes in which crashes are counted.", low=1, high=1440)
    backoff: int = option(
        1, "Seconds before the second restart in a row; doubled every time, 60 at most.", low=0, high=60
    )
    hung_after: int = option(
        60, "Seconds without an answer from QEMU after which it is killed and restarted.", low=2, high=3600
    )
    dump: bool = option(True, "Write the product's memory to a file when it panics, before the restart.")
    dump_limit_mib: int = option(
        8192, "Largest memory dump in MiB; a larger one is cut off there.", low=1, high=1 << 22
    )
    dump_keep: int = option(2, "How many memory dumps are kept; the oldest goes first.", low=1, high=100)
    dump_grace: int = option(1800, "Seconds that a memory dump may take.", low=10, high=86400)


@dataclass(frozen=True)
class StopConfig:
    agent: int = option(
        90, "Seconds that `hal vmm stop` gives the product to end after asking its guest agent.", low=0, high=3600
    )
    acpi: int = option(90, "Seconds that it gives the product after pressing the ACPI power button.", low=0, high=3600)


@dataclass(frozen=True)
class VmmConfig:
    """What can be said about the guest."""

    era: str = option(
        "modern",
        'Age of the product\'s OS: "modern" (virtio; RHEL 7 and later), "pre-virtio" (AHCI and e1000; RHEL 4 to 6), '
        '"ide" (PIIX IDE; RHEL 3).',
        choices=ERAS,
    )
    accel: str = option(
        "kvm",
        '"kvm" refuses to start without KVM; "auto" falls back to emulation when KVM does not really run a guest; '
        '"tcg" always emulates (for demos and tests: many times slower).',
        choices=("kvm", "auto", "tcg"),
    )
    user: str = option(
        "hal-qemu",
        'User that QEMU runs as; "" keeps the caller\'s (only for tests without root).',
        pattern=r"[a-z_][a-z0-9_-]*|",
    )
    qemu: str = option(
        "", "The QEMU binary. Empty: the first of /usr/libexec/qemu-kvm, qemu-system-x86_64 and qemu-kvm found."
    )
    qemu_like: str = option(
        "",
        "For tests: use only what the QEMU of this distribution has, too: "
        f"{', '.join(FLAVOURS)}. Empty: all that the installed one has.",
        choices=("", *FLAVOURS),
    )
    cpu: CpuConfig = section(CpuConfig, "Processors.")
    memory: MemoryConfig = section(MemoryConfig, "Memory.")
    devices: DevicesConfig = section(DevicesConfig, "Disks, NICs, serial ports.")
    boot: BootConfig = section(BootConfig, "Booting a kernel directly.")
    heartbeat: HeartbeatConfig = section(HeartbeatConfig, "The product's sign of life.")
    crash: CrashConfig = section(CrashConfig, "What happens when the product panics, or QEMU dies or hangs.")
    stop: StopConfig = section(StopConfig, "Deadlines for `hal vmm stop`.")
