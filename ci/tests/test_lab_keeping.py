"""A server that is left to a person: its serial port at their terminal, and commands in its host."""

from __future__ import annotations

import io
import os
import select
import shlex
import signal
import socket
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, TextIO

import pytest

from lab import command, keeping
from lab.errors import LabError
from lab.simulator import files, server, sockets
from lab.simulator.machine import Machine
from lab.simulator.shell import HostShell
from lab.site import Site


class Terminal:
    """A person's end of standard input and output, while ``attach`` runs in a thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stdin: TextIO, stdout: TextIO, typed: int, shown: int) -> None:
        self.stdin, self.stdout = stdin, stdout
        self.ended = threading.Event()
        self._monkeypatch, self._typed, self._shown = monkeypatch, typed, shown

    def attach(self, place: Path, port: int = 0) -> None:
        # Not before the test itself begins: pytest's capturing changes them, too.
        self._monkeypatch.setattr("sys.stdin", self.stdin)
        self._monkeypatch.setattr("sys.stdout", self.stdout)

        def run() -> None:
            keeping.attach(place, port)
            self.ended.set()

        threading.Thread(target=run, daemon=True).start()

    def type(self, data: bytes) -> None:
        os.write(self._typed, data)

    def shows(self) -> bytes:
        assert select.select([self._shown], [], [], 10)[0], "nothing is shown"
        return os.read(self._shown, 100)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def listener(place: Path) -> Iterator[socket.socket]:
    """QEMU's end of the second serial port."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        with sockets.address(place / files.serial_socket(1)) as name:
            listening.bind(name)
        listening.listen()
        listening.settimeout(10)
        yield listening


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """Pipes, not a tty."""
    (stdin, typed), (shown, stdout) = os.pipe(), os.pipe()
    with os.fdopen(stdin) as sys_stdin, os.fdopen(stdout, "w") as sys_stdout:
        yield Terminal(monkeypatch, sys_stdin, sys_stdout, typed, shown)
    for fd in (typed, shown):
        os.close(fd)


def test_what_is_typed_goes_to_the_port_and_back_until_control_bracket(
    place: Path, listener: socket.socket, terminal: Terminal
) -> None:
    terminal.attach(place, 1)
    line, _ = listener.accept()
    with line:
        line.settimeout(10)
        line.sendall(b"login: \xff")
        assert terminal.shows() == b"login: \xff"
        terminal.type(b"root\r")
        assert line.recv(100) == b"root\r"
        assert not terminal.ended.is_set()
        terminal.type(b"\x1d")
        assert terminal.ended.wait(10)
        assert line.recv(100) == b"", "it did not hang up"


def test_the_server_goes_off(place: Path, listener: socket.socket, terminal: Terminal) -> None:
    terminal.attach(place, 1)
    listener.accept()[0].close()
    assert terminal.ended.wait(10)


def test_standard_input_may_be_a_file(place: Path, listener: socket.socket, terminal: Terminal) -> None:
    with open("/dev/null") as terminal.stdin:
        terminal.attach(place, 1)
        with listener.accept()[0]:
            assert terminal.ended.wait(10)


def test_a_terminal_is_as_it_was_before(place: Path, listener: socket.socket, terminal: Terminal) -> None:
    person, tty = os.openpty()
    before = termios.tcgetattr(tty)
    with os.fdopen(tty) as terminal.stdin:
        terminal.attach(place, 1)
        line, _ = listener.accept()
        with line:
            line.settimeout(10)
            line.sendall(b"ready")
            assert terminal.shows() == b"ready"  # the terminal is raw by now
            assert termios.tcgetattr(tty) != before
            os.write(person, b"\x03")
            assert line.recv(100) == b"\x03", "Ctrl-C is the product's"
            os.write(person, b"\x1d")
            assert terminal.ended.wait(10)
        assert termios.tcgetattr(tty) == before
    os.close(person)


def test_no_server_is_there(place: Path, terminal: Terminal) -> None:
    with pytest.raises(LabError, match=r"serial0\.sock: .*: is the server on\?"):
        keeping.attach(place)
    with pytest.raises(LabError, match="there is no server; --keep says where it is"):
        keeping.run(place, ["ls"])
    with pytest.raises(LabError, match="there is no server"):
        keeping.run(place / "nowhere", ["ls"])


def test_a_server_whose_host_is_off(place: Path) -> None:
    (place / files.DESCRIPTION).touch()
    with pytest.raises(LabError, match=r"agent\.sock: .*: is the server on\?"):
        keeping.run(place, ["ls"])


@pytest.mark.parametrize(("hosts", "ours"), [(0, 0), (3, 3), (-9, 128 + 9)])
def test_a_command_in_the_host(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, hosts: int, ours: int
) -> None:
    def ask(self: HostShell, *argv: str, seconds: float) -> tuple[int, str, str]:
        assert argv == ("ls", "-l")
        return hosts, "a file\n", "a complaint\n"

    (place / files.DESCRIPTION).touch()
    monkeypatch.setattr(HostShell, "ask", ask)
    assert keeping.run(place, ["ls", "-l"]) == ours
    assert capsys.readouterr() == ("a file\n", "a complaint\n")


def test_keeping_says_how_to_get_at_the_server_and_ends_with_control_c(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(signal, "pause", interrupt)
    site = Site(Machine(place, server.load(server.shipped()["one-u"])))
    ours, qemus = socket.socketpair()
    site.product.console.attach(ours)
    said = io.StringIO()
    with qemus:
        keeping.keep(site, lambda line: print(line, file=said))
        qemus.settimeout(10)
        assert qemus.recv(1) == b"", "the serial port, which one may use at a time, was not given up"

    commands = [line.strip().split("  ")[0] for line in said.getvalue().splitlines() if line.startswith(" " * 8)]
    asked = [command.parse(shlex.split(line)[1:]) for line in commands if line.startswith("ci/lab ")]
    assert [one.attach for one in asked if one.attach] == [place]
    assert [one.run for one in asked if one.run] == [[str(place), "journalctl", "-b"]]
    assert f"vncviewer {place / files.VNC}" in said.getvalue()
    assert f"UNIX-CONNECT:{place / files.QMP}   QMP" in said.getvalue()
