"""The product's command line, with a test at the other end of the serial cable."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping

import pytest

from lab.errors import LabError
from lab.productcli import Product
from lab.simulator.serialconsole import SerialConsole

_HARDWARE = """vcpus 2\r
memory-kib 1024\r
smbios.product_name Server 9000\r
smbios.board_serial \r
\r
disk.sda.serial WD-1\r
"""


@pytest.fixture
def line() -> Iterator[tuple[Product, socket.socket]]:
    ours, theirs = socket.socketpair()
    console = SerialConsole("COM1")
    console.attach(ours)
    theirs.settimeout(10)
    with theirs:
        yield Product(console), theirs
        console.detach()


Line = tuple[Product, socket.socket]


def serve(server: socket.socket, answers: Mapping[str, str]) -> threading.Thread:
    """Echo one command after the other, and answer it, as the product's shell does."""

    def product() -> None:
        for _ in answers:
            command = server.recv(100).decode().rstrip("\r")
            server.sendall(f"{command}\r\n{answers[command]}product# ".encode())

    thread = threading.Thread(target=product, daemon=True)
    thread.start()
    return thread


def test_questions_and_answers(line: Line) -> None:
    product, server = line
    answers = {
        "show hardware": _HARDWARE,
        "cat /proc/uptime": "61.25 100.00\r\n",
        "cat /var/boots": "2\r\n",
        "true": "",
    }
    thread = serve(server, answers)
    assert product.hardware() == {
        "vcpus": "2",
        "memory-kib": "1024",
        "smbios.product_name": "Server 9000",
        "smbios.board_serial": "",
        "disk.sda.serial": "WD-1",
    }
    assert product.uptime() == 61.25
    assert product.boots() == 2
    assert product.ask("true") == ""
    thread.join(10)
    assert not thread.is_alive()


def test_waiting_for_a_link(line: Line) -> None:
    product, server = line
    loop = "until grep -qx 0 /sys/class/net/eth1/carrier; do sleep 0.2; done"
    thread = serve(server, {loop: ""})
    product.wait_for_link(1, False, 10)
    thread.join(10)
    with pytest.raises(LabError, match=r"did not come within 0\.01 s"):
        product.wait_for_link(0, True, 0.01)
    assert b"until grep -qx 1 /sys/class/net/eth0/carrier;" in server.recv(100)


def test_a_boot_is_over_when_the_command_line_is_there(line: Line) -> None:
    product, server = line
    server.sendall(b"PRODUCT ready\r\n\r\nproduct# ")
    product.wait_until_ready(10)
    with pytest.raises(LabError, match="'PRODUCT ready' did not come within 0 s"):
        product.wait_until_ready(0)  # the boot before is not this one
    server.sendall(b"reboot\r\nPRODUCT ready\r\n")
    with pytest.raises(LabError, match=r"'product# ' did not come within 0\.05 s"):
        product.wait_until_ready(0.05)


def test_a_product_that_does_not_answer(line: Line) -> None:
    product, server = line
    with pytest.raises(LabError, match=r"did not come within 0\.01 s"):
        product.ask("show hardware", 0.01)
    assert server.recv(100) == b"show hardware\r"


def test_a_command_without_an_answer(line: Line) -> None:
    product, server = line
    product.tell("reboot")
    assert server.recv(100) == b"reboot\r"
