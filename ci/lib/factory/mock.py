"""Builds one package with mock, from the configurations in mock-configs/."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

from factory import programs
from factory.errors import FactoryError
from factory.target import Target


def configuration(directory: Path, target: Target, architecture: str = platform.machine()) -> Path:
    """The configuration for that target and processor.

    :raise FactoryError: there is none
    """
    family = f"fedora-{target.version}" if target.family == "fedora" else target.name
    path = directory / f"hal-{family}-{architecture}.cfg"
    if not path.exists():
        there = ", ".join(sorted(other.stem for other in directory.glob("hal-*.cfg"))) or "none"
        raise FactoryError(f"{path}: there is no such mock configuration; there are: {there}")
    return path


def rebuild(config: Path, source_rpm: Path, result: Path, own: Sequence[Path]) -> None:
    """Build a source RPM.

    :param result: an empty directory, for the RPMs and mock's logs
    :param own: repositories with those of our packages that it needs
    :raise ProgramFailed: it does not build; build.log and root.log are in the result
    """
    repositories = [f"--addrepo=file://{directory.resolve()}" for directory in own]
    programs.run("mock", "--root", config, "--resultdir", result, *repositories, "--rebuild", source_rpm)
