"""Where a Debian package's files are in the stand-in OS."""

from __future__ import annotations

import os
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import FactoryError
from factory.standin.layout import Layout

LAYOUT = Layout("3.11")


@pytest.mark.parametrize(
    ("debian", "there"),
    [
        ("/bin/ls", "/usr/bin/ls"),
        ("/lib64/ld-linux-x86-64.so.2", "/usr/lib64/ld-linux-x86-64.so.2"),
        ("/library", "/library"),
        ("/usr/lib/python3/dist-packages/six.py", "/usr/lib/python3.11/site-packages/six.py"),
        ("/usr/lib/python3/dist-packages", "/usr/lib/python3.11/site-packages"),
        ("/usr/lib/python3/dist-packages-of-mine", "/usr/lib/python3/dist-packages-of-mine"),
        ("/usr/share/doc/bash/README", None),
        ("/usr/share/documents", "/usr/share/documents"),
        ("/etc/default/grub", None),
        ("/lib/systemd/system/systemd-networkd.service", None),
        ("/lib/systemd/system/systemd-journald.service", "/usr/lib/systemd/system/systemd-journald.service"),
    ],
)
def test_places(debian: str, there: Optional[str]) -> None:
    assert LAYOUT.place(debian) == there


@pytest.mark.parametrize(
    ("link", "says", "has_to_say"),
    [
        ("/sbin/halt", "../bin/systemctl", "../bin/systemctl"),
        ("/sbin/init", "/lib/systemd/systemd", "/lib/systemd/systemd"),
        ("/lib/a.so", "../usr/share/a", "../share/a"),
        ("/usr/share/x", "../../lib/x", "../lib/x"),
        ("/usr/lib/python3/dist-packages/a.py", "../../../share/a/a.py", "../../../share/a/a.py"),
        ("/usr/lib/python3.11/a", "../python3/dist-packages/b", "site-packages/b"),
    ],
)
def test_links_lead_to_the_same_thing(link: str, says: str, has_to_say: str) -> None:
    assert LAYOUT.target(link, says) == has_to_say


NAMES = st.sampled_from(["bin", "lib", "usr", "lib64", "share", "x", "python3", "dist-packages"])
PATHS = st.lists(NAMES, min_size=1, max_size=6).map(lambda parts: "/" + "/".join(parts))


@given(PATHS, PATHS)
def test_every_relative_link_leads_to_where_its_target_has_gone(link: str, meant: str) -> None:
    place, there = LAYOUT.place(link), LAYOUT.place(meant)
    says = LAYOUT.target(link, os.path.relpath(meant, os.path.dirname(link)))
    assert place is not None
    assert os.path.normpath(os.path.join(os.path.dirname(place), says)) == there


@given(PATHS)
def test_a_file_that_is_in_its_place_stays_there(path: str) -> None:
    place = LAYOUT.place(path)
    assert place is not None
    assert LAYOUT.place(place) == place


def test_rpms_database_is_where_rpm_based_systems_have_it() -> None:
    edited = LAYOUT.edit("/usr/lib/rpm/macros", b"%_dbpath\t\t%(bash -c 'echo ~/.rpmdb')\n")
    assert edited == b"%_dbpath\t\t/var/lib/rpm\n"


def test_a_file_that_debian_has_changed_is_noticed() -> None:
    with pytest.raises(FactoryError, match=r"^/usr/lib/rpm/macros: Debian's file no longer says "):
        LAYOUT.edit("/usr/lib/rpm/macros", b"something else")


def test_other_files_are_left_alone() -> None:
    assert LAYOUT.edit("/usr/bin/ls", b"x") == b"x"
