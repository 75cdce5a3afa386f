"""Names, versions and metadata of Debian packages, as RPM spells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory.errors import FactoryError
from factory.standin import convert, names
from factory.standin.closure import Deb
from factory.standin.layout import Layout
from factory.standin.package import Entry, Package, quoted

LAYOUT = Layout("3.11")
SITE = LAYOUT.site_packages


@pytest.mark.parametrize(
    ("debian", "rpm"),
    [
        ("5.2.15-2+b13", "5.2.15-2+b13"),
        ("1:7.2+dfsg-7+deb12u18+b3", "1:7.2+dfsg-7+deb12u18+b3"),
        ("37~deb12u1", "37~deb12u1-0"),
        ("1.0.0+git-20190125.36a4c85-5.1", "1.0.0+git.20190125.36a4c85-5.1"),
        ("0~20171227-0.3", "0~20171227-0.3"),
    ],
)
def test_versions(debian: str, rpm: str) -> None:
    assert convert.evr(debian) == rpm


@pytest.mark.parametrize(
    ("python", "rpm"),
    [("23.0", "23"), ("23.0.1", "23.0.1"), ("1.0.0rc2", "1~rc2"), ("2.0a1", "2~a1"), ("0", "0"), ("not one", None)],
)
def test_python_versions_are_those_of_rpms_generator(python: str, rpm: str) -> None:
    assert convert.python_evr(python) == rpm


def test_the_version_of_python_comes_from_the_closure() -> None:
    debs = [Deb(name, "1", "all", (), "") for name in ("python3", "python3-pip", "python3.11-minimal", "python3.11")]
    assert convert.python_version(debs) == "3.11"
    with pytest.raises(FactoryError, match="has no Python in it"):
        convert.python_version(debs[:3])


@pytest.mark.parametrize("metadata", ["QEMU_qmp-0.0.3.dist-info/METADATA", "q.egg-info/PKG-INFO", "q.egg-info"])
def test_a_python_package_provides_its_distribution(tmp_path: Path, metadata: str) -> None:
    path = f"{SITE}/{metadata}"
    place = tmp_path / path[1:]
    place.parent.mkdir(parents=True)
    place.write_text("Metadata-Version: 2.1\nName: QEMU.qmp\nVersion: 0.10.0\n\nDescription\n")
    entries = [Entry(path, "file", 0o644), Entry(f"{SITE}/other.txt", "file", 0o644)]
    assert convert.python_provides(tmp_path, entries, LAYOUT) == [
        "python3dist(qemu-qmp) = 0.10",
        "python3.11dist(qemu-qmp) = 0.10",
    ]


def test_an_rpm_has_els_names_with_versions_and_what_el_has_in_one_package(tmp_path: Path) -> None:
    deb = Deb("passwd", "1:4.13-1", "amd64", ("libc6",), "")
    made = convert.as_package(
        deb, [Entry("/usr", "dir", 0o755), Entry("/usr/sbin/useradd", "file", 0o755)], tmp_path, LAYOUT
    )
    assert made.provides == ("shadow-utils = 1:4.13-1",)
    assert made.requires == ("Requires(pre): filesystem", "Requires: libc6", "Requires: login")
    assert [entry.path for entry in made.entries] == ["/usr/sbin/useradd"]  # /usr is filesystem's
    assert not made.noarch


def test_a_file_of_a_user_that_nobody_makes_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match=r"^x: has files of polkitd: standin/own\.py has to learn that name$"):
        convert.as_package(
            Deb("x", "1-1", "all", (), ""), [Entry("/usr/x", "file", 0o644, "polkitd")], tmp_path, LAYOUT
        )


def test_what_is_left_out_is_neither_wanted_nor_named() -> None:
    assert not names.DROPPED & {*names.SEEDS, *names.PROVIDES, *names.REQUIRES, *names.LINKS}


def test_lines_of_a_file_list() -> None:
    assert Entry("/usr/bin/a b%", "file", 0o4755, "root", "shadow").line() == '%attr(4755,root,shadow) "/usr/bin/a b%%"'
    assert Entry("/etc/x", "config", 0o600).line() == '%config(noreplace) %attr(0600,root,root) "/etc/x"'
    assert Entry("/usr/x", "link", 0o777).line() == '"/usr/x"'
    assert Entry("/usr/bin/[", "file", 0o755).line() == '%attr(0755,root,root) "/usr/bin/["'
    assert Entry("/usr/a\\x2d", "dir", 0o755).line() == '%dir %attr(0755,root,root) "/usr/a\\x2d"'


@pytest.mark.parametrize("name", ["/a*", "/a?", "/a[b]", "/a{b}", '/a"'])
def test_a_name_that_is_a_pattern_to_rpm_is_noticed(name: str) -> None:
    with pytest.raises(FactoryError, match="its name is a pattern to rpm"):
        quoted(name)


def test_a_spec_part_has_epoch_version_and_release() -> None:
    lines = Package("x", "2:1.0-3", noarch=True).spec(Path("/lists")).splitlines()
    assert {"Epoch: 2", "Version: 1.0", "Release: 3", "BuildArch: noarch", "%files -n x"} <= set(lines)
