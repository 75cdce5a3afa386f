"""The command ci/lab: which stories it finds and tells, and what it says when it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Callable, NoReturn

import pytest

from lab import command, ingredients, processors
from lab.command import Story
from lab.errors import LabError
from lab.simulator import installed, server

_MADE_UP = '''\
from lab.plugin import on

@on("old-box", "numa")
@other.mark
def test_two_servers(running):
    """A sentence that is longer
    than its line.

    And more, which is no part of it."""

def test_without_a_word(off): ...

def helper():
    """Is no story."""

class test_class:
    """Is none either."""
'''


class FakeIngredients(ingredients.Made):
    """Makes nothing; remembers what was asked of it."""

    asked: list[str]

    def __init__(self, root: Path, cache: Path, say: Callable[[str], None]) -> None:
        self.asked.append(f"what is made in {cache.name}")

    key = Path("key.img")

    def prepare(self) -> None:
        self.asked.append("everything")


@pytest.fixture(autouse=True)
def nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens."""
    monkeypatch.setattr(FakeIngredients, "asked", [], raising=False)
    monkeypatch.setattr(ingredients, "Made", FakeIngredients)
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pytest is given: nothing is told here."""
    given: list[list[str]] = []

    def main(arguments: list[str]) -> int:
        given.append(arguments)
        return 0

    monkeypatch.setattr(pytest, "main", main)
    return given


def test_the_stories_that_there_are() -> None:
    found = {story.name: story for story in command.stories()}
    assert len(found) == len(command.stories()) > 10
    assert found["cold_boot"].servers == ("one-u", "old-box", "numa", "direct")
    assert found["cold_boot"].file.name == "test_1_cold_boot.py"
    assert found["reboot"].servers == ("one-u",)
    assert found["reboot"].sentence == "The product reboots: the server really resets, and everything comes back."
    assert next(iter(found)) == "cold_boot"


def test_made_up_stories(tmp_path: Path) -> None:
    (tmp_path / "test_2_later.py").write_text("def test_last(off): 'The end.'\n")
    (tmp_path / "test_1_first.py").write_text(_MADE_UP)
    (tmp_path / "conftest.py").write_text("def test_fixture(): ...\n")
    first, later = tmp_path / "test_1_first.py", tmp_path / "test_2_later.py"
    assert command.stories(tmp_path) == [
        Story("two_servers", first, ("old-box", "numa"), "A sentence that is longer than its line."),
        Story("without_a_word", first, ("one-u",), ""),
        Story("last", later, ("one-u",), "The end."),
    ]


def test_stories_are_chosen_by_the_beginning_of_their_names() -> None:
    there = [Story(name, Path("f.py"), ("one-u",), "") for name in ("power_on", "power_off", "reboot")]
    assert command.choose([], there) == there
    assert command.choose(["re"], there) == there[2:]
    assert command.choose(["reboot", "power", "power_off"], there) == there, "in the order of telling, once each"
    with pytest.raises(LabError) as wrong:
        command.choose(["reboot", "boot"], there)
    assert str(wrong.value) == 'no story begins with "boot"; there are: power_on, power_off, reboot'


def test_what_was_asked_for() -> None:
    asked = command.parse(["reboot", "panic", "--server", "old-box", "--accel", "kvm", "--keep"])
    assert (asked.stories, asked.server, asked.accel, asked.keep) == (["reboot", "panic"], "old-box", "kvm", True)
    nothing = command.parse([])
    assert (nothing.stories, nothing.server, nothing.accel, nothing.keep) == ([], None, "tcg", False)
    assert nothing.jobs == processors.stories_at_a_time()
    assert command.parse(["--attach", "/there"]).attach == Path("/there")
    assert command.parse(["--run", "/there", "ls", "-l", "--all"]).run == ["/there", "ls", "-l", "--all"]


@pytest.mark.parametrize(
    "wrong",
    [
        ["--no-such"],
        ["--jobs", "0"],
        ["--jobs", "many"],
        ["--accel", "xen"],
        ["--server"],
        ["--run"],
        ["--run", "/there"],
    ],
)
def test_wrong_usage_is_status_2_and_no_traceback(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command.main(wrong)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("usage: ci/lab ")
    assert "ci/lab: error: " in said.splitlines()[-1]


def test_run_needs_two_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--run", "/there"])
    assert "--run DIRECTORY COMMAND [ARGUMENT]...: a directory and a command are needed" in capsys.readouterr().err


def test_help_has_examples_that_work(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command.main(["--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert "examples:" in said
    examples = [line.split("  ")[1].split()[1:] for line in said.splitlines() if line.startswith("  ci/lab")]
    assert len(examples) > 5
    for example in examples:
        asked = command.parse(example)
        assert command.choose(asked.stories, command.stories()), example
        assert asked.server in (None, "my-server.toml", *server.shipped()), example


def test_the_list_has_every_story_and_every_server(capsys: pytest.CaptureFixture[str], told: list[list[str]]) -> None:
    assert command.main(["--list"]) == 0
    said = capsys.readouterr().out
    for story in command.stories():
        assert f"  {story.name} " in said
        assert story.sentence in said
    for name, path in server.shipped().items():
        assert f"  {name} " in said
        assert server.load(path).description in said
    assert "on one-u, old-box, numa, direct\n" in said
    assert (told, FakeIngredients.asked) == ([], [])


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What a person is told of an error: one line, and no result."""
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("ci/lab: ")
    assert error.count("\n") == 1
    return error


def test_no_such_story(capsys: pytest.CaptureFixture[str], told: list[list[str]]) -> None:
    assert command.main(["moon_landing"]) == 1
    assert one_line(capsys).startswith('ci/lab: no story begins with "moon_landing"; there are: cold_boot, ')
    assert (told, FakeIngredients.asked) == ([], [])


def test_a_server_that_cannot_be_is_told_before_anything_is_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], told: list[list[str]]
) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text('description = "no more than this"\n')
    assert command.main(["--server", str(broken)]) == 1
    assert one_line(capsys).startswith(f"ci/lab: {broken}: board is missing")
    assert command.main(["--server", "two-u"]) == 1
    assert one_line(capsys) == (
        'ci/lab: no server "two-u"; there are direct, numa, old-box, one-u, or give a TOML file\n'
    )
    assert command.main(["--server", str(tmp_path)]) == 1
    assert one_line(capsys) == f"ci/lab: {tmp_path}: Is a directory\n"
    assert (told, FakeIngredients.asked) == ([], [])


def test_nobody_is_there_to_attach_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--attach", str(tmp_path)]) == 1
    assert one_line(capsys).endswith("is the server on?\n")
    assert command.main(["--run", str(tmp_path), "ls"]) == 1
    assert "there is no server" in one_line(capsys)


def test_stories_are_told_by_pytest(told: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "check_kvm", lambda: FakeIngredients.asked.append("KVM"))
    assert command.main(["hung", "--server", "old-box", "--accel", "kvm", "--keep"]) == 0
    ((*options, product, host),) = told
    hang = command.STORIES / "test_4_hang.py"
    assert [product, host] == [f"{hang}::test_hung_product", f"{hang}::test_hung_host"]
    assert options[-5:] == ["--accel", "kvm", "--server", "old-box", "--keep"]
    assert "-n" not in options, "a server that is left to a person is the only one"
    assert FakeIngredients.asked == ["KVM", "what is made in lab"]


@pytest.mark.parametrize(("asked", "jobs"), [(["hung", "-j3"], 3), (["hung", "-j1"], 1), (["panic", "-j3"], 1)])
def test_several_stories_are_told_side_by_side(told: list[list[str]], asked: list[str], jobs: int) -> None:
    assert command.main(asked) == 0
    options = [option for option in told[0] if "::" not in option]
    side_by_side = command._side_by_side(jobs)
    assert options[len(options) - len(side_by_side) :] == side_by_side
    assert ("-n" in options) == (jobs > 1)


@pytest.mark.component
def test_those_that_are_told_alone_are_told_by_one_process_and_last(tmp_path: Path) -> None:
    """Not by two: each would switch on a server of its own, and wait for the other."""
    (tmp_path / "test_group.py").write_text(
        "import os, pathlib, pytest\n"
        "alone = [pytest.param(n, marks=pytest.mark.xdist_group('several')) for n in range(3, 7)]\n"
        "@pytest.mark.parametrize('number', [0, 1, 2, *alone])\n"
        "def test_story(number):\n"
        "    with open('told', 'a') as file:\n"
        "        print(number, os.environ['PYTEST_XDIST_WORKER'], file=file)\n"
    )
    arguments = [*command._side_by_side(2), "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", "."]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, "test_group.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line.split() for line in (tmp_path / "told").read_text().splitlines()]
    assert int(told[0][0]) < 3
    assert len({worker for number, worker in told if int(number) >= 3}) == 1


def test_kvm_that_cannot_nest_is_told_before_anything_is_built(
    told: list[list[str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot() -> NoReturn:
        raise LabError("KVM here cannot nest")

    monkeypatch.setattr(installed, "check_kvm", cannot)
    assert command.main(["reboot", "--accel", "kvm"]) == 1
    assert one_line(capsys) == "ci/lab: KVM here cannot nest\n"
    assert (told, FakeIngredients.asked) == ([], [])


def test_preparing_makes_everything_and_tells_nothing(told: list[list[str]]) -> None:
    assert command.main(["--prepare"]) == 0
    assert FakeIngredients.asked == ["what is made in lab", "everything"]
    assert told == []


def test_who_is_not_root_uses_what_root_has_prepared(
    told: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(command, "CACHE", tmp_path)
    for arguments in (["reboot"], ["--prepare"]):
        assert command.main(arguments) == 1
        assert "nothing is prepared yet: run sudo ci/lab --prepare once" in one_line(capsys)
    assert told == []

    key = tmp_path / "key.img"
    (tmp_path / "prepared.json").write_text(f'{{"key": "{key}", "products": {{}}, "next_release": []}}')
    assert command.main(["reboot"]) == 1
    assert one_line(capsys).endswith("root has made newer ones; run sudo ci/lab --prepare again\n")
    key.touch()
    assert command.main(["--prepare"]) == 1
    assert one_line(capsys) == "ci/lab: --prepare takes root: sudo ci/lab --prepare\n"
    assert command.main(["reboot"]) == 0
    assert capsys.readouterr().out == f"the host's image: {key}\n"
    assert len(told) == 1
    assert FakeIngredients.asked == []


@pytest.mark.parametrize(("pytests", "ours"), [(0, 0), (1, 1), (2, 130), (3, 2), (4, 2), (5, 2)])
def test_exit_status(monkeypatch: pytest.MonkeyPatch, pytests: int, ours: int) -> None:
    monkeypatch.setattr(pytest, "main", lambda _: pytest.ExitCode(pytests))
    assert command.main(["reboot"]) == ours


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ingredients, "find", interrupt)
    assert command.main(["reboot"]) == 130
    assert one_line(capsys) == "ci/lab: interrupted; what was finished is kept\n"


def test_as_a_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["ci/lab", "moon_landing"])
    with pytest.raises(SystemExit) as end:
        command.start()
    assert end.value.code == 1
    one_line(capsys)
