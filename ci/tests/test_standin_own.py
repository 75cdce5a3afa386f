"""The own packages of the stand-in OS: users, identity, and what differs between targets."""

from __future__ import annotations

import re

import pytest

from factory import target
from factory.standin import own
from factory.standin.own import Own, Program
from factory.target import Target

EL9, EL10, FEDORA = target.parse("el9"), target.parse("el10"), target.parse("fc43")


def packages(wanted: Target) -> dict[str, Own]:
    return {one.name: one for one in [*own.everywhere("3.11", "2.1-9"), *own.of_target(wanted, "3.11")]}


def lines(content: own.Content) -> list[str]:
    assert isinstance(content, str)
    return content.splitlines()


def test_every_user_has_a_group_and_no_number_is_given_twice() -> None:
    groups = [line.split(":") for line in lines(own.users_and_groups()["/etc/group"])]
    users = [line.split(":") for line in lines(own.users_and_groups()["/etc/passwd"])]
    numbers = {group[2] for group in groups}
    assert len(numbers) == len(groups)
    assert len({user[2] for user in users}) == len(users)
    assert all(user[3] in numbers for user in users)
    assert [user[0] for user in users] == [line.split(":")[0] for line in lines(own.users_and_groups()["/etc/shadow"])]


@pytest.mark.parametrize(("wanted", "there"), [(EL9, True), (EL10, True), (FEDORA, False)])
def test_the_macro_for_users_is_only_where_rpm_does_not_make_them(wanted: Target, there: bool) -> None:
    files = packages(wanted)["systemd-rpm-macros"].files
    assert ("/usr/lib/rpm/macros.d/macros.sysusers" in files) is there
    assert ("/usr/lib/rpm/sysusers.generate-pre.sh" in files) is there


@pytest.mark.parametrize(("wanted", "there"), [(EL9, False), (EL10, False), (FEDORA, True)])
def test_only_fedoras_users_are_there_before_post_without_a_macro(wanted: Target, there: bool) -> None:
    sections = packages(wanted)["systemd-rpm-triggers"].sections
    assert ("%filetriggerin @NAME@ -P 2000000 -- /usr/lib/sysusers.d/" in sections) is there
    assert "%transfiletriggerin @NAME@ -P 1000700 -- /usr/lib/sysusers.d/" in sections


@pytest.mark.parametrize("wanted", [EL9, EL10, FEDORA])
def test_files_have_their_labels_before_anything_looks_at_them(wanted: Target) -> None:
    sections = packages(wanted)["systemd-rpm-triggers"].sections
    found = re.findall(r"^%transfile\w+ @NAME@ -P (\d+) .*\n([^%]*)", sections, re.MULTILINE)
    turn = {text: int(priority) for priority, text in found}
    (labels,) = (text for text in turn if "restorecon" in text)
    assert turn[labels] > max(priority for text, priority in turn.items() if text != labels)


@pytest.mark.parametrize(("wanted", "there"), [(EL9, False), (EL10, True), (FEDORA, True)])
def test_el_9_has_no_names_for_the_places_of_completions(wanted: Target, there: bool) -> None:
    assert ("/usr/lib/rpm/macros.d/macros.shell-completions" in packages(wanted)["redhat-rpm-config"].files) is there


@pytest.mark.parametrize(
    ("wanted", "name", "text"),
    [
        (EL9, "centos-stream-release", ["%dist .el9", "%el9 1", "%rhel 9"]),
        (FEDORA, "fedora-release", ["%dist .fc43", "%fc43 1", "%fedora 43"]),
    ],
)
def test_the_identity(wanted: Target, name: str, text: list[str]) -> None:
    release = packages(wanted)[name]
    assert lines(release.files["/usr/lib/rpm/macros.d/macros.dist"])[1:] == text
    assert f"system-release({wanted.version})" in release.provides
    assert f'VERSION_ID="{wanted.version}"' in lines(release.files["/usr/lib/os-release"])


def test_nothing_is_left_to_be_filled_in() -> None:
    for wanted in (EL9, EL10, FEDORA):
        for one in packages(wanted).values():
            for path, content in one.files.items():
                text = content.text if isinstance(content, Program) else content
                assert not isinstance(text, str) or ("@python@" not in text and "_version@" not in text), path


def test_no_file_is_in_two_packages() -> None:
    for wanted in (EL9, FEDORA):
        paths = [path for one in packages(wanted).values() for path in one.files]
        assert len(paths) == len(set(paths))


def test_only_programs_can_be_executed_and_nobody_reads_the_passwords() -> None:
    assert own.permissions("/etc/shadow") == 0
    assert own.permissions("/etc/passwd") == 0o644
