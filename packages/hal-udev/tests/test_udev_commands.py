"""The verbs of ``hal udev``, on a recorded server and with a resident's status file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hal_core import paths
from hal_core.errors import ConfigError, FileFormatError, HostError, UsageError
from hal_core.machine import UsbInterface
from hal_core.testing import synthetic
from hal_udev.commands import apply_command, plan_command, status_command
from hal_udev.config import UdevConfig
from hal_udev.main import PROGRAM
from hal_udev.plan import planfile, udevrules
from hal_udev.statusfile import STATUS

DEVICES = (
    synthetic.usb_device(),
    synthetic.usb_hub("1-1"),
    synthetic.usb_plugged("1-1.4", serial="S1", manufacturer="Acme"),
    synthetic.usb_plugged("1-2", serial="", product="", manufacturer="", driver="", class_id="ff"),
    synthetic.usb_plugged("1-5", product="Keyboard", interfaces=(UsbInterface(0, "03", "01", "01", "usbhid"),)),
    synthetic.usb_token("1-6"),
    synthetic.usb_token("1-7", driver="usbfs", number=6),
)


@pytest.fixture
def server(tmp_path: Path) -> str:
    """A recorded one."""
    root = tmp_path / "recorded"
    synthetic.write_tree(str(root), synthetic.machine(disks=1, hal_disk=True, usb=DEVICES))
    return str(root)


def said(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    assert PROGRAM.main([*words]) == status
    return capsys.readouterr().out


def test_facts(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "facts", "--root", server).splitlines()
    assert lines[0].split() == ["PORT", "STAYS", "THE", "SAME", "DEVICE", "SERIAL", "MBIT/S", "CLASS", "DRIVER"]
    (stick,) = (line.split() for line in lines if line.startswith("1-1.4 "))
    assert stick == [
        *("1-1.4", f"{synthetic.USB_CONTROLLER}/usb2/1.4", "Acme", "Stick", "(0781:5571)"),
        *("S1", "480", "storage", "usb-storage"),
    ]
    assert json.loads(said(capsys, "facts", "--json", "--root", server))[1]["serial"] == "S1"


def test_plan(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "plan", "--root", server)
    rows = {line.split()[0]: " ".join(line.split()) for line in text.splitlines() if line}
    assert rows["1-3"].endswith("stays with the host built in: the host has a file system of it mounted")
    assert rows["1-1"].endswith("stays with the host built in: a hub; what is behind it goes to the product")
    assert rows["1-1.4"].endswith("Acme Stick (0781:5571) S1 goes to xhci.0 port 1 every device")
    assert rows["1-2"].endswith("0781:5571 - goes to xhci.0 port 2 every device")
    assert rows["1-5"].endswith("stays with the host built in: the keyboard of hal-console")
    for port, place in (("1-6", 3), ("1-7", 4)):
        rule = "built in: a security token (FIDO), no keyboard though it types"
        assert rows[port].endswith(f"Synth Token (1050:0403) - goes to xhci.0 port {place} {rule}")
    planned = json.loads(said(capsys, "plan", "--json", "--root", server))
    found = {one["port"]: (one["action"], one["place"]) for one in planned["devices"]}
    assert found["1-1.4"] == ("give", {"bus": "xhci.0", "port": 1})
    assert found["1-3"] == ("keep", None)


def test_plan_with_rules(server: str, directories: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directories / "etc/hal.toml").write_text('[[udev.keep]]\nport = "1-1"\n[[udev.keep]]\nserial = "X"\n')
    text = said(capsys, "plan", "--root", server)
    assert "udev.keep[0]: port 1-1\n" in text
    assert "notes:\n  udev.keep[1]: serial X: fits nothing that is plugged in now\n" in text
    (directories / "etc/hal.toml").write_text("[[udev.keep]]\n")
    with pytest.raises(ConfigError, match=r"udev\.keep\[0\]: says of no device"):
        PROGRAM.main(["plan", "--root", server])


def test_plan_of_a_server_where_it_is_not_known_what_hal_runs_from(tmp_path: Path) -> None:
    root = tmp_path / "other"
    synthetic.write_tree(str(root), synthetic.machine(disks=1, usb=DEVICES[1:]))
    planned = plan_command.make(str(root), UdevConfig())
    assert {one.device.port: one.keep for one in planned.devices} == {
        "1-1": True,
        "1-1.4": True,
        "1-2": False,
        "1-5": True,
        "1-6": False,
        "1-7": False,
    }


def test_nothing_plugged_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "bare"
    synthetic.write_tree(str(root), synthetic.machine(usb=()))
    assert said(capsys, "plan", "--root", str(root)) == "no devices\n"


@pytest.mark.parametrize("words", [["plan", "--root"], ["facts", "--jsno"], ["status", "x"], ["plug"]])
def test_wrong_words(words: list[str]) -> None:
    with pytest.raises(UsageError):
        PROGRAM.main(words)


# --- status


def told(port: str, state: str, **more: str) -> dict[str, str]:
    known = {"port": port, "path": "", "name": "Stick (0781:5571)", "vendor_id": "0781", "product_id": "5571"}
    return {**known, "serial": "", "state": state, "reason": "", "rule": "every device", "place": "", **more}


def write_status(pid: int, *devices: dict[str, str], **more: Any) -> None:
    known = {"pid": pid, "product": True, "devices": devices, "notes": [], "problems": [], **more}
    Path(STATUS.path(paths.run_dir())).write_text(json.dumps(known))


@pytest.fixture
def resident() -> Any:
    """A process that looks like ``hal-udev run``, and does nothing."""
    script = "import signal; signal.signal(signal.SIGHUP, lambda *_: print('hup', flush=True)); print(flush=True)"
    command = [sys.executable, "-c", f"{script}\nwhile True: signal.pause()", "/usr/bin/hal-udev", "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_status(resident: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write_status(resident.pid, told("1-1", "attached", place="xhci.0 port 3"), told("1-2", "kept", reason="a hub"))
    lines = said(capsys, "status").splitlines()
    assert lines[1].split() == ["1-1", "Stick", "(0781:5571)", "-", "attached", "xhci.0", "port", "3"]
    assert lines[2].split()[-3:] == ["kept", "a", "hub"]


def test_what_is_wrong_is_the_exit_status(resident: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write_status(resident.pid, told("1-1", "retrying", reason="Input/output error; failed once"))
    assert "wrong:\n  1-1: Input/output error; failed once\n" in said(capsys, "status", status=1)
    write_status(resident.pid, told("1-1", "no product"), product=False)
    assert "no product is running" in said(capsys, "status")
    write_status(resident.pid, problems=["hal.toml: no"])
    assert json.loads(said(capsys, "status", "--json", status=1))["problems"] == ["hal.toml: no"]


def test_a_resident_that_does_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HostError, match="hal-udev has not run since this host booted"):
        PROGRAM.main(["status"])
    write_status(1, told("1-1", "attached"))
    assert said(capsys, "status", status=3).startswith("hal-udev is not running")


@pytest.mark.parametrize("damaged", ["", "[]", '{"pid": true}', '{"pid": 1}', '{"pid": 1, "devices": [{}]}'])
def test_a_damaged_status_file(damaged: str) -> None:
    Path(STATUS.path(paths.run_dir())).write_text(damaged)
    with pytest.raises(FileFormatError, match=r"status\.json is damaged: .* \(systemctl restart hal-udev\)"):
        PROGRAM.main(["status"])


def test_every_state_that_the_resident_writes_is_one_that_the_help_knows() -> None:
    source = (Path(status_command.__file__).parents[1] / "resident").glob("*.py")
    text = "".join(path.read_text() for path in source)
    assert [state for state in status_command.STATES if f'"{state}"' not in text] == []


# --- apply


def test_apply_tells_udev_and_the_resident(
    resident: Any, server: str, directories: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(planfile.path(paths.run_dir())).write_text('{"usb_buses": [{"bus": "xhci.0", "ports": 15}], "serial": []}')
    made = plan_command.make
    monkeypatch.setattr(plan_command, "make", lambda root, settings: made(server, settings))
    write_status(resident.pid, told("1-1.4", "attached"), told("1-2", "attached"))
    (directories / "etc/hal.toml").write_text('[[udev.keep]]\nserial = "S1"\n')
    expected = [
        "1-1.4: Acme Stick (0781:5571): stays with the host: udev.keep[0]: serial S1",
        f"{udevrules.path()}: written",
    ]
    assert said(capsys, "apply", "--dry-run").splitlines() == expected
    assert not os.path.exists(udevrules.path())
    assert json.loads(said(capsys, "apply", "--json")) == {"changes": expected}
    assert resident.stdout.readline() == "hup\n"
    assert 'ATTRS{serial}=="S1"' in Path(udevrules.path()).read_text()
    assert oct(os.stat(udevrules.path()).st_mode & 0o777) == "0o644"
    (directories / "etc/hal.toml").write_text("")
    assert said(capsys, "apply").splitlines() == [f"{udevrules.path()}: written"]
    assert not os.path.exists(udevrules.path())
    assert said(capsys, "apply") == "nothing to change\n"


def test_apply_with_a_mistake_in_hal_toml_changes_nothing(directories: Path) -> None:
    (directories / "etc/hal.toml").write_text('[[udev.keep]]\nserial = "S1"\n[[udev.keep]]\ngive = true\n')
    with pytest.raises(ConfigError):
        PROGRAM.main(["apply"])
    assert not os.path.exists(udevrules.path())


def test_apply_without_permission(monkeypatch: pytest.MonkeyPatch, directories: Path, server: str) -> None:
    made = plan_command.make
    monkeypatch.setattr(plan_command, "make", lambda root, settings: made(server, settings))
    (directories / "etc/hal.toml").write_text('[[udev.keep]]\nserial = "S1"\n')
    monkeypatch.setattr(udevrules, "DIRECTORY", "/proc/nowhere")
    with pytest.raises(HostError, match=r"^/proc/nowhere/59-hal-udev\.rules: "):
        apply_command.main([])


def test_disks_and_drives_have_tables_of_their_own(resident: Any, capsys: pytest.CaptureFixture[str]) -> None:
    disk = {"host": "/dev/sdb", "name": "Acme D", "serial": "S1", "place": "pci-1", "io_errors": 0}
    disks = [
        {"id": "disk0", **disk, "state": "attached", "reason": ""},
        {"id": "disk3", **disk, "state": "errors", "reason": "2 I/O errors, the last one: read: Input/output error"},
    ]
    drive = {"id": "dvd0", "host": "/dev/sr0", "state": "attached", "reason": "no disc"}
    write_status(resident.pid, disks=disks, dvd=[drive])
    text = said(capsys, "status", status=1)
    assert "wrong:\n  disk3 /dev/sdb: 2 I/O errors" in text
    assert [line.split()[:2] for line in text.splitlines() if "/dev/sdb" in line][:2] == [
        ["0", "/dev/sdb"],
        ["3", "/dev/sdb"],
    ]
    assert "/dev/sr0" in text
