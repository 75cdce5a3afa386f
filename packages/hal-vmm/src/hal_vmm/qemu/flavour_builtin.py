"""QEMUs to assume where none is installed: for planning a recorded server on any desk (``--assume NAME``).

What each distribution's package has, as far as HAL asks for it. From the packages' spec files and, for Debian 12, from
the program itself. On a server that will run a product, the QEMU that is installed is always asked instead.
"""

from __future__ import annotations

from collections.abc import Iterable

from hal_core.errors import UsageError
from hal_vmm.era import ERAS
from hal_vmm.qemu.flavour import CpuModel, Flavour, MachineType

DEFAULT = "el9"

_DEVICES = frozenset(device for era in ERAS.values() for device in (*era.device_types(), era.watchdog)) | {
    "intel-iommu",
    "isa-pcspk",
    "pvpanic",
    "rtl8139",
    "vfio-pci",
    "virtio-rng-pci",
}
_OBJECTS = frozenset({"iothread", "memory-backend-memfd", "memory-backend-ram", "rng-builtin"})
_AIO = frozenset({"threads", "native", "io_uring"})
_BLOCK = frozenset({"file", "host_device", "raw"})

# fmt: off
_CPU_MODELS = (
    "max", "host", "qemu64", "kvm64", "Conroe", "Penryn", "Nehalem", "Nehalem-IBRS", "Westmere", "Westmere-IBRS",
    "SandyBridge", "SandyBridge-IBRS", "IvyBridge", "IvyBridge-IBRS", "Haswell", "Haswell-noTSX", "Haswell-IBRS",
    "Haswell-noTSX-IBRS", "Broadwell", "Broadwell-noTSX", "Broadwell-IBRS", "Broadwell-noTSX-IBRS", "Skylake-Client",
    "Skylake-Server", "Cascadelake-Server", "Icelake-Server", "Cooperlake", "Opteron_G1", "Opteron_G2", "Opteron_G3",
    "Opteron_G4", "Opteron_G5", "EPYC", "EPYC-IBPB", "EPYC-Rome", "EPYC-Milan", "Dhyana",
)
# fmt: on

# Enterprise Linux 9 needs x86-64-v2 itself and announces the end of every model below that.
_EL_DEPRECATED = frozenset({"qemu64", "kvm64", "Conroe", "Penryn", "Opteron_G1", "Opteron_G2", "Opteron_G3"})


def _upstream(first: int, last: tuple[int, int], most: int) -> tuple[MachineType, ...]:
    """Upstream's machine types of the majors from ``first`` to ``last``: minor versions 0 to 2 each."""
    versions = [(major, minor) for major in range(first, last[0] + 1) for minor in range(3) if (major, minor) <= last]
    return tuple(
        MachineType(f"pc-{chipset}-{major}.{minor}", most if chipset == "q35" else 255)
        for chipset in ("q35", "i440fx")
        for major, minor in versions
    )


def _el(q35: Iterable[str], i440fx: str, most: int) -> tuple[MachineType, ...]:
    return (
        *(MachineType(f"pc-q35-rhel{version}", most) for version in q35),
        MachineType(f"pc-i440fx-rhel{i440fx}", 240, deprecated=True),
    )


def _assumed(
    name: str,
    binary: str,
    version: tuple[int, int, int],
    machines: tuple[MachineType, ...],
    cdrom: bool,
    deprecated: frozenset[str] = frozenset(),
    iommufd: bool = False,
) -> Flavour:
    return Flavour(
        name=f"{name} (assumed)",
        binary=binary,
        version=version,
        machines=machines,
        devices=_DEVICES,
        cpu_models=tuple(CpuModel(model, model in deprecated) for model in _CPU_MODELS),
        accelerators=frozenset({"kvm", "tcg"}),
        block_drivers=_BLOCK | {"host_cdrom"} if cdrom else _BLOCK,
        aio=_AIO,
        objects=_OBJECTS | {"iommufd"} if iommufd else _OBJECTS,
        sandbox=True,
    )


_EL_BINARY = "/usr/libexec/qemu-kvm"
_UPSTREAM_BINARY = "/usr/bin/qemu-system-x86_64"

FLAVOURS: dict[str, Flavour] = {
    "debian12": _assumed("Debian 12", _UPSTREAM_BINARY, (7, 2, 0), _upstream(5, (7, 2), 288), cdrom=True),
    "el9": _assumed(
        "EL9",
        _EL_BINARY,
        (9, 1, 0),
        _el(("8.6.0", "9.0.0", "9.2.0", "9.4.0", "9.6.0"), "7.6.0", 710),
        cdrom=False,
        deprecated=_EL_DEPRECATED,
    ),
    "el10": _assumed(
        "EL10",
        _EL_BINARY,
        (10, 0, 0),
        _el(("9.4.0", "9.6.0", "10.0.0"), "10.0.0", 4096),
        cdrom=False,
        deprecated=_EL_DEPRECATED,
    ),
    "fedora": _assumed("Fedora", _UPSTREAM_BINARY, (10, 1, 0), _upstream(5, (10, 1), 4096), cdrom=True, iommufd=True),
}


def assume(name: str) -> Flavour:
    """The flavour of that name.

    :raise UsageError: there is none of that name; says which there are.
    """
    if name not in FLAVOURS:
        raise UsageError(f"--assume {name}: no such QEMU flavour; there are {', '.join(FLAVOURS)}")
    return FLAVOURS[name]
