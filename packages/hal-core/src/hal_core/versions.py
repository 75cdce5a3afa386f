"""What runs on this server: HAL's packages, and what they stand on. Read-only; nothing here is slow."""

from __future__ import annotations

import glob
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

import hal_core
from hal_core import rpmdb, selinux_status
from hal_core.errors import HostError
from hal_core.selinux_status import SELinux

PACKAGES = "hal-*"  # the names of HAL's own RPMs

# The same places as hal-vmm's, as far as an RPM may own them.
_QEMU = ("/usr/libexec/qemu-kvm", f"/usr/bin/qemu-system-{os.uname().machine}", "/usr/bin/qemu-kvm")
_POLICY_MODULES = "hal"
_CGROUPS = "/sys/fs/cgroup"
_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")  # os-release(5): the first that is there


@dataclass(frozen=True)
class Installed:
    """One of HAL's packages."""

    name: str
    version: str  # with the release, where it comes from an RPM
    arch: Optional[str]
    installed: Optional[int]  # when, in seconds since 1970, UTC; None unless it comes from an RPM
    source: str  # "RPM", "checkout" or "pip"
    place: Optional[str]  # the directory of what did not come from an RPM


@dataclass(frozen=True)
class Confined:
    """A process of one of HAL's services, and what SELinux takes it for."""

    service: str  # "hal-qemu.service"
    pid: int
    context: Optional[str]  # None if it has ended meanwhile


@dataclass(frozen=True)
class Versions:
    """Everything that ``hal version`` shows."""

    packages: tuple[Installed, ...]
    code: str  # the directory of the modules that are running now
    code_from_rpm: Optional[bool]  # whether they belong to an RPM; None where rpm cannot be asked
    rpm_problem: Optional[str]  # why rpm could not be asked
    os: Optional[str]  # "AlmaLinux 9.6 (Sage Margay)"
    kernel: str  # "5.14.0-570.el9.x86_64"
    qemu: Optional[str]  # the RPM that QEMU comes from; None if it comes from none
    selinux: SELinux
    policy_modules: Optional[tuple[str, ...]]  # HAL's; None if only root may know, or SELinux is off
    services: tuple[Confined, ...]  # while SELinux is enabled


def read() -> Versions:
    """This server's versions. What cannot be known is left out; nothing is raised for it."""
    packages: list[Installed] = []
    code = os.path.dirname(os.path.abspath(hal_core.__file__))
    from_rpm = problem = qemu = None
    try:
        packages += [_from_rpm(package) for package in rpmdb.installed(PACKAGES)]
        from_rpm = bool(packages) and rpmdb.owner(hal_core.__file__) is not None
        qemu = _qemu()
    except HostError as error:
        problem = str(error)
    if not from_rpm:
        packages += _from_metadata(os.path.dirname(code))
    selinux = selinux_status.read()
    enabled = selinux.policy is not None
    return Versions(
        packages=tuple(packages),
        code=code,
        code_from_rpm=from_rpm,
        rpm_problem=problem,
        os=_os_name(),
        kernel=os.uname().release,
        qemu=qemu,
        selinux=selinux,
        policy_modules=selinux_status.modules(selinux.policy, _POLICY_MODULES) if selinux.policy else None,
        services=tuple(_services()) if enabled else (),
    )


def _from_rpm(package: rpmdb.Package) -> Installed:
    return Installed(package.name, package.evr, package.arch, package.installed, "RPM", None)


def _from_metadata(directory: str) -> Iterator[Installed]:
    """HAL's packages as Python sees them, in a working tree or beside the modules that are running now."""
    import importlib.metadata  # only here: it takes as long as all the rest

    found: dict[str, tuple[str, str, str]] = {}
    for distribution in importlib.metadata.distributions():
        name = (distribution.metadata["Name"] or "").replace("_", "-")
        checkout = _checkout(distribution.read_text("direct_url.json"))
        place = checkout or os.path.abspath(str(distribution.locate_file("")))
        if name.startswith("hal-") and (checkout or place == directory):
            found.setdefault(name, (distribution.version, "checkout" if checkout else "pip", place))
    for name, (version, source, place) in sorted(found.items()):
        yield Installed(name, version, None, None, source, place)


def _checkout(direct_url: Optional[str]) -> Optional[str]:
    """The directory that an editable installation points to (packaging.python.org, "Direct URL Data Structure")."""
    import json

    origin = json.loads(direct_url) if direct_url else {}
    editable = origin.get("dir_info", {}).get("editable", False)
    return str(origin["url"])[len("file://") :] if editable else None


def _qemu() -> Optional[str]:
    for path in _QEMU:
        package = rpmdb.owner(path) if os.path.exists(path) else None
        if package:
            return package.nevra
    return None


def _os_name() -> Optional[str]:
    for path in _OS_RELEASE:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return os_name(file.read())
        except FileNotFoundError:
            continue
    return None


def os_name(os_release: str) -> Optional[str]:
    """``PRETTY_NAME`` of an os-release(5) file, whose values are quoted as in a shell."""
    for line in os_release.splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            try:
                return " ".join(shlex.split(value))
            except ValueError:  # a quote that is never closed
                return value
    return None


def _services() -> Iterator[Confined]:
    """The processes of HAL's services, as their control groups list them."""
    for path in sorted(glob.glob(f"{_CGROUPS}/*.slice/hal-*.service/cgroup.procs")):
        service = os.path.basename(os.path.dirname(path))
        try:
            with open(path, encoding="ascii") as file:
                pids = [int(line) for line in file]
        except OSError:  # the service has ended meanwhile
            continue
        for pid in pids:
            yield Confined(service, pid, selinux_status.of_process(pid))
