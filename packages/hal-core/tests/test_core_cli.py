"""What comes out of a command, as the caller's shell sees it."""

from __future__ import annotations

import subprocess
import sys
from typing import NoReturn

import pytest

from hal_core import cli
from hal_core.errors import ConfigError, FileFormatError, HalError, HostError, QmpTimeout, UsageError


def raising(error: BaseException) -> NoReturn:
    raise error


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (HalError("no luck"), 1, "hal-x: no luck\n"),
        (UsageError("no verb", "try --help"), 2, "hal-x: no verb\nhal-x: hint: try --help\n"),
        (ConfigError("bad key"), 78, "hal-x: bad key\n"),
        (HostError("no KVM"), 1, "hal-x: no KVM\n"),
        (FileFormatError("cut short"), 1, "hal-x: cut short\n"),
        (QmpTimeout("late"), 1, "hal-x: late\n"),
        (FileNotFoundError(2, "No such file or directory", "/x"), 1, "hal-x: /x: No such file or directory\n"),
        (OSError("odd"), 1, "hal-x: odd\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_one_line_and_a_status(
    error: BaseException, status: int, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run("hal-x", lambda _: raising(error)) == status
    assert capsys.readouterr().err == shown


def test_a_command_gets_its_arguments_and_its_status_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["hal-x", "a", "b"])
    assert cli.run("hal-x", len) == 2


def test_a_mistake_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        cli.run("hal-x", lambda _: 1 // 0)


def test_a_reader_that_goes_away_is_no_error() -> None:
    program = (
        "import sys; from hal_core import cli\n"
        "sys.exit(cli.run('hal-x', lambda _: [print(number) for number in range(100000)] and 0))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait() == 1


@pytest.mark.parametrize(("call", "said"), [("cli.run('hal-x', len)", ""), ("len('')", "freed")])
def test_what_ends_with_the_process_is_not_freed_before(call: str, said: str) -> None:
    """The second is Python's usual way."""
    program = (
        "import os; from hal_core import cli\n"
        "class InACycle:\n"
        "    def __init__(self): self.me = self\n"
        "    def __del__(self, write=os.write): write(1, b'freed')\n"
        f"one = InACycle()\n{call}"
    )
    assert subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True).stdout == said


@pytest.mark.parametrize(("uid", "hint"), [(0, ""), (1000, "prog: hint: run this as root\n")])
def test_who_lacks_a_permission_is_told_to_be_root(
    uid: int, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(arguments: list[str]) -> int:
        raise PermissionError(13, "Permission denied", "/run/hal")

    monkeypatch.setattr("os.getuid", lambda: uid)
    assert cli.run("prog", main) == 1
    assert capsys.readouterr().err == f"prog: /run/hal: Permission denied\n{hint}"
