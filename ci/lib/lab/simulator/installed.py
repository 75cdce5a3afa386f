"""What the lab uses of the machine that it runs on: QEMU, and UEFI firmware for it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from factory import programs
from lab.errors import LabError


class Firmware(NamedTuple):
    """UEFI: its code, and its variables as they leave the factory."""

    code: Path
    variables: Path


# Without Secure Boot, which needs signed boot loaders, and SMM, which KVM inside a virtual machine is bad at.
_FIRMWARE = (
    Firmware(Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")),  # Debian, Ubuntu
    Firmware(Path("/usr/share/edk2/ovmf/OVMF_CODE.fd"), Path("/usr/share/edk2/ovmf/OVMF_VARS.fd")),  # Fedora, EL
    Firmware(Path("/usr/share/edk2/x64/OVMF_CODE.4m.fd"), Path("/usr/share/edk2/x64/OVMF_VARS.4m.fd")),  # Arch
)


def qemu() -> str:
    """The program that simulates a server.

    :raise LabError: it is not here
    """
    # Not EL's qemu-kvm, which has neither curses nor most of a server's devices.
    path = shutil.which("qemu-system-x86_64")
    if path is None:
        raise LabError("there is no qemu-system-x86_64 here: install qemu-system-x86 (Debian, Fedora)")
    return path


def qemu_version() -> str:
    """What that program says of itself.

    :raise LabError: it is not here
    """
    return programs.run(qemu(), "--version")


def firmware() -> Firmware:
    """UEFI for a simulated server.

    :raise LabError: there is none
    """
    for found in _FIRMWARE:
        if found.code.exists() and found.variables.exists():
            return found
    raise LabError("there is no UEFI for QEMU here: install ovmf (Debian, Ubuntu) or edk2-ovmf (Fedora, EL, Arch)")


def check_kvm(device: Path = Path("/dev/kvm"), modules: Path = Path("/sys/module")) -> None:
    """KVM is here, is ours to use, and lets virtual machines have virtual machines.

    :raise LabError: it does not; the message says what to do
    """
    if not os.access(device, os.R_OK | os.W_OK):
        raise LabError(f"{device} is not there, or not yours to use: without --accel kvm the server is emulated")
    # Linux, Documentation/virt/kvm/x86/running-nested-guests.rst
    parameters = [modules / name / "parameters/nested" for name in ("kvm_intel", "kvm_amd")]
    if not any(path.exists() and path.read_text().strip() in ("Y", "1") for path in parameters):
        raise LabError(
            "KVM here cannot nest (kvm_intel or kvm_amd, nested=1): without --accel kvm the server is emulated"
        )
