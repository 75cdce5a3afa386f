"""The sources of a package: an archive of its directory, files of it that a spec names, and upstream archives.

What a spec names as a source is, in this order:
  NAME-VERSION.tar.gz    packages/NAME of the checkout, with the checkout's LICENSE
  a file name            that file, wherever it is in packages/NAME or in specs/ (a patch, a sysusers file)
  a line in NAME.sources the upstream archive with that SHA-256, from the Python package index
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import urllib.parse
import urllib.request
from pathlib import Path

from factory.checkout import Checkout
from factory.errors import FactoryError
from factory.spec import Spec

_INDEX = "https://pypi.org/simple"
_JSON = "application/vnd.pypi.simple.v1+json"  # PEP 691
_PATIENCE = 60  # seconds


def content(checkout: Checkout, spec: Spec) -> list[str]:
    """What the sources of a package are, as text: the same lines mean the same sources.

    :raise FactoryError: a source is nowhere
    """
    lines = [f"{spec.path.name} {checkout.content(f'specs/{spec.path.name}')}"]
    for name in spec.sources:
        if name == archive_name(spec):
            lines.append(f"{name} {checkout.content(directory(spec))} {checkout.content('LICENSE')}")
        elif name in pinned(spec):
            lines.append(f"{name} {pinned(spec)[name]}")
        else:
            lines.append(f"{name} {checkout.content(find(checkout, spec, name))}")
    return lines


def collect(checkout: Checkout, spec: Spec, place: Path, downloads: Path) -> None:
    """Put all sources of a package into a directory.

    :param downloads: where upstream archives are kept
    :raise FactoryError: a source is nowhere, or cannot be had
    """
    for name in spec.sources:
        if name == archive_name(spec):
            checkout.archive(directory(spec), f"{spec.name}-{spec.version}", spec.changed, place / name)
        elif name in pinned(spec):
            (place / name).write_bytes(upstream(name, pinned(spec)[name], downloads))
        else:
            (place / name).write_text(checkout.git("cat-file", "blob", f"{checkout.tree}:{find(checkout, spec, name)}"))


def archive_name(spec: Spec) -> str:
    """What the archive of the package's own directory is called."""
    return f"{spec.name}-{spec.version}.tar.gz"


def directory(spec: Spec) -> str:
    """The package's own directory, below the checkout."""
    return f"packages/{spec.name}"


def find(checkout: Checkout, spec: Spec, name: str) -> str:
    """The path of a source that is a file of the checkout.

    :raise FactoryError: there is none of that name, or more than one
    """
    entries = [*checkout.entries(directory(spec), recursive=True), *checkout.entries("specs", recursive=True)]
    found = [entry.path for entry in entries if os.path.basename(entry.path) == name]
    if len(found) == 1:
        return found[0]
    where = f"{directory(spec)} or specs" if not found else " and ".join(found)
    problem = "there is no such file in" if not found else "there is more than one:"
    raise FactoryError(
        f"specs/{spec.path.name}: source {name}: {problem} {where}, and specs/{spec.name}.sources has none"
    )


def pinned(spec: Spec) -> dict[str, str]:
    """The upstream archives of a package, and their SHA-256.

    :raise FactoryError: a line of its file is not "NAME SHA-256"
    """
    path = spec.path.with_suffix(".sources")
    if not path.exists():
        return {}
    hashes = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"(\S+)\s+([0-9a-f]{64})", line.strip())
        if match is None:
            raise FactoryError(
                f'{path}: line {number}: "{line}" is not a file name and a SHA-256 (64 hexadecimal digits)'
            )
        hashes[match[1]] = match[2]
    return hashes


def upstream(name: str, sha256: str, downloads: Path) -> bytes:
    """An upstream archive: kept from an earlier time, or from the Python package index (PIP_INDEX_URL, when it is set).

    :raise FactoryError: it cannot be had, or is not what it should be
    """
    kept = downloads / f"{sha256}.{name}"
    if kept.exists():
        return kept.read_bytes()
    index = os.environ.get("PIP_INDEX_URL", _INDEX).rstrip("/")
    project = re.sub(r"[-_.]+", "-", name.rpartition("-")[0]).lower()  # PEP 503
    try:
        listing = json.loads(fetch(f"{index}/{project}/", _JSON))
        urls = [str(file["url"]) for file in listing["files"] if file["filename"] == name]
        if not urls:
            raise FactoryError(f"{index}/{project}/ does not have {name}")
        data = fetch(urllib.parse.urljoin(f"{index}/{project}/", urls[0]), "*/*")
    except (OSError, ValueError, KeyError) as error:
        raise FactoryError(
            f"cannot fetch {name} from {index}: {error}; put it into {downloads} as {kept.name}"
        ) from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise FactoryError(f"{name} from {index} has SHA-256 {found}, but {sha256} is expected: it was not used")
    downloads.mkdir(parents=True, exist_ok=True)
    partial = kept.with_name(f".{kept.name}.{os.getpid()}")
    partial.write_bytes(data)
    partial.replace(kept)
    return data


def fetch(url: str, accept: str) -> bytes:
    """What is at that address; https only, unless the person's own index is not."""
    if not url.startswith(("https://", "http://", "file://")):
        raise ValueError(f"{url} is no web address")
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
        return bytes(answer.read())
