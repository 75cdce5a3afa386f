"""Whether this host can hand a NIC to the product as it is, as far as that does not depend on the NIC."""

from __future__ import annotations

from hal_core import lent
from hal_netcfg.config import NetcfgConfig
from hal_netcfg.plan import direct, product
from hal_netcfg.plan.direct import Ability

BOOLEAN = "hal_direct_nics"  # of the policy module hal_qemu
SELINUX = "/sys/fs/selinux"


def read(run_dir: str, config: NetcfgConfig) -> Ability:
    """:raise HostError, FileFormatError: what is written down of NICs that have been handed over cannot be read."""
    if not any(lan.mode in direct.MODES for lan in config.lan.values()):
        return Ability()
    shared = frozenset(one.nic for one in lent.read(run_dir).values() if one.mode == "sriov")
    return Ability(product.refusal(run_dir) or _selinux(), shared)


def _selinux() -> str:
    """By the kernel's own files: this is asked at every look. "" also where they may not be read."""
    if _first("enforce") == "1" and _first(f"booleans/{BOOLEAN}") == "0":
        return f"SELinux keeps the product's QEMU off PCI devices: setsebool -P {BOOLEAN} on"
    return ""


def _first(name: str) -> str:
    """The first character: of a boolean, its state; the second is what it is to become."""
    try:
        with open(f"{SELINUX}/{name}", encoding="ascii") as file:
            return file.read(1)
    except OSError:
        return ""
