"""Runs other programs: the one place of the factory that does.

Every program gets the same small environment, so that a variable of the caller's shell decides nothing, and no input
but a file that it is given.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from pathlib import Path
from typing import Mapping, Optional, Union

from factory.errors import FactoryError

Argument = Union[str, "os.PathLike[str]"]

# What a person sets to reach the outside world, or to find their GPG key, is theirs to decide.
KEPT = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "GNUPGHOME", "TMPDIR")
KEPT_PREFIXES = ("PIP_", "SSL_CERT_")


class ProgramFailed(FactoryError):
    """A program ended with another status than 0.

    :ivar argv: what was run
    :ivar status: its exit status; negative: the signal that ended it
    :ivar output: what it wrote
    """

    def __init__(self, argv: list[str], status: int, output: str) -> None:
        self.argv = argv
        self.status = status
        self.output = output
        super().__init__(f"{os.path.basename(argv[0])} failed with status {status}: {last_line(output)}")


class Stopped(FactoryError):
    """Somebody has asked for the end of everything: no program is started any more."""


# What runs now, in whichever thread; and whether all of it was asked to end.
_running: set[subprocess.Popen[str]] = set()
_stopped = False
_lock = threading.Lock()


def stop() -> None:
    """Kill what runs, and start nothing more but what cleans up. What a box is made of ends with its first process."""
    global _stopped
    with _lock:
        _stopped = True
        for process in _running:
            process.kill()


def run(
    *argv: Argument,
    log: Optional[Path] = None,
    cwd: Optional[Path] = None,
    environment: Optional[Mapping[str, str]] = None,
    standard_input: Union[Path, str] = os.devnull,
    cleans_up: bool = False,
) -> str:
    """Run a program to its end.

    :param log: append all its output to this file, and return nothing of it
    :param environment: in addition to the small one that every program gets
    :param standard_input: a file that it reads
    :param cleans_up: it is started even after :func:`stop`
    :return: its standard output; with a log, an empty string
    :raise ProgramFailed: it ended with another status than 0
    :raise Stopped: after :func:`stop`
    :raise FactoryError: there is no such program
    """
    arguments = [os.fspath(argument) for argument in argv]
    with contextlib.ExitStack() as files:
        source = files.enter_context(open(standard_input))
        output = files.enter_context(open(log, "a+")) if log is not None else None
        begin = output.seek(0, os.SEEK_END) if output is not None else 0
        with _lock:
            if _stopped and not cleans_up:
                raise Stopped(f"{arguments[0]} was not started: everything is to end")
            try:
                process = subprocess.Popen(
                    arguments,
                    stdin=source,
                    stdout=output if output is not None else subprocess.PIPE,
                    stderr=subprocess.STDOUT if output is not None else subprocess.PIPE,
                    text=True,
                    errors="replace",
                    cwd=cwd,
                    env=small_environment(environment),
                )
            except FileNotFoundError as error:
                if error.filename != arguments[0]:
                    raise
                raise FactoryError(f"{arguments[0]}: there is no such program here") from None
            _running.add(process)
        try:
            said, complained = process.communicate()
        finally:
            with _lock:
                _running.discard(process)
        if process.returncode == 0:
            return said or ""
        if output is not None:
            output.seek(begin)
            raise ProgramFailed(arguments, process.returncode, output.read())
        raise ProgramFailed(arguments, process.returncode, said + complained)


def small_environment(more: Optional[Mapping[str, str]] = None) -> dict[str, str]:
    """Everything a program may know of the environment that the factory was started in."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith(KEPT_PREFIXES)}
    # /usr/bin first: mock's real program may be in /usr/sbin, and the one that lets the group mock run it in /usr/bin.
    fixed = {"PATH": "/usr/bin:/usr/sbin:/bin:/sbin", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
    return {**kept, **fixed, **(more or {})}


def last_line(output: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "it said nothing")
