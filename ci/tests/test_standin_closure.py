"""Of what the stand-in OS is made: reading apt's answers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from factory.errors import FactoryError
from factory.standin import closure
from factory.standin.closure import Deb

SIMULATED = """\
Reading package lists...
Inst libc6 (2.36-9 Debian:12.15/oldstable [amd64]) []
Inst python3-six (1.16.0-4 Debian:12.15/oldstable [all])
Inst dpkg (1.21 Debian:12.15/oldstable [amd64])
Conf libc6 (2.36-9 Debian:12.15/oldstable [amd64])
"""
SHOWN = """\
Package: libc6
Version: 2.36-9
Architecture: amd64
Depends: libgcc-s1, dpkg (>= 1)
SHA256: aa
Description: C library
 with a second line: not a field

Package: libc6
Version: 2.31-1
Architecture: amd64
SHA256: old

Package: python3-six
Version: 1.16.0-4
Architecture: all
Pre-Depends: libc6 (>= 2.3)
Depends: python-is-gone | c-library:any (>= 2)
SHA256: bb

Package: dpkg
Version: 1.21
Architecture: amd64
SHA256: cc
"""


def test_what_apt_would_install_becomes_the_closure() -> None:
    chosen = closure.chosen_versions(SIMULATED)
    assert closure.select(chosen, closure.stanzas(SHOWN)) == (
        Deb("libc6", "2.36-9", "amd64", (), "aa"),
        Deb("python3-six", "1.16.0-4", "all", ("libc6",), "bb"),
    )


def test_an_alternative_is_decided_for_the_first_that_is_there() -> None:
    record = {"Depends": "a | b | c"}
    assert closure.requirements("x", record, {"b": "b", "c": "c"}) == ("b",)


def test_a_virtual_package_is_required_as_the_package_that_provides_it() -> None:
    records = closure.stanzas(
        "Package: dbus\nVersion: 1\nArchitecture: all\nProvides: system-bus (= 1)\nSHA256: 1\n\n"
        "Package: systemd\nVersion: 1\nArchitecture: all\nDepends: system-bus\nSHA256: 2\n"
    )
    chosen = {"dbus": "1", "systemd": "1"}
    assert [deb.requires for deb in closure.select(chosen, records)] == [(), ("dbus",)]


def test_a_package_that_apt_cache_does_not_know_is_named() -> None:
    with pytest.raises(FactoryError, match=r"^apt would install nano, but apt-cache knows nothing of it$"):
        closure.select({"nano": "7"}, [])


def test_no_package_lists_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match=r"has no package lists; please run, as root: apt-get update$"):
        closure.apt_state(tmp_path, tmp_path)


def test_the_state_of_apt_changes_with_its_lists(tmp_path: Path) -> None:
    lists, settings = tmp_path / "lists", tmp_path / "apt"
    lists.mkdir()
    settings.mkdir()
    packages = lists / "debian_main_binary-amd64_Packages.lz4"
    packages.write_bytes(b"1")
    before = closure.apt_state(lists, settings)
    assert closure.apt_state(lists, settings) == before
    os.utime(packages, (1, 1))
    after = closure.apt_state(lists, settings)
    assert after != before
    (settings / "sources.list").write_text("deb …")
    assert closure.apt_state(lists, settings) != after


def test_the_answer_is_kept_until_apt_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(Deb("a", "1", "all", ("b",), "1"),), (Deb("a", "2", "all", (), "2"),)]
    monkeypatch.setattr(closure, "resolve", lambda: answers.pop(0))
    first = closure.debs(tmp_path, "monday")
    assert closure.debs(tmp_path, "monday") == first
    assert closure.debs(tmp_path, "tuesday")[0].version == "2"
    assert len(list(tmp_path.iterdir())) == 1


def test_apts_own_words_explain_a_failure() -> None:
    assert closure.complaint("Reading…\nE: Unable to locate package x\nE: more") == "E: Unable to locate package x"
