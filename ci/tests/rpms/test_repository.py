"""What ci/rpms leaves in dist/, and what it leaves alone when something goes wrong."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory import chroot, command, programs
from factory import repository as repositories
from factory.distribution import Distribution
from factory.errors import FactoryError
from factory.target import Target
from hostroot import ROOT, WORK, HostRoot

COMPS = ROOT / "specs/comps.xml"


@pytest.fixture
def rpms(repository: Path) -> list[Path]:
    return repositories.packages(repository)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "dist/el9"


def test_the_repository_is_whole(repository: Path, system: Distribution, scratch: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=repository, check=True)
    listed = {line.split("  ", 1)[1] for line in (repository / "SHA256SUMS").read_text().splitlines()}
    assert listed == {str(rpm.relative_to(repository)) for rpm in repositories.packages(repository)}
    assert {path.stem for path in (ROOT / "specs").glob("*.spec")} == {
        rpm.name.rsplit("-", 2)[0] for rpm in (repository / "source").glob("*.src.rpm")
    }


def test_the_group_is_there(bare_clone: HostRoot, repository: Path, system: Distribution) -> None:
    said = programs.run(
        *system.dnf(bare_clone.path, [repository]), "group", "info", "hal-host", environment=system.environment
    )
    assert "hal-host" in said


def test_nothing_new_changes_nothing(rpms: list[Path], place: Path) -> None:
    assert repositories.publish(rpms, COMPS, place)
    before = place.resolve()
    assert not repositories.publish(rpms, COMPS, place)
    assert place.resolve() == before


def test_a_new_one_takes_the_place_of_the_old(rpms: list[Path], place: Path) -> None:
    repositories.publish(rpms, COMPS, place)
    assert repositories.publish(rpms[1:], COMPS, place)
    assert len(repositories.packages(place)) == len(rpms) - 1
    assert sorted(path.name for path in place.parent.iterdir()) == [f".{place.name}.repository.2", place.name]


def test_something_else_in_its_place_is_left_alone(rpms: list[Path], place: Path) -> None:
    place.mkdir(parents=True)
    (place / "mine").write_text("precious")
    with pytest.raises(FactoryError, match="move it away"):
        repositories.publish(rpms, COMPS, place)
    assert os.listdir(place.parent) == [place.name]
    assert (place / "mine").read_text() == "precious"


def test_a_full_disk_leaves_the_last_one(
    os_target: Target, rpms: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real one: a file system that has room for one repository, and not for two."""
    output = tmp_path / "small"
    output.mkdir()
    room = sum(rpm.stat().st_size for rpm in rpms) * 3 // 2 + 2**18
    programs.run("mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", output)
    try:
        arguments = ["--target", os_target.name, "--output", os.fspath(output)]
        assert command.main(ROOT, arguments) == 0
        before = {rpm.name: rpm.read_bytes() for rpm in repositories.packages(output / os_target.name)}
        capsys.readouterr()
        assert command.main(ROOT, [*arguments, "hal-host"]) == 0, "unchanged: needs no room for long"
        (output / "ballast").write_bytes(b"x" * (room // 3))
        assert command.main(ROOT, [*arguments, "--sign", "nobody"]) == 1
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith("ci/rpms: ")
        assert "No space left on device" in said
        assert {rpm.name: rpm.read_bytes() for rpm in repositories.packages(output / os_target.name)} == before
        assert sorted(os.listdir(output)) == [f".{os_target.name}.repository.1", "ballast", os_target.name]
    finally:
        programs.run("umount", output)


def test_a_broken_mirror_is_one_line_and_nothing_is_left(system: Distribution, tmp_path: Path, scratch: Path) -> None:
    """A repository whose index is cut short, as a mirror in the middle of its own update has it."""
    broken = tmp_path / "mirror"
    if system.repository is None:
        pytest.skip("the machine's own repositories are left alone")
    shutil.copytree(system.repository / "repodata", broken / "repodata")
    for index in (broken / "repodata").glob("*primary*"):
        index.write_bytes(index.read_bytes()[:1000])
    other = Distribution(system.target, broken, "broken", scratch / "broken-home")
    (scratch / "broken-home").mkdir()
    with pytest.raises(programs.ProgramFailed) as caught:
        chroot.make_base(scratch / "broken", other, ["bash"], scratch / "broken.log")
    assert "\n" not in str(caught.value)
    assert "standin" in caught.value.output
    assert not (scratch / "broken").exists()


def test_an_interrupted_build_leaves_the_last_one(os_target: Target, repository: Path, tmp_path: Path) -> None:
    """Ctrl-C in the middle of building, in a checkout of its own."""
    output = tmp_path / "dist"
    shutil.copytree(repository, output / f".{os_target.name}.repository.1")
    (output / os_target.name).symlink_to(f".{os_target.name}.repository.1")
    before = {rpm.name for rpm in repositories.packages(output / os_target.name)}
    checkout = tmp_path / "checkout"
    programs.run("git", "-c", f"safe.directory={ROOT}/.git", "clone", "--quiet", "--shared", ROOT, checkout)
    work = checkout / ".cache/rpms"
    work.mkdir(parents=True)
    for kept in ("standin", "roots", "downloads"):
        if (WORK / kept).exists():
            (work / kept).symlink_to(WORK / kept)
    arguments = ["--target", os_target.name, "--output", os.fspath(output), "hal-core"]
    running = subprocess.Popen(
        # Who started the tests may ignore this signal, as whatever a shell runs in the background does.
        ["env", "--default-signal=INT", ROOT / ".cache/venv/bin/python", "-m", "factory", *arguments],
        env={**os.environ, "PYTHONPATH": str(checkout / "ci/lib")},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stderr is not None
    seen = ""
    for line in running.stderr:
        seen += line
        if "building" in line:
            break
    os.killpg(running.pid, signal.SIGINT)
    _, rest = running.communicate(timeout=60)
    assert running.returncode == 130, seen + rest
    assert rest.splitlines()[-1].startswith("ci/rpms: interrupted")
    assert {rpm.name for rpm in repositories.packages(output / os_target.name)} == before
    assert sorted(os.listdir(output)) == [f".{os_target.name}.repository.1", os_target.name]


@pytest.fixture
def gpg_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A key ring with one throw-away key."""
    home = tmp_path / "gpg"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    programs.run(
        "gpg", "--batch", "--passphrase", "", "--quick-generate-key", "vendor@example.invalid", "rsa3072", "sign"
    )
    yield home
    programs.run("gpgconf", "--kill", "all")


def test_signing(rpms: list[Path], place: Path, gpg_home: Path, tmp_path: Path) -> None:
    assert repositories.publish(rpms, COMPS, place, sign="vendor@example.invalid")
    for name in ("SHA256SUMS", "repodata/repomd.xml", "source/repodata/repomd.xml"):
        programs.run("gpg", "--batch", "--verify", place / f"{name}.asc", place / name)
    public = tmp_path / "public.asc"
    public.write_text(programs.run("gpg", "--batch", "--armor", "--export", "vendor@example.invalid"))
    database = ("--define", f"_dbpath {tmp_path / 'rpmdb'}")
    programs.run("rpmkeys", *database, "--import", public)
    said = programs.run("rpmkeys", *database, "--checksig", *repositories.packages(place))
    assert all(line.endswith("digests signatures OK") for line in said.splitlines()), said
    assert said.count("\n") == len(rpms)
    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=place, check=True)


def test_a_key_that_is_not_there_is_one_line(rpms: list[Path], place: Path, gpg_home: Path) -> None:
    repositories.publish(rpms, COMPS, place)
    before = place.resolve()
    with pytest.raises(FactoryError) as caught:
        repositories.publish(rpms, COMPS, place, sign="somebody@else.invalid")
    assert "\n" not in str(caught.value)
    assert place.resolve() == before
