"""The checkout as git sees it: what a source archive is made from.

Files that are not committed yet are taken as they are; ignored ones are not. Nothing is written to the checkout or its
.git: root, for whom the factory often runs, would leave files there that its owner cannot replace.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from factory import programs
from factory.errors import FactoryError


@dataclass(frozen=True)
class Entry:
    """A file or directory of the tree: its kind, its content's name, and its path below the checkout."""

    mode: str
    kind: str
    content: str
    path: str


class Checkout:
    """A snapshot of the checkout at the moment when this was made.

    :param root: the checkout
    :param work: a directory for git's objects
    :raise FactoryError: this is not a git checkout
    """

    def __init__(self, root: Path, work: Path) -> None:
        self.root = root
        self._objects = work / "objects"
        self._objects.mkdir(parents=True, exist_ok=True)
        try:
            git_directory = Path(self.git("rev-parse", "--absolute-git-dir").strip())
        except programs.ProgramFailed as error:
            raise FactoryError(f"{root}: source archives are made with git, and git says: {error}") from None
        self._environment = {
            "GIT_OBJECT_DIRECTORY": os.fspath(self._objects),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": self.git("rev-parse", "--git-path", "objects").strip(),
            "GIT_INDEX_FILE": os.fspath(work / f"index.{os.getpid()}"),
        }
        index = Path(self._environment["GIT_INDEX_FILE"])
        try:
            if (git_directory / "index").exists():
                shutil.copy(git_directory / "index", index)
            self.git("add", "--all")
            self.tree = self.git("write-tree").strip()
        finally:
            index.unlink(missing_ok=True)

    _environment: Optional[dict[str, str]] = None

    def git(self, *arguments: str, log: Optional[Path] = None) -> str:
        """Run git in the checkout, whoever owns it."""
        trusted = ("-c", f"safe.directory={self.root}", "-C", os.fspath(self.root))
        return programs.run("git", *trusted, *arguments, environment=self._environment, log=log)

    def has_uncommitted(self) -> bool:
        """Whether the snapshot differs from the newest commit."""
        return self.tree != self.git("rev-parse", "HEAD^{tree}").strip()

    def entries(self, directory: str, recursive: bool = False) -> list[Entry]:
        """What is in a directory of the snapshot; nothing, when there is no such directory."""
        options = ["-r"] if recursive else []
        listed = self.git("ls-tree", "-z", *options, self.tree, "--", f"{directory}/")
        found = []
        for line in filter(None, listed.split("\0")):
            meta, path = line.split("\t", 1)
            mode, kind, name = meta.split()
            found.append(Entry(mode, kind, name, path))
        return found

    def content(self, path: str) -> Optional[str]:
        """The name of a file's or directory's content: the same name means the same content. None: no such path."""
        listed = self.git("ls-tree", "-z", self.tree, "--", path)
        return listed.split("\t", 1)[0].split()[2] if listed else None

    def archive(self, directory: str, prefix: str, date: int, archive: Path) -> None:
        """Write a .tar.gz of a directory of the snapshot, with the LICENSE of the checkout.

        The same content and date give the same archive, to the byte (with the same git).

        :param date: the time of every file in it, in seconds since 1970
        """
        licence = self.git("ls-tree", self.tree, "--", "LICENSE")
        lines = licence + "".join(
            f"{entry.mode} {entry.kind} {entry.content}\t{os.path.basename(entry.path)}\n"
            for entry in self.entries(directory)
        )
        listing = archive.with_suffix(".tree")
        listing.write_text(lines)
        tree = programs.run("git", "-C", self.root, "mktree", environment=self._environment, standard_input=listing)
        listing.unlink()
        # A commit, because git dates an archive by the commit that it is made from.
        person = {
            "GIT_AUTHOR_NAME": "HAL",
            "GIT_AUTHOR_EMAIL": "",
            "GIT_COMMITTER_NAME": "HAL",
            "GIT_COMMITTER_EMAIL": "",
        }
        dates = {"GIT_AUTHOR_DATE": f"{date} +0000", "GIT_COMMITTER_DATE": f"{date} +0000"}
        commit = programs.run(
            *("git", "-C", self.root, "commit-tree", "-m", directory, tree.strip()),
            environment={**(self._environment or {}), **person, **dates},
        ).strip()
        self.git("archive", "--format=tar.gz", f"--prefix={prefix}/", f"--output={archive}", commit)
