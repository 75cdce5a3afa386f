"""Sources: what is in the archive of a package, and that it is the same each time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Callable

import pytest

from factory import source
from factory.checkout import Checkout
from factory.errors import FactoryError
from factory.spec import Spec

DATE = 1_700_000_000


def git(root: Path, *arguments: str) -> str:
    names = {f"GIT_{role}_{what}": "x@y.invalid" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", "-C", root, *arguments], capture_output=True, text=True, check=True, env={**os.environ, **names}
    )
    return done.stdout


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with one package."""
    root = tmp_path / "checkout"
    for name, text in {
        "LICENSE": "do as you like",
        ".gitignore": "*.pyc",
        "packages/hal-x/setup.cfg": "[metadata]",
        "packages/hal-x/src/hal_x.py": "print(1)",
        "packages/hal-x/sysusers/hal-x.sysusers": "u hal-x",
        "specs/hal-x.spec": "Name: hal-x",
        "elsewhere/hal-x.patch": "not for us",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(root.parent, "init", "-q", str(root))
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    return root


@pytest.fixture
def snapshot(root: Path, tmp_path: Path) -> Callable[[], Checkout]:
    return lambda: Checkout(root, tmp_path / "work")


def spec(root: Path, *sources: str) -> Spec:
    return Spec(root / "specs/hal-x.spec", "hal-x", "1.2", "1", sources, (), ("hal-x",), DATE)


def collect(checkout: Checkout, wanted: Spec, tmp_path: Path) -> Path:
    place = tmp_path / "sources"
    place.mkdir(exist_ok=True)
    source.collect(checkout, wanted, place, tmp_path / "downloads")
    return place


def test_the_archive_has_the_package_and_the_licence(
    root: Path, snapshot: Callable[[], Checkout], tmp_path: Path
) -> None:
    place = collect(snapshot(), spec(root, "hal-x-1.2.tar.gz"), tmp_path)
    with tarfile.open(place / "hal-x-1.2.tar.gz") as archive:
        files = {member.name for member in archive.getmembers() if member.isfile()}
        assert {member.mtime for member in archive.getmembers()} == {DATE}
    names = ("LICENSE", "setup.cfg", "src/hal_x.py", "sysusers/hal-x.sysusers")
    assert files == {f"hal-x-1.2/{name}" for name in names}


def test_the_same_content_gives_the_same_archive(root: Path, snapshot: Callable[[], Checkout], tmp_path: Path) -> None:
    wanted = spec(root, "hal-x-1.2.tar.gz")
    first = (collect(snapshot(), wanted, tmp_path) / "hal-x-1.2.tar.gz").read_bytes()
    content = source.content(snapshot(), wanted)
    git(root, "commit", "-q", "--allow-empty", "-m", "another commit, the same files")
    (root / "elsewhere/new").write_text("another package's")
    assert (collect(snapshot(), wanted, tmp_path) / "hal-x-1.2.tar.gz").read_bytes() == first
    assert source.content(snapshot(), wanted) == content


@pytest.mark.parametrize("path", ["packages/hal-x/src/hal_x.py", "packages/hal-x/new", "LICENSE", "specs/hal-x.spec"])
def test_any_change_changes_the_content(path: str, root: Path, snapshot: Callable[[], Checkout]) -> None:
    wanted = spec(root, "hal-x-1.2.tar.gz")
    before = source.content(snapshot(), wanted)
    (root / path).write_text("changed")
    assert source.content(snapshot(), wanted) != before


def test_what_is_not_committed_is_taken_and_what_is_ignored_is_not(
    root: Path, snapshot: Callable[[], Checkout], tmp_path: Path
) -> None:
    assert not snapshot().has_uncommitted()
    (root / "packages/hal-x/src/hal_x.pyc").write_text("")
    assert not snapshot().has_uncommitted()
    (root / "packages/hal-x/src/new.py").write_text("")
    assert snapshot().has_uncommitted()
    place = collect(snapshot(), spec(root, "hal-x-1.2.tar.gz"), tmp_path)
    with tarfile.open(place / "hal-x-1.2.tar.gz") as archive:
        assert {name for name in archive.getnames() if "src/" in name} == {
            "hal-x-1.2/src/hal_x.py",
            "hal-x-1.2/src/new.py",
        }


def test_nothing_is_written_to_the_checkout(root: Path, snapshot: Callable[[], Checkout], tmp_path: Path) -> None:
    def everything() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    (root / "packages/hal-x/new").write_text("not committed")
    before = everything()
    collect(snapshot(), spec(root, "hal-x-1.2.tar.gz"), tmp_path)
    assert everything() == before


def test_a_file_of_the_package_is_found_by_its_name(
    root: Path, snapshot: Callable[[], Checkout], tmp_path: Path
) -> None:
    place = collect(snapshot(), spec(root, "hal-x.sysusers"), tmp_path)
    assert (place / "hal-x.sysusers").read_text() == "u hal-x"


def test_a_source_that_is_nowhere_or_twice_is_refused(root: Path, snapshot: Callable[[], Checkout]) -> None:
    with pytest.raises(FactoryError, match=r"specs/hal-x\.spec: source hal-x\.patch: there is no such file"):
        source.content(snapshot(), spec(root, "hal-x.patch"))
    (root / "packages/hal-x/other").mkdir()
    (root / "packages/hal-x/other/hal-x.sysusers").write_text("u other")
    with pytest.raises(FactoryError, match=r"more than one: .*/other/hal-x\.sysusers and .*/sysusers/hal-x\.sysusers"):
        source.content(snapshot(), spec(root, "hal-x.sysusers"))


def test_what_is_no_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match=r"git says: .* not a git repository"):
        Checkout(tmp_path, tmp_path / "work")


# --- upstream archives: the package index is a directory here, with the answer that PEP 691 describes -----------------


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "index/upstream"
    directory.mkdir(parents=True)
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "index").as_uri())
    monkeypatch.setattr(source, "fetch", lambda url, accept: fake_fetch(url))
    return directory


def fake_fetch(url: str) -> bytes:
    """A fake of the network: only file: addresses, and a directory's listing is its index.json."""
    path = Path(url.removeprefix("file://"))
    return (path / "index.json" if url.endswith("/") else path).read_bytes()


def pin(root: Path, index: Path, data: bytes, served: bytes) -> Spec:
    """A spec with an archive of that content pinned, and an index that serves another or the same."""
    (index / "up_stream-1.tar.gz").write_bytes(served)
    (index / "index.json").write_text('{"files": [{"filename": "up_stream-1.tar.gz", "url": "up_stream-1.tar.gz"}]}')
    index.rename(index.with_name("up-stream"))
    (root / "specs/hal-x.sources").write_text(f"# pinned\nup_stream-1.tar.gz  {hashlib.sha256(data).hexdigest()}\n")
    return spec(root, "up_stream-1.tar.gz")


def test_an_upstream_archive_is_fetched_once(
    root: Path, snapshot: Callable[[], Checkout], index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = pin(root, index, b"good", b"good")
    assert (collect(snapshot(), wanted, tmp_path) / "up_stream-1.tar.gz").read_bytes() == b"good"

    def no_network(url: str, accept: str) -> bytes:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(source, "fetch", no_network)
    assert (collect(snapshot(), wanted, tmp_path) / "up_stream-1.tar.gz").read_bytes() == b"good"


def test_an_archive_of_another_content_is_refused(
    root: Path, snapshot: Callable[[], Checkout], index: Path, tmp_path: Path
) -> None:
    wanted = pin(root, index, b"good", b"evil")
    with pytest.raises(FactoryError, match="is expected: it was not used"):
        collect(snapshot(), wanted, tmp_path)
    assert not list(tmp_path.glob("downloads/*"))


def test_without_a_network_it_says_where_to_put_the_archive(
    root: Path, snapshot: Callable[[], Checkout], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "nowhere").as_uri())
    (root / "specs/hal-x.sources").write_text(f"up_stream-1.tar.gz  {'0' * 64}\n")
    with pytest.raises(FactoryError, match=r"cannot fetch up_stream-1\.tar\.gz .*put it into .*downloads"):
        collect(snapshot(), spec(root, "up_stream-1.tar.gz"), tmp_path)


def test_a_bad_line_in_sources_is_named(root: Path) -> None:
    (root / "specs/hal-x.sources").write_text("# pinned\nup_stream-1.tar.gz md5\n")
    with pytest.raises(FactoryError, match=r"hal-x\.sources: line 2: "):
        source.pinned(spec(root))
