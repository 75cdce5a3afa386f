"""The sd_notify(3) protocol, against a socket like the service manager's."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal_core.notify import environment_of_children, notify, watchdog_seconds


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        yield sock


def test_without_a_service_manager_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert notify("READY=1") is False
    monkeypatch.setenv("NOTIFY_SOCKET", "")
    assert notify("READY=1") is False


def test_a_message_is_one_datagram(tmp_path: Path, manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "notify")
    manager.bind(path)
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    assert notify("READY=1\nSTATUS=läuft") is True
    assert notify("WATCHDOG=1") is True
    assert manager.recv(100) == "READY=1\nSTATUS=läuft".encode()
    assert manager.recv(100) == b"WATCHDOG=1"


def test_an_abstract_address_is_understood(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"hal-test-notify-{os.getpid()}"
    manager.bind("\0" + name)
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
    assert notify("READY=1") is True
    assert manager.recv(100) == b"READY=1"


def test_children_get_everything_but_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("LANG", "C.UTF-8")
    environment = environment_of_children()
    assert "NOTIFY_SOCKET" not in environment
    assert environment == {name: os.environ[name] for name in os.environ if name != "NOTIFY_SOCKET"}
    assert environment["LANG"] == "C.UTF-8"


def test_a_manager_that_has_gone_is_an_error_and_leaves_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        notify("READY=1")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [
        (None, None, 0.0),
        ("30000000", None, 30.0),
        ("1500000", "own", 1.5),
        ("30000000", "1", 0.0),  # it is our parent that is watched
        ("30000000", "garbage", 0.0),
        ("", None, 0.0),
        ("soon", None, 0.0),
        ("-5", None, 0.0),
    ],
)
def test_how_often_the_watchdog_wants_to_hear_from_us(
    monkeypatch: pytest.MonkeyPatch, microseconds: str | None, pid: str | None, seconds: float
) -> None:
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert watchdog_seconds() == seconds
