"""Does KVM really run a guest here? Not whether ``/dev/kvm`` exists: a nested or emulated one may crash, or crawl.

A boot sector of ten bytes is booted under KVM with the CPU model that the product would get. It powers the machine off
through ACPI at once. QEMU ends by itself within the deadline, or KVM is not usable. ``hal-vmm kvm-check`` shows the
verdict to whoever qualifies a server.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Optional

from hal_core import atomic, paths
from hal_vmm.qemu.flavour import Flavour, Kvm

# About 0.2 s on real hardware, nearly all of it the BIOS. What takes longer than the first is worse than emulation.
# Where there is no choice, any KVM is better than no product: then a host that is busy booting, or that reads QEMU from
# a slow USB key for the first time, must not be taken for one that has none.
DEADLINE_S = 2.0
PATIENT_DEADLINE_S = 20.0

DEVICE = "/dev/kvm"

# mov dx, 0x604; mov ax, 0x2000; out dx, ax; hlt; jmp $-1: SLP_EN with sleep type 0 in PM1a_CNT, which QEMU's q35 has at
# 0x604 (hw/acpi/ich9.c, hw/isa/lpc_ich9.c).
_POWER_OFF = bytes.fromhex("ba0406b80020eff4ebfd")
_IMAGE_BYTES = 1 << 20  # the BIOS boots from no smaller disk


def image() -> bytes:
    """A disk whose boot sector powers the machine off."""
    sector = _POWER_OFF + bytes(510 - len(_POWER_OFF)) + b"\x55\xaa"
    return sector + bytes(_IMAGE_BYTES - len(sector))


def check(flavour: Flavour, models: Sequence[str], deadline: float = DEADLINE_S) -> Kvm:
    """Whether KVM runs a guest, and with which of the CPU models, tried in order.

    :param deadline: seconds for each model. Too slow with one is too slow with all.
    """
    problem = _device_problem()
    if problem:
        return Kvm(works=False, reason=problem)
    if "kvm" not in flavour.accelerators:
        return Kvm(works=False, reason=f"{flavour.name} is built without KVM")
    reasons: list[str] = []
    for model in models:
        status, seconds, error = _boot(flavour, model, deadline)
        if status is None:
            slow = f"a guest of ten bytes had not ended after {deadline:g} s (is this a virtual machine?)"
            return Kvm(works=False, reason=f"too slow: {slow}")
        if status == 0:
            return Kvm(works=True, reason="; ".join(reasons), model=model)
        reasons.append(f"with CPU model {model} QEMU ended after {seconds:.1f} s: {error}")
    return Kvm(works=False, reason="; ".join(reasons))


def remembered(flavour: Flavour, models: Sequence[str], deadline: float = DEADLINE_S) -> Kvm:
    """Like :func:`check`, but what once worked with this QEMU, kernel and processor is not tried again at every boot.

    Only success is remembered: a failure may have been the moment's.
    """
    key = _key(flavour, models)
    path = os.path.join(paths.state_dir(), "vmm", "kvm.json")
    known = None if _device_problem() else _known(path, key)
    if known is not None:
        return known
    kvm = check(flavour, models, deadline)
    if kvm.works:
        try:
            atomic.write(path, json.dumps({"key": key, "model": kvm.model, "reason": kvm.reason}))
        except OSError:
            return kvm  # not root: it is tried again the next time
    return kvm


def _known(path: str, key: list[object]) -> Optional[Kvm]:
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
        matches, model, reason = value["key"] == key, value["model"], value["reason"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # only a memory: it is tried again
    return Kvm(works=True, reason=str(reason), model=str(model)) if matches else None


def _key(flavour: Flavour, models: Sequence[str]) -> list[object]:
    try:
        status = os.stat(flavour.binary)
    except OSError:
        return []
    kernel = os.uname()
    return [flavour.binary, status.st_size, status.st_mtime_ns, kernel.release, kernel.version, list(models)]


def _device_problem() -> str:
    if not os.path.exists(DEVICE):
        return (
            f"no {DEVICE}: virtualization is off in the firmware setup, or the module kvm_intel or kvm_amd is missing"
        )
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{DEVICE}: {error.strerror}"
    return ""


def _boot(flavour: Flavour, model: str, deadline: float) -> tuple[Optional[int], float, str]:
    """QEMU's exit status (None: the deadline passed), seconds taken, and its last word."""
    begin = time.monotonic()
    with tempfile.NamedTemporaryFile(prefix="hal-kvm-check-", suffix=".img") as disk:
        disk.write(image())
        disk.flush()
        argv = [
            *(flavour.binary, "-machine", f"{flavour.newest_machine('q35').name},usb=off"),
            *("-accel", "kvm", "-cpu", model, "-m", "64M", "-nodefaults", "-no-user-config", "-display", "none"),
            *("-blockdev", json.dumps({"driver": "file", "node-name": "boot", "filename": disk.name})),
            *("-device", "ide-hd,bus=ide.0,drive=boot", "-no-reboot"),
        ]
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=deadline, check=False
            )
        except subprocess.TimeoutExpired:
            return None, deadline, ""
        except OSError as error:
            return 1, time.monotonic() - begin, f"cannot run {flavour.binary}: {error.strerror}"
    errors = [line for line in done.stderr.splitlines() if line.strip() and "warning:" not in line]
    return done.returncode, time.monotonic() - begin, errors[0] if errors else f"status {done.returncode}"
