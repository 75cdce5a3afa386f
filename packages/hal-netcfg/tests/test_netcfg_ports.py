"""Ports that the product may reach: what packages declare, what the administrator makes of it, and wrong files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hal_core.errors import ConfigError
from hal_netcfg.firewall import ports
from hal_netcfg.firewall.ports import Port

GOOD = '[[port]]\nprotocol = "tcp"\nport = 2514\nwhat = "syslog (RELP)"\n'


@pytest.fixture(autouse=True)
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty /etc/hal/ports.d, and /usr/lib/hal/ports.d at :func:`packaged`."""
    for variable, name in (("HAL_CONFIG_DIR", "etc"), ("HAL_DEFAULTS_DIR", "lib")):
        (tmp_path / name / "ports.d").mkdir(parents=True)
        monkeypatch.setenv(variable, str(tmp_path / name))
    return tmp_path / "etc/ports.d"


@pytest.fixture
def packaged(tmp_path: Path) -> Path:
    return tmp_path / "lib/ports.d"


def entry(protocol: str, port: int, what: str) -> str:
    return f'[[port]]\nprotocol = "{protocol}"\nport = {port}\nwhat = "{what}"\n'


def test_without_any_file_or_directory_nothing_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ports.read() == ()
    monkeypatch.setenv("HAL_CONFIG_DIR", "/nonexistent")
    monkeypatch.setenv("HAL_DEFAULTS_DIR", "/nonexistent")
    assert ports.read() == ()


def test_what_all_files_declare_is_sorted(etc: Path, packaged: Path) -> None:
    (packaged / "syslog.toml").write_text(entry("udp", 2514, "syslog") + entry("tcp", 2514, "syslog (RELP)"))
    (packaged / "collectd.toml").write_text(entry("udp", 25826, "collectd"))
    (etc / "own.toml").write_text(entry("tcp", 22, "ssh"))
    assert ports.read() == (
        Port("tcp", 22, "ssh"),
        Port("tcp", 2514, "syslog (RELP)"),
        Port("udp", 2514, "syslog"),
        Port("udp", 25826, "collectd"),
    )


def test_the_administrators_file_replaces_the_packaged_one(etc: Path, packaged: Path) -> None:
    (packaged / "syslog.toml").write_text(entry("tcp", 2514, "syslog") + entry("udp", 2514, "syslog"))
    (packaged / "ssh.toml").write_text(entry("tcp", 22, "ssh"))
    (etc / "syslog.toml").write_text(entry("tcp", 601, "syslog, moved"))
    assert ports.read() == (Port("tcp", 22, "ssh"), Port("tcp", 601, "syslog, moved"))
    (etc / "syslog.toml").write_text("")
    assert ports.read() == (Port("tcp", 22, "ssh"),)
    (etc / "ssh.toml").write_text("# nothing but a comment\n")
    assert ports.read() == ()


def test_a_packaged_file_that_is_replaced_may_be_wrong(etc: Path, packaged: Path) -> None:
    (packaged / "syslog.toml").write_text("not TOML")
    (etc / "syslog.toml").write_text(GOOD)
    assert ports.read() == (Port("tcp", 2514, "syslog (RELP)"),)


def test_a_port_that_several_declare_is_open_once(etc: Path, packaged: Path) -> None:
    (packaged / "b.toml").write_text(entry("tcp", 2514, "second") + entry("tcp", 2514, "third"))
    (etc / "a.toml").write_text(entry("tcp", 2514, "first"))
    assert ports.read() == (Port("tcp", 2514, "first"),)


def test_other_files_are_not_read(etc: Path) -> None:
    for name in (".hidden.toml", "old.toml~", "README"):
        (etc / name).write_text("not TOML")
    assert ports.read() == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("port", ": not valid TOML: "),
        (b"what = '\xff'", ": not valid TOML: "),
        ("a = " + "[" * 5000, ": not valid TOML: "),
        ("Port = 1", ": Port: no such key; allowed is [[port]]"),
        ('"\\n" = 1', ': "\\u000a": no such key; allowed is [[port]]'),
        ("port = 514", ": port = 514: allowed is [[port]], with two brackets"),
        ("[port]\nport = 514", ": port = a table: allowed is [[port]], with two brackets"),
        ("port = [514]", ": port[0] = 514: allowed is a table"),
        ("[[port]]", ': port[0].protocol: missing; allowed is "tcp" or "udp"'),
        (GOOD + "proto = 1", ": port[0].proto: no such key; allowed are protocol, port, what"),
        (GOOD + GOOD.replace("tcp", "icmp"), ': port[1].protocol = "icmp": allowed is "tcp" or "udp"'),
        (GOOD.replace('"tcp"', "6"), ': port[0].protocol = 6: allowed is "tcp" or "udp"'),
        (GOOD.replace("2514", "0"), ": port[0].port = 0: allowed is a whole number from 1 to 65535"),
        (GOOD.replace("2514", "65536"), ": port[0].port = 65536: allowed is a whole number from 1 to 65535"),
        (GOOD.replace("2514", '"22"'), ': port[0].port = "22": allowed is a whole number from 1 to 65535'),
        (GOOD.replace("2514", "true"), ": port[0].port = true: allowed is a whole number from 1 to 65535"),
        (GOOD.replace("port = 2514\n", ""), ": port[0].port: missing; allowed is a whole number from 1 to 65535"),
        (GOOD.replace('what = "syslog (RELP)"', ""), ": port[0].what: missing; allowed is a text that matches "),
        (GOOD.replace("syslog (RELP)", ""), ': port[0].what = "": allowed is a text that matches '),
        (GOOD.replace("syslog (RELP)", " "), ': port[0].what = " ": allowed is a text that matches '),
        (GOOD.replace("syslog (RELP)", "a\\nb"), ': port[0].what = "a\\u000ab": allowed is a text that matches '),
        (GOOD.replace("syslog (RELP)", 'a \\" b'), ': port[0].what = "a \\" b": allowed is a text that matches '),
        (GOOD.replace("syslog (RELP)", "ü"), ': port[0].what = "ü": allowed is a text that matches '),
        (
            GOOD.replace("syslog (RELP)", "x" * 61),
            ': port[0].what = "' + "x" * 58 + "…: allowed is a text that matches ",
        ),
    ],
)
def test_a_wrong_file_gets_one_line_that_says_where(etc: Path, text: str | bytes, problem: str) -> None:
    file = etc / "bad.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as raised:
        ports.read()
    assert str(raised.value).startswith(f"{file}{problem}")
    assert "\n" not in raised.value.message
    assert raised.value.exit_status == 78


def test_the_longest_text_is_accepted(etc: Path) -> None:
    (etc / "long.toml").write_text(entry("udp", 65535, "x" * 60))
    assert ports.read() == (Port("udp", 65535, "x" * 60),)


def test_what_is_no_file_is_said_and_not_waited_for(etc: Path) -> None:
    os.mkfifo(etc / "fifo.toml")
    with pytest.raises(ConfigError, match=r"/fifo\.toml: cannot be read: not a regular file$"):
        ports.read()
    (etc / "fifo.toml").unlink()
    (etc / "link.toml").symlink_to("/nonexistent")
    with pytest.raises(ConfigError, match=r"/link\.toml: cannot be read: not a regular file$"):
        ports.read()


def test_a_directory_that_is_none_is_said(etc: Path) -> None:
    etc.rmdir()
    etc.write_text("")
    with pytest.raises(ConfigError, match=r"/ports\.d: cannot be read: Not a directory$"):
        ports.read()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_must_not_be_read_is_said(etc: Path) -> None:
    (etc / "secret.toml").write_text(GOOD)
    (etc / "secret.toml").chmod(0)
    with pytest.raises(ConfigError, match=r"/secret\.toml: cannot be read: Permission denied$"):
        ports.read()
