"""What a person at a serial terminal does, with a test at the other end of the line."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from lab.errors import LabError
from lab.simulator.serialconsole import SerialConsole


@pytest.fixture
def ends() -> Iterator[tuple[SerialConsole, socket.socket]]:
    ours, theirs = socket.socketpair()
    console = SerialConsole("COM1")
    console.attach(ours)
    with theirs:
        yield console, theirs
        console.detach()


Ends = tuple[SerialConsole, socket.socket]


def test_text_without_what_only_a_terminal_needs(ends: Ends) -> None:
    console, server = ends
    for part in (b"\x1b[2J\x1b[1;", b"1HGRUB\r\n", b"\x1b", b"[0mf\xc3", b"\xbcr \x07\x1b(Bend"):
        server.sendall(part)
    assert console.expect("für", 10)
    console.expect("end$", 10)
    assert console.text == "GRUB\nfür end"


def test_each_match_is_found_once_and_in_order(ends: Ends) -> None:
    console, server = ends
    server.sendall(b"login: root\nlogin: ")
    assert console.expect("login: (.*)", 10)[1] == "root"
    console.expect("^login: ", 10)
    with pytest.raises(LabError, match="'login' did not come within 0 s"):
        console.expect("login", 0)


def test_what_did_not_come_is_told_with_the_last_twenty_lines(ends: Ends) -> None:
    console, server = ends
    server.sendall(b"".join(b"line %d\n" % number for number in range(30)))
    console.expect("line 29", 10)
    with pytest.raises(LabError) as caught:
        console.expect("Oops", 0)
    assert str(caught.value).startswith("COM1: 'Oops' did not come within 0 s; the last lines are:\nline 11\n")


def test_a_command_and_its_answer(ends: Ends) -> None:
    console, server = ends
    server.sendall(b"stale\nproduct# ")
    console.expect("stale", 10)

    def answer() -> None:
        command = server.recv(100)
        server.sendall(command.rstrip(b"\r") + b"\r\none\r\ntwo\r\nproduct# ")

    product = threading.Thread(target=answer)
    product.start()
    assert console.run("cat file", 10) == "one\ntwo"
    product.join()


def test_the_server_goes_off_and_comes_back(ends: Ends) -> None:
    console, server = ends
    server.sendall(b"first\n")
    console.expect("first", 10)
    server.close()
    with pytest.raises(LabError, match="did not come before the server went off"):
        console.expect("second", 10)
    console.detach()
    with pytest.raises(LabError, match="cannot type 'x': the server is off"):
        console.send("x")
    ours, again = socket.socketpair()
    with again:
        console.attach(ours)
        again.sendall(b"second")
        console.expect("second", 10)
        assert console.text == "first\nsecond"
        console.send("typed")
        assert again.recv(100) == b"typed"
        console.detach()
