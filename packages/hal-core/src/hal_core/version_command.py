"""``hal version``: what runs on this server, and whether it is still what was installed."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterable
from typing import Any

from hal_core import cli, rpmdb, table, versions
from hal_core.errors import HostError
from hal_core.rpmdb import Change
from hal_core.versions import Installed, Versions

_EPILOG = """\
examples:
  hal version                         what is installed, and what it stands on
  hal version --verify                and which of HAL's files are not as they were installed
  hal version --json | jq -r '.packages[] | .name + " " + .version'

Changed configuration files are shown by --verify, but are no failure: they are there to be changed.

Exit status: 0 done, 1 failed or --verify found a difference, 2 usage. See hal(1).
"""


def main(arguments: list[str]) -> int:
    """The command; returns its exit status.

    :raise HostError: ``--verify`` where no HAL package came from an RPM, or rpm cannot be asked.
    """
    options = _parser().parse_args(arguments)
    found = versions.read()
    changes = _verify(found) if options.verify else None
    if options.json:
        import json  # only here: it would be felt

        print(json.dumps(to_json(found, changes), indent=2))
    else:
        print(render(found, changes))
    return int(any(not change.config for change in changes or ()))


def _verify(found: Versions) -> tuple[Change, ...]:
    if found.rpm_problem is None and not any(package.source == "RPM" for package in found.packages):
        raise HostError("no HAL package was installed from an RPM: there is nothing to compare with")
    return rpmdb.changes(versions.PACKAGES)


def to_json(found: Versions, changes: tuple[Change, ...] | None) -> dict[str, Any]:
    """Everything, with times in ISO 8601; ``changes`` is null unless they were looked for."""
    packages = [{**dataclasses.asdict(package), "installed": _iso(package.installed)} for package in found.packages]
    listed = None if changes is None else [dataclasses.asdict(change) for change in changes]
    return {**dataclasses.asdict(found), "packages": packages, "changes": listed}


def render(found: Versions, changes: tuple[Change, ...] | None) -> str:
    """The report for people, without a trailing newline."""
    sections = [_packages(found), _lines(_platform(found))]
    if found.services:
        rows = [(service.service, service.pid, service.context) for service in found.services]
        sections.append(table.render(("service", "pid", "SELinux context"), rows))
    if changes is not None:
        sections.append(_changes(changes))
    return "\n\n".join(sections)


def _packages(found: Versions) -> str:
    if not found.packages:
        return f"No HAL package is installed here: this is {found.code}"
    rows = [(package.name, package.version, _local(package.installed), _source(package)) for package in found.packages]
    return table.render(("package", "version", "installed", "from"), rows)


def _source(package: Installed) -> str:
    if package.place is None:
        return package.source
    return f"a checkout, {package.place}" if package.source == "checkout" else f"{package.source}, {package.place}"


def _platform(found: Versions) -> Iterable[tuple[str, str]]:
    """Name and value of each line; the empty ones are left out."""
    yield "OS", found.os or "unknown"
    yield "Kernel", found.kernel
    yield "QEMU", found.qemu or "not from an RPM"
    yield "SELinux", _selinux(found)
    if found.code_from_rpm is False and any(package.source == "RPM" for package in found.packages):
        yield "Warning", f"this command is not the RPMs': it runs from {found.code}"
    yield "Note", found.rpm_problem or ""


def _selinux(found: Versions) -> str:
    if found.selinux.mode == "unknown":
        return "unknown (python3-libselinux is not installed, or its filesystem is not mounted)"
    if found.selinux.policy is None:
        return found.selinux.mode
    if found.policy_modules is None:
        modules = "which modules, only root may know"
    else:
        modules = "modules " + ", ".join(found.policy_modules) if found.policy_modules else "no module of HAL"
    return f"{found.selinux.mode}, {found.selinux.policy} policy, {modules}"


def _changes(changes: tuple[Change, ...]) -> str:
    if not changes:
        return "Every file is as it was installed."
    rows = [(change.path, ", ".join(change.what), "configuration" if change.config else "") for change in changes]
    return table.render(("changed file", "what", "kind"), rows)


def _lines(lines: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"{name + ':':10}{value}" for name, value in lines if value)


def _local(seconds: int | None) -> str:
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _iso(seconds: int | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hal version",
        description="Show what runs here: HAL's packages, the OS, its kernel, QEMU, and SELinux.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print everything that is known, as JSON")
    parser.add_argument("--verify", action="store_true", help="compare every file of HAL with what was installed")
    return parser


if __name__ == "__main__":
    sys.exit(cli.run("hal-version", main))
