"""The rules for stories, and that docs/lab.md tells of fixtures, methods and modules that are there."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from lab import command
from lab.command import Story
from lab.display.screen import Screen
from lab.halhost import Host
from lab.lan.peer import Peer
from lab.productcli import Product
from lab.simulator import files, server
from lab.simulator.machine import Machine
from lab.site import Site
from lab.workshop import Workshop

ROOT = Path(__file__).resolve().parents[2]
STORIES = ROOT / "ci/stories"
LAB = ROOT / "ci/lib/lab"
DOCUMENT = (ROOT / "docs/lab.md").read_text("utf-8")
SIDES: dict[str, type] = {".product": Product, ".host": Host, ".server": Machine, ".lan[0]": Peer}
ALL = command.stories()


def told(function: str, file: Path) -> ast.FunctionDef:
    """A story as its file has it."""
    (node,) = (
        node for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef) and node.name == function
    )
    return node


def fixtures() -> set[str]:
    """What ci/stories/conftest.py has for stories."""
    (line,) = (
        node for node in ast.parse((STORIES / "conftest.py").read_text()).body if isinstance(node, ast.ImportFrom)
    )
    return {name.name for name in line.names if not name.name.startswith("pytest_")}


def rows(heading: str) -> dict[str, str]:
    """The table with that head in the document: first column → second."""
    lines = DOCUMENT[DOCUMENT.index(f"| {heading} |") :].split("\n\n")[0].splitlines()[2:]
    return {first.strip(" `"): second.strip() for _, first, second, _ in (line.split("|") for line in lines)}


def calls(text: str) -> Iterator[ast.Call]:
    """What is written in backquotes and can be called."""
    for code in re.findall(r"`([^`]+\))`", text):
        call = ast.parse(code, mode="eval").body
        assert isinstance(call, ast.Call), code
        yield call


def fits(call: ast.Call, method: Callable[..., object]) -> None:
    """Raise TypeError unless the method takes these arguments, after ``self``."""
    inspect.signature(method).bind(None, *call.args, **{str(word.arg): word.value for word in call.keywords})


@pytest.mark.parametrize("story", ALL, ids=lambda story: str(story.name))
def test_a_story_says_what_it_is(story: Story) -> None:
    assert 0 < len(story.sentence) <= 110, "its first sentence is a line of ci/lab --list"
    assert story.sentence.endswith(".")
    assert story.servers
    assert set(story.servers) <= set(server.shipped())
    assert len(set(story.servers)) == len(story.servers)
    asked = {argument.arg for argument in told(f"test_{story.name}", story.file).args.args}
    assert len(asked & {"running", "off"}) == 1, "one server of its own"
    assert asked <= fixtures()


def test_no_two_stories_have_one_name() -> None:
    assert len({story.name for story in ALL}) == len(ALL)


@pytest.mark.parametrize("path", sorted(STORIES.glob("*.py")), ids=lambda path: str(path.stem))
def test_no_story_sleeps(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert "time" not in {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module != "time"
        elif isinstance(node, ast.Call):
            assert getattr(node.func, "attr", getattr(node.func, "id", "")) != "sleep"


def test_the_documented_fixtures_are_all_that_there_are() -> None:
    assert set(rows("fixture | is")) == fixtures()


def test_what_the_table_of_fixtures_calls_is_there() -> None:
    said = " ".join(rows("fixture | is").values())
    found = {ast.unparse(call.func): call for call in calls(said)}
    assert set(found) == {"workshop.boot", "figure", "workshop.ingredients.next_release"}
    fits(found["workshop.boot"], Workshop.boot)


@pytest.mark.parametrize("side", SIDES)
def test_the_documented_sides_of_a_site(side: str) -> None:
    row = rows("| you can")[side]
    found = list(calls(row))
    assert found
    for call in found:
        assert isinstance(call.func, ast.Name)
        fits(call, getattr(SIDES[side], call.func.id))


def test_a_site_has_these_sides(tmp_path: Path) -> None:
    assert set(rows("| you can")) == set(SIDES)
    site = Site(Machine(tmp_path, server.load(server.shipped()["one-u"])))
    assert {name for name in vars(site) if name[0] != "_"} == {side[1:].split("[")[0] for side in SIDES}
    for side, kind in SIDES.items():
        assert side == ".lan[0]" or isinstance(getattr(site, side[1:]), kind)
    assert "`.screen()`" in DOCUMENT
    assert callable(Screen.contains)


def test_the_documented_story_is_one() -> None:
    (example,) = ast.parse(DOCUMENT.split("```python\n")[1].split("```")[0]).body
    assert isinstance(example, ast.FunctionDef)
    (story,) = (story for story in ALL if f"test_{story.name}" == example.name)
    original = [ast.unparse(statement) for statement in told(example.name, story.file).body]
    left = iter(original)
    for statement in example.body:
        assert ast.unparse(statement) in left, "in this order, and nothing else"


def test_the_documented_servers_files_and_modules_are_there() -> None:
    (on,) = re.findall(r"`@on\(([^)]+)\)`", DOCUMENT)
    assert set(ast.literal_eval(f"[{on}]")) == set(server.shipped())
    kept = {name for row in rows("file | is") for name in re.split("[`, ]+", row)}
    assert {files.serial_log(0), files.HOST_CONSOLE, files.QEMU_LOG, files.lan(0).replace("sock", "pcap")} <= kept
    named = {name for row in rows("| one idea") for name in re.split("[`, ]+", row)}
    modules = {path.stem for path in LAB.glob("*.py")} | {f"{path.parent.name}/" for path in LAB.glob("*/__init__.py")}
    assert named <= modules
    assert modules - named <= {"__init__", "__main__", "errors", "kept"}


def test_the_documented_commands_are_understood() -> None:
    examples = [line.split("  ")[0].split()[1:] for line in DOCUMENT.splitlines() if line.startswith("ci/lab ")]
    assert len(examples) > 3
    for example in examples:
        assert command.choose(command.parse(example).stories, ALL)


def test_long_stories_come_first_and_those_that_are_told_alone_last() -> None:
    """Or a processor would have nothing to do: at the end, or while the other one is to become free."""
    asked = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", str(STORIES)]
    said = subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    order = [line.partition("::")[2] for line in said.splitlines() if "::" in line]
    assert order[0] == "test_cold_boot[one-u]"
    alone = [name for name in order if "[numa]" in name]
    assert order[-len(alone) :] == alone
    assert alone[0] == "test_cold_boot[numa]"
    assert order.index("test_upgrade[one-u]") < order.index("test_hardware[one-u]")
