"""Which operating system a package is built for: el9, el10, fc43, …"""

from __future__ import annotations

import re
from dataclasses import dataclass

from factory.errors import FactoryError


@dataclass(frozen=True)
class Target:
    """One release of one family.

    :ivar name: as in RPM's %dist: "el9", "fc43"
    :ivar family: "el" or "fedora"
    :ivar version: the release number
    """

    name: str
    family: str
    version: int

    @property
    def dist(self) -> str:
        """RPM's %dist."""
        return f".{self.name}"

    @property
    def rpm_creates_users(self) -> bool:
        """Whether rpm reads sysusers.d itself: since 4.20, which is Fedora 42's and will be EL 11's."""
        return self.version >= (42 if self.family == "fedora" else 11)


def parse(name: str) -> Target:
    """The target of that name.

    :raise FactoryError: the name is not one of el9, el10, … or fc43, fc44, …
    """
    match = re.fullmatch(r"(el|fc)([0-9]{1,2})", name)
    if match is None or (match[1] == "el" and int(match[2]) < 9) or (match[1] == "fc" and int(match[2]) < 41):
        raise FactoryError(f'target "{name}": there are el9, el10 and later, fc41 and later')
    return Target(name, "el" if match[1] == "el" else "fedora", int(match[2]))
