"""``hal-vmm apply``: compile the launch plan for the hardware that is there now, and get the host ready for it.

Idempotent: whatever is already as it ought to be is left alone. A running product is not touched; it gets the new plan
at its next start.
"""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import sys

from hal_core import arguments, atomic, paths
from hal_core.errors import ConfigError, HostError
from hal_vmm.launch import commandline, hostmemory, hotplug
from hal_vmm.launch.commandline import Site
from hal_vmm.launch.launchplan import LaunchPlan
from hal_vmm.plan import inputs, pinned
from hal_vmm.plan.guestplan import GuestPlan
from hal_vmm.plan.inputs import Inputs

USAGE = """\
usage: hal-vmm apply [--json] [--repin]

Compile the launch plan (/run/hal/qemu.json) for the hardware that is there now; reserve huge pages and switch on KSM
where hal.toml says so. The product's virtual hardware is pinned the first time (/var/lib/hal/vmm/hardware.json) and
kept ever after. A running product gets the new plan at its next start.

options:
  --json   say what was changed as JSON
  --repin  give the product new virtual hardware: newest machine type, new slots
"""

_VHOST = "/dev/vhost-net"


def main(argv: list[str]) -> int:
    """Bring the host to what the plan says.

    :raise HalError: it cannot be; the files are then as they were.
    """
    given = arguments.parse("hal-vmm apply", argv, {"--json", "--repin"}, ())
    if "help" in given:
        sys.stdout.write(USAGE)
        return 0
    changed, plan = apply(inputs.for_applying("repin" in given))
    if "json" in given:
        print(json.dumps({"changed": changed, "held_back": plan.to_json()["held_back"], "notes": list(plan.notes)}))
    else:
        print("\n".join(changed) if changed else "nothing to change")
        for note in plan.notes:
            print(f"note: {note}")
    return 0


def apply(gathered: Inputs) -> tuple[list[str], GuestPlan]:
    """What was changed, in words, and the plan.

    :raise HalError: as :func:`main`.
    """
    plan = gathered.plan()
    _check_host(plan, gathered)
    run_dir = paths.run_dir()
    copies, kernel, initrd = _boot_files(plan, run_dir)
    site = Site(run_dir, vhost=os.path.exists(_VHOST), kernel=kernel, initrd=initrd)
    launch = commandline.compile_plan(plan, gathered.flavour, site)
    changed = copies + hostmemory.apply(plan.memory)
    if plan.pinned != gathered.pinned:
        pinned.write(plan.pinned)
        changed.append(f"pinned the product's virtual hardware: {pinned.path()}")
    told = {**plan.to_json(), "hotplug": hotplug.to_json(plan, gathered.flavour)}
    changed += _replace(os.path.join(run_dir, "plan.json"), json.dumps(told, indent=1), "plan", 0o644)
    changed += _replace(os.path.join(run_dir, "qemu.json"), render(launch), "launch plan", 0o600)
    return changed, plan


def render(launch: LaunchPlan) -> str:
    return json.dumps(dataclasses.asdict(launch), indent=1) + "\n"


def _check_host(plan: GuestPlan, gathered: Inputs) -> None:
    """What would only come out when QEMU starts, said now.

    :raise HostError: KVM does not work. :raise ConfigError: an image file is not there.
    """
    kvm = gathered.kvm
    if plan.accel == "kvm" and kvm is not None and not kvm.works:
        cure = "run this as root" if os.getuid() else "switch on virtualization in the firmware setup"
        raise HostError(
            f"KVM does not work on this server: {kvm.reason}",
            f'{cure}; to run all the same, slowly: vmm.accel = "auto"',
        )
    for disk in plan.disks:
        if disk.kind == "file" and not os.path.isfile(disk.host):
            raise ConfigError(f'vmm.devices.disk_files: "{disk.host}": no such file')


def _boot_files(plan: GuestPlan, run_dir: str) -> tuple[list[str], str, str]:
    """What was changed; and the kernel and initrd, as files that QEMU's user may read.

    A descriptor alone is not enough for these two: QEMU opens them by path, /proc/self/fd/N, and that asks for the
    file's own permissions. Distributions like to keep an initrd to root (mode 0600), and SELinux keeps QEMU out of
    /boot whatever the mode. So a QEMU that is not root gets copies.

    :raise ConfigError: one of them is not there, or cannot be read.
    """
    changed, found = [], []
    for key, path in (("kernel", plan.boot.kernel), ("initrd", plan.boot.initrd)):
        if not path:
            found.append("")
            continue
        where = f'vmm.boot.{key} = "{path}"'
        try:
            mode = os.stat(path).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError(f"{where}: not a file")
            if not plan.user:
                found.append(path)
                continue
            with open(path, "rb") as file:
                content = file.read()
        except OSError as error:
            raise ConfigError(f"{where}: {error.strerror}", "give the path of a file on this host") from None
        copy = os.path.join(run_dir, "boot", key)
        changed += _replace(copy, content, f"readable copy of the {key}", 0o644)
        found.append(copy)
    return changed, found[0], found[1]


def _replace(path: str, content: str | bytes, what: str, mode: int) -> list[str]:
    data = content.encode() if isinstance(content, str) else content
    try:
        with open(path, "rb") as file:
            if file.read() == data:
                return []
    except FileNotFoundError:
        pass  # the first time since this host booted
    atomic.write(path, data, mode)
    return [f"wrote the {what}: {path}"]
