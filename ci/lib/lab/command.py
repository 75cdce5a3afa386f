"""The command ci/lab: arguments, and what a person sees."""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

from factory.errors import FactoryError
from lab import ingredients, keeping, processors
from lab.errors import LabError
from lab.plugin import CACHE, DEFAULT, ROOT
from lab.simulator import installed, server

STORIES = ROOT / "ci/stories"
_EPILOG = """\
examples:
  ci/lab                          everything, several stories at a time; images and saved servers are kept
  ci/lab --list                   the stories, and the servers that they can be told on
  ci/lab reboot                   one story
  ci/lab reboot --server old-box  … on another server
  ci/lab cold_boot --server my-server.toml
  ci/lab --keep hardware          … and leave the server running, to look around
  ci/lab cold_boot --accel kvm    with this machine's own virtualization, where nested KVM works

Exit status: 0 all stories came true, 1 not all did, 2 usage. Making the images takes root, telling
stories does not: sudo ci/lab --prepare, and then ci/lab.
More: docs/lab.md
"""


class Story(NamedTuple):
    """A story: its name, its file, the servers it is told on, and its first sentence."""

    name: str
    file: Path
    servers: tuple[str, ...]
    sentence: str


def stories(directory: Path = STORIES) -> list[Story]:
    """All of them, in the order in which they are told."""
    found = []
    for file in sorted(directory.glob("test_*.py")):
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                sentence = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
                found.append(Story(node.name[len("test_") :], file, _servers(node), sentence))
    return found


def _servers(function: ast.FunctionDef) -> tuple[str, ...]:
    """What its decorator ``@on(...)`` says."""
    for call in function.decorator_list:
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "on":
            return tuple(str(argument.value) for argument in call.args if isinstance(argument, ast.Constant))
    return (DEFAULT,)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="ci/lab",
        description="Build a HAL host from this checkout's RPMs, run it on a simulated server with a product, and tell "
        "stories about them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("stories", nargs="*", metavar="STORY", help="as --list has them, or the beginning of a name; default: all")
    add("--list", action="store_true", help="list stories and servers")
    add("--server", metavar="NAME|FILE", help="tell them on this server: one of --list's, or a TOML file")
    add(
        "--accel", choices=["tcg", "kvm"], default="tcg", help="emulate the server (default), or use this machine's KVM"
    )
    add(
        *("--jobs", "-j"),
        metavar="N",
        type=int,
        default=processors.stories_at_a_time(),
        help="how many stories to tell side by side (here: %(default)s)",
    )
    add("--keep", action="store_true", help="leave the server running at the end of a story, and say how to get at it")
    add("--prepare", action="store_true", help="only make what takes root, for others to tell stories with")
    add("--attach", metavar="DIRECTORY", type=Path, help="the product's serial console, of a server that was kept")
    add("--run", nargs=argparse.REMAINDER, metavar="DIRECTORY COMMAND", help="a command in such a server's host")
    asked = parser.parse_args(arguments)
    if asked.run is not None and len(asked.run) < 2:
        parser.error("--run DIRECTORY COMMAND [ARGUMENT]...: a directory and a command are needed")
    if asked.jobs < 1:
        parser.error(f"--jobs {asked.jobs}: at least 1")
    return asked


def main(arguments: Sequence[str]) -> int:
    """Run the command; :return: its exit status."""
    asked = parse(arguments)
    try:
        return run(asked)
    except FactoryError as error:
        print(f"ci/lab: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("ci/lab: interrupted; what was finished is kept", file=sys.stderr)
        return 130
    return 1


def run(asked: argparse.Namespace) -> int:
    """Do what was asked for."""
    if asked.attach:
        keeping.attach(asked.attach)
        return 0
    if asked.run:
        return keeping.run(Path(asked.run[0]), asked.run[1:])
    if asked.list:
        show()
        return 0
    wanted = choose(asked.stories, stories())
    if asked.server:
        server.named(asked.server)
    if asked.accel == "kvm":
        installed.check_kvm()
    found = ingredients.find(ROOT, CACHE, lambda line: print(f"    … {line}", flush=True))
    if asked.prepare:
        if not isinstance(found, ingredients.Made):
            raise LabError("--prepare takes root: sudo ci/lab --prepare")
        found.prepare()
        return 0
    print(f"the host's image: {found.key}", flush=True)
    options = ["--accel", asked.accel, *(["--server", asked.server] if asked.server else [])]
    options += ["--keep"] if asked.keep else _side_by_side(1 if len(wanted) == 1 else asked.jobs)
    chosen = [f"{story.file}::test_{story.name}" for story in wanted]
    status = pytest.main(["-vv", "--no-header", "--tb=short", "-p", "no:cacheprovider", *options, *chosen])
    if status == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    return int(status) if status in (0, 1) else 2


def _side_by_side(jobs: int) -> list[str]:
    """pytest-xdist's options. Its processes have no terminal but standard error, so nothing may be captured.

    It would begin with the largest group, which are those beside whom nobody can be told: everybody would wait.
    """
    return ["-n", str(jobs), "--dist", "loadgroup", "--no-loadscope-reorder", "--capture", "no"] if jobs > 1 else []


def choose(asked: Sequence[str], there: Sequence[Story]) -> list[Story]:
    """The stories to tell: all, when none is named.

    :raise LabError: there is none of that name
    """
    for name in asked:
        if not any(story.name.startswith(name) for story in there):
            raise LabError(f'no story begins with "{name}"; there are: {", ".join(story.name for story in there)}')
    return [story for story in there if not asked or any(story.name.startswith(name) for name in asked)]


def show() -> None:
    """Print what there is."""
    print("stories")
    for story in stories():
        print(f"  {story.name:24} {story.sentence}\n{'':27}on {', '.join(story.servers)}")
    print("\nservers")
    for name, path in server.shipped().items():
        print(f"  {name:24} {server.load(path).description}")


def start() -> NoReturn:
    """As a program."""
    sys.exit(main(sys.argv[1:]))
