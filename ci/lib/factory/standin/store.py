"""Keeps what is made of the stand-in OS, each thing under a digest of all that goes into it.

debs/           the Debian packages
converted/      an RPM for each of them, which all targets share
policy/         the RPMs of the policy, which all targets share
repositories/   a repository for each target, of hard links
new-*/          what is being made: whatever is interrupted stays there, and is removed the next time
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Callable, Iterable, Sequence

from factory.errors import FactoryError
from factory.programs import ProgramFailed, run
from factory.standin import closure, convert, names, own, policy
from factory.standin.closure import Deb
from factory.standin.layout import Layout
from factory.target import Target

# What decides how a Debian package is converted, and how the policy is packaged. Changing macros does neither.
CONVERSION = ("convert.py", "layout.py", "package.py", "unpack.py")
POLICY = ("policy.py", "package.py")


class Store:
    """What is kept below a directory, seen from one target.

    :ivar key: a digest of everything that goes into the target's repository
    :ivar repository: where that is, once it has been made
    """

    def __init__(self, target: Target, work: Path) -> None:
        debs = closure.debs(work, closure.apt_state())
        self._target = target
        self._work = work
        self._policy_debs = [deb for deb in debs if deb.name in names.POLICY]
        self._debs = [deb for deb in debs if deb.name not in names.POLICY]
        conversion = code(CONVERSION)
        self._rpms = {
            deb: work / "converted" / f"{deb.name}-{digest(conversion, repr(deb), names.of(deb.name))}.rpm"
            for deb in self._debs
        }
        self._policy = work / "policy" / digest(code(POLICY), policy.COMPATIBILITY.read_text(), repr(self._policy_debs))
        self.key = digest(target.name, code(sorted(all_code())), policy.COMPATIBILITY.read_text(), repr(debs))
        self.repository = work / "repositories" / f"{target.name}-{self.key}"

    def make(self, progress: Callable[[str], None]) -> None:
        """Make the repository, and what goes into it and is not there.

        :raise FactoryError: it cannot be made
        """
        for leftover in self._work.glob("new-*"):
            shutil.rmtree(leftover)
        for directory in ("debs", "converted", "policy", "repositories"):
            (self._work / directory).mkdir(exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=self._work, prefix="new-"))
        try:
            self._make(new, progress)
        finally:
            shutil.rmtree(new)
        self._forget()

    def _make(self, new: Path, progress: Callable[[str], None]) -> None:
        layout = Layout(convert.python_version(self._debs))
        unconverted = [deb for deb in self._debs if not self._rpms[deb].exists()]
        policy_wanted = not self._policy.exists()
        self._download([*unconverted, *(self._policy_debs if policy_wanted else ())], new, progress)
        if unconverted:
            progress(f"converting {len(unconverted)} Debian packages")
            (new / "converted").mkdir()
            convert.convert(unconverted, [self._file(deb) for deb in unconverted], layout, new / "converted")
            for deb in unconverted:
                (new / "converted" / f"{deb.name}.rpm").rename(self._rpms[deb])
        if policy_wanted:
            progress("linking Debian's SELinux policy")
            (new / "policy").mkdir()
            files = {deb.name: self._file(deb) for deb in self._policy_debs}
            policy.build(self._policy_debs[0], files, new / "policy")
            (new / "policy").rename(self._policy)
        progress(f"making the repository for {self._target.name}")
        (new / "repository").mkdir()
        everywhere = own.everywhere(layout.python, policy.version(self._policy_debs[0]))
        own.build([*everywhere, *own.of_target(self._target, layout.python)], new / "repository")
        for deb, rpm in self._rpms.items():
            os.link(rpm, new / "repository" / f"{deb.name}.rpm")
        for rpm in self._policy.iterdir():
            os.link(rpm, new / "repository" / rpm.name)
        run("createrepo_c", "--quiet", "--no-database", "--workers=2", new / "repository")
        (new / "repository").rename(self.repository)

    def _file(self, deb: Deb) -> Path:
        return self._work / "debs" / f"{deb.name}-{deb.sha256}.deb"

    def _download(self, debs: Iterable[Deb], new: Path, progress: Callable[[str], None]) -> None:
        """Fetch the packages that are not there; apt checks their digests.

        :raise FactoryError: apt cannot fetch them
        """
        missing = {deb.name: deb for deb in debs if not self._file(deb).exists()}
        if not missing:
            return
        progress(f"downloading {len(missing)} Debian packages")
        asked = [f"{deb.name}={deb.version}" for deb in missing.values()]
        (new / "debs").mkdir()
        try:
            # Not as the user _apt, who may not write where we may.
            run("apt-get", "-o", "APT::Sandbox::User=root", "--quiet", "download", *asked, cwd=new / "debs")
        except ProgramFailed as failure:
            why = closure.complaint(failure.output)
            raise FactoryError(f"apt cannot fetch the stand-in OS's packages: {why} (run: apt-get update)") from None
        for file in (new / "debs").glob("*.deb"):
            file.rename(self._file(missing[file.name.partition("_")[0]]))

    def _forget(self) -> None:
        """Remove what is no longer wanted for any target: an older closure, an older conversion."""
        kept = {*self._rpms.values(), self._policy, self.repository}
        kept.update(self._file(deb) for deb in (*self._debs, *self._policy_debs))
        others = re.compile(rf"(?!{re.escape(self._target.name)}-)")
        for directory in ("debs", "converted", "policy", "repositories"):
            for path in (self._work / directory).iterdir():
                if path in kept or (directory == "repositories" and others.match(path.name)):
                    continue
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()


def all_code() -> Iterable[str]:
    """Every file of this package, macros and programs included."""
    for path in own.HERE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield str(path.relative_to(own.HERE))


def code(files: Sequence[str]) -> str:
    """A digest of files of this package."""
    return digest(*(f"{file}\n{(own.HERE / file).read_text()}" for file in files))


def digest(*parts: str) -> str:
    """Sixteen hexadecimal digits that stand for some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
