"""Where a target's own packages come from.

On EL and Fedora: from the repositories that the machine itself uses, for its own release. On Debian: from the stand-in
OS (:mod:`factory.standin`), Debian's packages in RPMs under EL's names.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from factory import standin
from factory.errors import FactoryError
from factory.target import Target

# As mock-core-configs' chroot_setup_cmd, which is what koji starts from, too.
BUILD_ROOT = (
    *("bash", "bzip2", "coreutils", "cpio", "diffutils", "findutils", "gawk", "glibc-minimal-langpack", "grep", "gzip"),
    *("patch", "redhat-rpm-config", "rpm-build", "sed", "shadow-utils", "system-release", "tar", "unzip", "util-linux"),
    *("which", "xz"),
)


@dataclass(frozen=True)
class Distribution:
    """A source of packages for one target.

    :ivar repository: a directory that is a dnf repository; None: the machine's own configuration
    :ivar key: the same key means the same packages
    :ivar home: dnf's HOME
    """

    target: Target
    repository: Optional[Path]
    key: str
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """For dnf. Debian's rpm looks for the database of packages somewhere else than EL's: HOME has a .rpmmacros."""
        return {"HOME": os.fspath(self.home)}

    def dnf(self, root: Path, extra: Sequence[Path] = ()) -> list[str]:
        """How dnf is run on that root.

        :param extra: further repositories, preferred to the distribution's
        """
        command = [
            *("dnf", "--assumeyes", f"--installroot={root}", f"--releasever={self.target.version}"),
            *("--setopt=install_weak_deps=False", "--setopt=tsflags=nodocs"),
        ]
        for number, directory in enumerate(extra):
            name = f"hal{number}"
            command += [
                f"--repofrompath={name},{directory}",
                f"--setopt={name}.gpgcheck=0",
                f"--setopt={name}.priority=1",
            ]
            command += [f"--setopt={name}.metadata_expire=0"]
        if self.repository is not None:
            command += ["--setopt=reposdir=/dev/null", f"--repofrompath=standin,{self.repository}"]
            # Debian's dnf also keeps a repository of whatever it has installed, from whatever target.
            command += ["--nogpgcheck", "--disableplugin=local", "--setopt=standin.metadata_expire=0"]
        return command


def find(target: Target, work: Path, progress: Callable[[str], None]) -> Distribution:
    """The source of packages for that target, on this machine. On Debian it is made first: about a minute.

    :param work: where it is kept
    :raise FactoryError: this machine has none for that target
    """
    home = work / "home"
    home.mkdir(parents=True, exist_ok=True)
    if is_debian():
        if not (home / ".rpmmacros").exists():  # never half-written: another dnf may be reading it
            partial = home / f".rpmmacros.{os.getpid()}"
            partial.write_text("%_dbpath /var/lib/rpm\n")
            partial.replace(home / ".rpmmacros")
        repository = standin.repository(target, work / "standin", progress)
        return Distribution(target, repository, standin.key(target, work / "standin"), home)
    if shutil.which("dnf") is None:
        raise FactoryError("clean roots are made with dnf, and there is none; with mock installed, use --mock")
    here = host_target()
    if here != target.name:
        raise FactoryError(
            f"this machine's repositories are {here}'s, not {target.name}'s: use --target {here}, or --mock"
        )
    return Distribution(target, None, f"{here} as of its repositories", home)


def is_debian() -> bool:
    """Whether packages come from apt here."""
    return Path("/etc/debian_version").exists()


def host_target() -> Optional[str]:
    """This machine as a target: "el9", "fc43"; None for any other."""
    release = os_release(Path("/etc/os-release"))
    version = release.get("VERSION_ID", "").partition(".")[0]
    if release.get("ID") == "fedora":
        return f"fc{version}"
    if "rhel" in (release.get("ID", ""), *release.get("ID_LIKE", "").split()):
        return f"el{version}"
    return None


def os_release(path: Path) -> dict[str, str]:
    """The values of an os-release(5) file; none, if there is no such file."""
    if not path.exists():
        return {}
    pairs = (line.partition("=") for line in path.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return {name: value.strip("\"'") for name, _, value in pairs}
