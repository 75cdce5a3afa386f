"""A root directory with an operating system in it, and the questions that tests ask about HAL in it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from factory import programs
from factory.chroot import Chroot
from factory.programs import Argument

ROOT = Path(__file__).resolve().parents[3]  # the checkout
WORK = ROOT / ".cache/rpms"  # what the factory keeps

#: Our packages on every host: what hal-host draws in, and itself.
OURS = {"hal-console", "hal-core", "hal-host", "hal-netcfg", "hal-selinux", "hal-udev", "hal-vmm"}
# A minimal system, as a kickstart with an empty %packages section leaves it.
MINIMAL = (
    *("bash", "coreutils", "dbus", "filesystem", "findutils", "glibc-minimal-langpack", "grep", "procps-ng", "rpm"),
    *("sed", "shadow-utils", "system-release", "systemd", "systemd-udev", "util-linux"),
)

EXPOSURE = 3.0  # the most that systemd-analyze security may say of a unit, of 10


class HostRoot:
    """One root."""

    def __init__(self, chroot: Chroot) -> None:
        self.chroot = chroot
        self.path = chroot.root

    @property
    def log(self) -> str:
        """What dnf and the packages' scriptlets have said."""
        return self.chroot.log.read_text(errors="replace") if self.chroot.log.exists() else ""

    def dnf(self, *arguments: Argument) -> None:
        self.chroot.dnf(*arguments)

    def run(self, *argv: Argument) -> str:
        """Run a program in the root, as root; :raise ProgramFailed: it failed."""
        return self.chroot.run(*argv, user=0)

    def says(self, *argv: Argument) -> str:
        """What a program in the root writes to standard output and error, whatever its exit status is."""
        try:
            return self.run("sh", "-c", 'exec "$@" 2>&1', "sh", *argv)
        except programs.ProgramFailed as error:
            return error.output

    def ours(self) -> dict[str, str]:
        """The installed packages of HAL, and their versions."""
        listed = self.run("rpm", "-qa", "--qf", "%{NAME} %{VERSION}-%{RELEASE}\n")
        packages = dict(line.split(" ", 1) for line in listed.splitlines())
        return {name: version for name, version in packages.items() if name.startswith("hal-")}

    def files(self) -> set[str]:
        """The paths of everything in the root, but for what programs keep about themselves and what is in memory."""
        apart = ("run", "proc", "sys", "dev", "tmp", "var/log", "var/cache", "var/lib/rpm", "var/lib/dnf", "var/tmp")
        found: set[str] = set()
        for directory, directories, files in os.walk(self.path):
            below = os.path.relpath(directory, self.path)
            directories[:] = [name for name in directories if os.path.normpath(f"{below}/{name}") not in apart]
            found.update(os.path.normpath(f"{below}/{name}") for name in (*directories, *files))
        return found

    def units(self, *kinds: str) -> list[str]:
        """The paths of our units of these kinds."""
        directory = self.path / "usr/lib/systemd/system"
        found = [path.name for kind in kinds for path in sorted(directory.glob(f"hal*.{kind}"))]
        return [f"/usr/lib/systemd/system/{name}" for name in found if name[3] in "-."]  # halt.target is systemd's

    # --- each of these returns what is wrong; nothing is wrong with an empty answer -----------------------------------

    def units_that_do_not_verify(self) -> str:
        """What systemd's own check says about our units."""
        return self.says("systemd-analyze", "verify", "--man=no", *self.units("service", "target"))

    def exposed_units(self) -> str:
        """The units of ours that can do more harm than they may."""
        exposed = ""
        for service in self.units("service"):
            said = self.says("systemd-analyze", "security", "--offline=true", "--no-pager", service)
            match = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
            if match is None or float(match[1]) > EXPOSURE:
                exposed += f"{service}: {match[1] if match else said}\n"
        return exposed

    def changed_files(self) -> str:
        """What rpm finds to differ from what it installed."""
        return self.says("rpm", "-V", *self.ours())
