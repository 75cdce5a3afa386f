"""Which Debian packages the stand-in OS is made of: what apt would install on an empty machine.

Asking apt takes seconds, because it reads all of Debian's package lists. So the answer is kept, for as long as the
lists, the sources and what is asked for stay what they are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Mapping

from factory.errors import FactoryError
from factory.programs import ProgramFailed, run
from factory.standin import names

APT_LISTS = Path("/var/lib/apt/lists")
APT_SETTINGS = Path("/etc/apt")

# An empty status file: as if nothing were installed here, so that the answer is the same on every machine.
EMPTY_MACHINE = ("-o", "Dir::State::status=/dev/null")


@dataclass(frozen=True)
class Deb:
    """One Debian package of the closure.

    :ivar architecture: Debian's word for it: "amd64" or "all"
    :ivar requires: the packages of the closure that it depends on
    :ivar sha256: of the .deb file, hexadecimal
    """

    name: str
    version: str
    architecture: str
    requires: tuple[str, ...]
    sha256: str


def debs(cache: Path, apt_state: str) -> tuple[Deb, ...]:
    """The closure of :data:`names.SEEDS` without :data:`names.DROPPED`, sorted by name.

    :param cache: a directory to keep the answer in
    :param apt_state: the identity of apt's lists, from :func:`apt_state`
    :raise FactoryError: apt cannot say
    """
    question = hashlib.sha256(repr((apt_state, names.SEEDS, sorted(names.DROPPED))).encode()).hexdigest()
    kept = cache / f"closure-{question[:16]}.json"
    try:
        return tuple(Deb(**{**deb, "requires": tuple(deb["requires"])}) for deb in json.loads(kept.read_text()))
    except FileNotFoundError:
        pass
    answer = resolve()
    for old in cache.glob("closure-*.json"):
        old.unlink()
    half_written = kept.with_suffix(".new")
    half_written.write_text(json.dumps([dataclasses.asdict(deb) for deb in answer]))
    half_written.rename(kept)
    return answer


def apt_state(lists: Path = APT_LISTS, settings: Path = APT_SETTINGS) -> str:
    """Names, sizes and times of everything that apt's answer comes from.

    :raise FactoryError: apt has no package lists
    """
    indexes = [path for path in lists.glob("*_Packages*") if path.is_file()]
    if not indexes:
        raise FactoryError(f"{lists}: apt has no package lists; please run, as root: apt-get update")
    files = sorted([*indexes, *(path for path in settings.rglob("*") if path.is_file())])
    return repr([(str(path), status.st_size, status.st_mtime_ns) for path in files for status in (path.stat(),)])


def resolve() -> tuple[Deb, ...]:
    """Ask apt.

    :raise FactoryError: a package does not exist, or cannot be installed
    """
    try:
        simulated = run("apt-get", *EMPTY_MACHINE, "--simulate", "--no-install-recommends", "install", *names.SEEDS)
        versions = chosen_versions(simulated)
        asked = [f"{name}={version}" for name, version in versions.items()]
        shown = run("apt-cache", *EMPTY_MACHINE, "show", *asked)
    except ProgramFailed as failure:
        raise FactoryError(f"apt cannot resolve the stand-in OS: {complaint(failure.output)}") from None
    return select(versions, stanzas(shown))


def complaint(output: str) -> str:
    """The line that says why: apt's first error."""
    return next((line for line in output.splitlines() if line.startswith("E:")), "it does not say why")


def chosen_versions(simulated: str) -> dict[str, str]:
    """The packages that a simulation would install.

    >>> chosen_versions("Inst bash (5.2.15-2 Debian:12/oldstable [amd64]) []")
    {'bash': '5.2.15-2'}
    """
    return dict(re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", simulated, re.MULTILINE))


def stanzas(text: str) -> list[dict[str, str]]:
    r"""The records of apt-cache's output, without the lines that continue a field: nothing asked for here has any.

    >>> stanzas("Package: a\nVersion: 1\n\nPackage: b\n")
    [{'Package': 'a', 'Version': '1'}, {'Package': 'b'}]
    """
    return [dict(re.findall(r"^(\S+): (.*)$", stanza, re.MULTILINE)) for stanza in text.split("\n\n") if stanza.strip()]


def select(versions: Mapping[str, str], records: Iterable[Mapping[str, str]]) -> tuple[Deb, ...]:
    """The closure, from what apt would install and from what it knows about every package.

    :raise FactoryError: apt knows nothing of something that it would install
    """
    known: dict[str, Mapping[str, str]] = {}
    for record in records:
        if versions.get(record["Package"]) == record["Version"] and record["Package"] not in names.DROPPED:
            known.setdefault(record["Package"], record)
    missing = sorted(versions.keys() - known.keys() - names.DROPPED)
    if missing:
        raise FactoryError(f"apt would install {', '.join(missing)}, but apt-cache knows nothing of it")
    providers = {name: name for name in known}
    for name, record in sorted(known.items()):
        for provided in alternatives(record.get("Provides", "")):
            providers.setdefault(provided[0], name)
    return tuple(
        Deb(name, record["Version"], record["Architecture"], requirements(name, record, providers), record["SHA256"])
        for name, record in sorted(known.items())
    )


def requirements(name: str, record: Mapping[str, str], providers: Mapping[str, str]) -> tuple[str, ...]:
    """The packages that another one needs, each alternative decided: the first that is there."""
    found = set()
    for field in ("Pre-Depends", "Depends"):
        for choice in alternatives(record.get(field, "")):
            found.update([providers[wanted] for wanted in choice if wanted in providers][:1])
    return tuple(sorted(found - {name}))


def alternatives(field: str) -> list[list[str]]:
    """The names in a dependency field, without versions and architectures.

    >>> alternatives("libc6 (>= 2.34), debconf (>= 0.5) | debconf-2.0, python3:any")
    [['libc6'], ['debconf', 'debconf-2.0'], ['python3']]
    """
    return [re.findall(r"(?:^|\|)\s*([a-z0-9][a-z0-9.+-]*)", part) for part in field.split(",") if part.strip()]
