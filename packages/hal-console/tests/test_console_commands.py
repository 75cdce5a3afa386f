"""The verbs: what they print, and how they refuse."""

from __future__ import annotations

import json
import os
import pty
from pathlib import Path

import pytest

from hal_console import main
from hal_console.config import ConsoleConfig
from hal_console.remote import serialport
from hal_console.rfb.pixels import PixelFormat
from hal_console.screen import framebuffer
from hal_console.terminal.vt import Terminal
from hal_core.errors import ConfigError, FileFormatError, HostError, UsageError

verb = main.PROGRAM.main


@pytest.fixture(autouse=True)
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RUN", "CONFIG", "DEFAULTS", "STATE"):
        monkeypatch.setenv(f"HAL_{name}_DIR", str(tmp_path / name.lower()))
    (tmp_path / "run" / "console").mkdir(parents=True)
    return tmp_path / "run"


def configured(run_dir: Path, text: str) -> None:
    (run_dir.parent / "config").mkdir()
    (run_dir.parent / "config" / "hal.toml").write_text(text)


def saved(run_dir: Path, **changes: object) -> None:
    known = {
        "pid": os.getpid(),
        "terminal": "/dev/tty1",
        "display": "framebuffer",
        "screen": "1280x800, 32 bits per pixel, EFI VGA",
        "note": "",
        "showing": "the product",
        "connected": True,
        "picture": [720, 400],
        **changes,
    }
    (run_dir / "console" / "status.json").write_text(json.dumps(known))


# --- plan -------------------------------------------------------------------------------------------------------------


def test_plan_without_a_framebuffer_says_why(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configured(run_dir, '[console]\nframebuffer = "/dev/no-such-fb"\nescape = true\n')
    assert verb(["plan"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("display   text: the text of the product alone\n")
    assert "because   /dev/no-such-fb: No such file or directory: this server's kernel gives no framebuffer" in said
    assert "escape    Ctrl+Alt+Shift+F2 to F12 lead to this server's terminals" in said
    assert verb(["plan", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert (planned["display"], planned["screen"], planned["escape"]) == ("text", None, True)


def test_plan_of_what_is_no_framebuffer(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configured(run_dir, '[console]\nframebuffer = "/dev/null"\n')
    assert verb(["plan"]) == 0
    assert "/dev/null: not a framebuffer: Inappropriate ioctl for device" in capsys.readouterr().out


def test_a_mistake_in_hal_toml(run_dir: Path) -> None:
    configured(run_dir, '[console]\nframebuffer = "fb0"\n')
    with pytest.raises(ConfigError, match=r"console\.framebuffer"):
        verb(["plan"])


# --- status -----------------------------------------------------------------------------------------------------------


def test_status(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(run_dir)  # by this process, which is no resident
    assert verb(["status"]) == 3
    said = capsys.readouterr().out
    assert "resident  not running\n" in said
    assert "display   framebuffer: 1280x800, 32 bits per pixel, EFI VGA\n" in said
    assert "picture   720x400\n" in said
    assert verb(["status", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["running"] is False


def test_status_without_a_resident_ever(run_dir: Path) -> None:
    with pytest.raises(HostError, match="hal-console has not run since this host booted"):
        verb(["status"])


@pytest.mark.parametrize("content", ["{", "[]", '{"pid": "x"}', '{"pid": 1}', '{"pid": 1, "picture": 7}'])
def test_status_from_a_damaged_file(run_dir: Path, content: str) -> None:
    (run_dir / "console" / "status.json").write_text(content)
    with pytest.raises(FileFormatError, match="is damaged"):
        verb(["status"])


# --- run, restore -----------------------------------------------------------------------------------------------------


def test_a_pseudo_terminal_is_no_terminal_of_this_server() -> None:
    ours, theirs = pty.openpty()
    try:
        with pytest.raises(HostError, match="is no virtual terminal of this server"):
            Terminal(theirs).take(10, 12)
    finally:
        os.close(ours)
        os.close(theirs)


def test_no_terminal_at_all() -> None:
    with open(os.devnull, "rb") as null, pytest.raises(HostError, match="standard input is no virtual terminal"):
        Terminal(null.fileno()).take(10, 12)


@pytest.mark.parametrize("path", ["/dev/sda", "/dev/tty0", "/dev/tty", "tty1", "/dev/ttyS0", "/dev/tty100"])
def test_restore_takes_virtual_terminals_only(path: str) -> None:
    with pytest.raises(UsageError, match="allowed are /dev/tty1 to /dev/tty63"):
        verb(["restore", "--tty", path])


# --- attach -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "index"), [("com1", 0), ("COM2", 1), ("3", 2)])
def test_serial_ports_by_name(name: str, index: int) -> None:
    assert serialport.index(name) == index


@pytest.mark.parametrize("name", ["com0", "com5", "ttyS0", "", "com11"])
def test_other_serial_ports_there_are_none(name: str) -> None:
    with pytest.raises(UsageError, match="allowed are com1 to com4"):
        serialport.index(name)


def test_the_port_of_this_server_comes_from_the_plan(run_dir: Path) -> None:
    with pytest.raises(HostError, match="nothing has been planned since this host booted"):
        serialport.host_port(str(run_dir), 0)
    (run_dir / "plan.json").write_text(json.dumps({"serial": [{"host": "/dev/ttyS1", "index": 1, "present": True}]}))
    assert serialport.host_port(str(run_dir), 1) == "/dev/ttyS1"
    with pytest.raises(HostError, match="the product has no port com1 of this server's; it has: com2"):
        serialport.host_port(str(run_dir), 0)
    (run_dir / "plan.json").write_text('{"serial": 7}')
    with pytest.raises(FileFormatError, match="is damaged"):
        serialport.host_port(str(run_dir), 0)


def test_attach_wants_a_terminal() -> None:
    with pytest.raises(HostError, match="standard input is no terminal"):
        verb(["attach"])


def test_the_option_attach_is_the_verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["hal-console", "--attach", "--help"])
    assert main.run() == 0
    assert capsys.readouterr().out.startswith("usage: hal-console attach")


# --- the framebuffer's own words --------------------------------------------------------------------------------------

VARIABLE = [1280, 800, 1280, 1600, 0, 800, 32, 0, 16, 8, 0, 8, 8, 0, 0, 8, 0, 24, 8, 0, *[0] * 20]


def fixed(**changes: object) -> bytes:
    words: dict[str, object] = {"id": b"EFI VGA", "start": 0, "length": 8192000, "type": 0, "aux": 0, "visual": 2}
    words.update({"pan": 0, "ypan": 0, "wrap": 0, "stride": 5120, "mmio": 0, "mmio_length": 0, "accel": 0})
    words.update({"capabilities": 0, "reserved": 0, "reserved2": 0, **changes})
    return framebuffer._FIXED.pack(*words.values())


def test_a_framebuffer_of_32_bits() -> None:
    found = framebuffer.decode("/dev/fb0", framebuffer._VARIABLE.pack(*VARIABLE), fixed())
    assert (found.width, found.height, found.bits, found.stride) == (1280, 800, 32, 5120)
    assert found.offset == 800 * 5120
    assert found.format == PixelFormat(32, (16, 8), (8, 8), (0, 8))
    assert str(found) == "1280x800, 32 bits per pixel, EFI VGA"


@pytest.mark.parametrize(
    ("place", "value", "changes"),
    [
        (6, 8, {}),
        (6, 4, {}),
        (7, 1, {}),
        (0, 0, {}),
        (1, 1601, {}),
        (0, 1280, {"visual": 3}),
        (0, 1280, {"type": 1}),
        (0, 1280, {"length": 8191999}),
    ],
)
def test_a_framebuffer_that_nothing_can_be_drawn_on(place: int, value: int, changes: dict[str, object]) -> None:
    words = [*VARIABLE]
    words[place] = value
    with pytest.raises(HostError, match=r"^/dev/fb0: "):
        framebuffer.decode("/dev/fb0", framebuffer._VARIABLE.pack(*words), fixed(**changes))


def test_the_defaults_are_safe() -> None:
    assert ConsoleConfig().escape is False
