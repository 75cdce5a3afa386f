"""What hal-host draws in, and how large that is: written down in specs/hal-host.footprint, and compared with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hostroot import HostRoot

_HEAD = """\
# What is on a host that has a minimal system and hal-host: the packages, and their files' size in KiB, largest first.
# Measured by the tests of the RPMs on the stand-in OS (Debian's packages under Debian's names; without a kernel), for
# comparison with the last time and not with EL. A change of the list fails the test: see there how it is accepted.
"""


@dataclass(frozen=True)
class Footprint:
    """Packages and their sizes in bytes."""

    packages: Mapping[str, int]

    @property
    def mebibytes(self) -> float:
        return sum(self.packages.values()) / 2**20

    def render(self) -> str:
        """As it is written down."""
        lines = [f"total  {self.mebibytes:.0f} MiB in {len(self.packages)} packages\n\n"]
        by_size = sorted(self.packages.items(), key=lambda item: (-item[1], item[0]))
        return _HEAD + "".join(lines + [f"{name}  {-(-size // 1024)}\n" for name, size in by_size])


def measure(host: HostRoot) -> Footprint:
    """What is installed in that root."""
    listed = host.run("rpm", "-qa", "--qf", "%{NAME} %{SIZE}\n")
    return Footprint({name: int(size) for name, size in (line.split() for line in listed.splitlines())})


def parse(text: str) -> Footprint:
    """What was written down."""
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith(("#", "total"))]
    return Footprint({name: int(size) * 1024 for name, size in lines})
