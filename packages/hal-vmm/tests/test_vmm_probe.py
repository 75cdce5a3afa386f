"""Probing: a fake QEMU that says what we want, every way in which it can fail, the cache, and the real one."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from hal_core.errors import ConfigError, HostError, UsageError
from hal_vmm.era import ERAS
from hal_vmm.qemu import flavour_builtin, probe

GREETING = {"QMP": {"version": {"qemu": {"major": 9, "minor": 1, "micro": 2}}, "capabilities": []}}
SCHEMA = [
    {"name": "blockdev-add", "meta-type": "command", "arg-type": "0"},
    {
        "name": "0",
        "members": [{"name": "driver", "type": "1"}],
        "variants": [{"case": "host_device", "type": "2"}],
    },
    {"name": "1", "values": ["file", "host_device"]},
    {"name": "2", "members": [{"name": "aio", "type": "3"}]},
    {"name": "3", "values": ["threads", "native"]},
]
ANSWERS = {
    "qmp_capabilities": {},
    "query-kvm": {"enabled": True, "present": True},
    "query-machines": [
        {"name": "pc-q35-rhel9.4.0", "cpu-max": 710},
        {"name": "q35", "cpu-max": 710},
        {"name": "pc-q35-rhel9.6.0", "cpu-max": 710, "deprecated": True},
    ],
    "query-cpu-definitions": [
        {"name": "host", "unavailable-features": []},
        {"name": "EPYC", "unavailable-features": ["sha-ni"], "deprecated": False},
    ],
    "query-command-line-options": [{"option": "sandbox", "parameters": [{"name": "enable"}]}],
    "query-qmp-schema": SCHEMA,
    "device": [{"name": "VGA"}],
    "user-creatable": [{"name": "iothread"}],
    "accel": [{"name": "kvm-accel"}, {"name": "tcg-accel"}],
    "quit": {},
}


@pytest.fixture(autouse=True)
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HAL_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def program(tmp_path: Path, body: str) -> str:
    """An executable Python program."""
    path = tmp_path / "qemu-fake"
    path.write_text(f"#!{sys.executable} -S\n" + textwrap.dedent(body))
    path.chmod(0o755)
    return str(path)


def fake(tmp_path: Path, answers: dict[str, Any]) -> str:
    """A QEMU that gives these answers, and counts how often it was started."""
    return program(
        tmp_path,
        f"""
        import json, sys
        answers = json.loads({json.dumps(json.dumps(answers))})
        open({str(tmp_path / "starts")!r}, "a").write("x")
        print({json.dumps(json.dumps(GREETING))})
        for line in sys.stdin:
            command = json.loads(line)
            name = command["arguments"].get("implements") or command["execute"]
            if name in answers:
                print(json.dumps({{"return": answers[name], "id": command["id"]}}))
            else:
                print(json.dumps({{"error": {{"class": "CommandNotFound", "desc": "no"}}, "id": command["id"]}}))
        """,
    )


def test_what_qemu_says_becomes_a_flavour(tmp_path: Path) -> None:
    flavour = probe.probe(fake(tmp_path, ANSWERS))
    assert flavour.version == (9, 1, 2)
    assert flavour.kvm_by_fd
    assert flavour.newest_machine("q35").name == "pc-q35-rhel9.4.0"  # the newer one is deprecated
    assert flavour.accelerators == {"kvm", "tcg"}
    assert flavour.block_drivers == {"file", "host_device"}
    assert flavour.aio == {"threads", "native"}
    assert flavour.objects == {"iothread"}
    assert flavour.sandbox
    assert flavour.has("VGA")
    assert [(model.name, model.runnable) for model in flavour.cpu_models] == [("host", True), ("EPYC", False)]


def test_without_kvm_nothing_is_known_of_what_the_processor_can_be(tmp_path: Path) -> None:
    flavour = probe.probe(fake(tmp_path, {**ANSWERS, "query-kvm": {"enabled": False, "present": True}}))
    assert [model.runnable for model in flavour.cpu_models] == [None, None]


def test_a_question_that_this_qemu_does_not_know_is_no_failure(tmp_path: Path) -> None:
    fewer = {name: answer for name, answer in ANSWERS.items() if name != "query-command-line-options"}
    assert not probe.probe(fake(tmp_path, fewer)).sandbox


def test_it_is_asked_once_until_the_binary_changes(tmp_path: Path, state_dir: Path) -> None:
    binary = fake(tmp_path, ANSWERS)
    first = probe.probe(binary)
    assert probe.probe(binary) == first
    assert (tmp_path / "starts").read_text() == "x"
    os.utime(binary, ns=(1, 1))
    assert probe.probe(binary) == first
    assert (tmp_path / "starts").read_text() == "xx"
    (state_dir / "vmm/flavour.json").write_text('{"key": {}, "fac')
    assert probe.probe(binary) == first
    assert (tmp_path / "starts").read_text() == "xxx"


def test_a_hung_qemu_is_given_up(tmp_path: Path) -> None:
    binary = program(tmp_path, "import sys\nwhile True:\n    sys.stdin.readline()\n")
    with pytest.raises(HostError, match=r"did not answer within 0\.3 s"):
        probe.probe(binary, deadline=0.3)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("print('hello')", "does not speak QMP"),
        ("print('{\"QMP\": 1}')", "does not speak QMP"),
        ("import os; os.write(1, b'\\xff\\xfe')", "does not speak QMP"),
        ("", "answered only 0 of"),
        ("import sys; sys.exit('qemu: no such accelerator')", "ended with status 1: qemu: no such accelerator"),
    ],
)
def test_what_is_no_qemu_is_said_in_one_line(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(HostError, match=message) as caught:
        probe.probe(program(tmp_path, "import sys; sys.stdin.read()\n" + body))
    assert "\n" not in caught.value.message


def test_a_binary_that_is_not_there_or_cannot_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"cannot run .*nowhere: No such file"):
        probe.probe(str(tmp_path / "nowhere"))
    (tmp_path / "text").write_text("no program")
    with pytest.raises(HostError, match="cannot run"):
        probe.probe(str(tmp_path / "text"))
    with pytest.raises(ConfigError, match=r'vmm\.qemu = "qemu-system-z80": no such program'):
        probe.find("qemu-system-z80")


def test_no_qemu_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(probe, "SEARCH", ("/nowhere/qemu-kvm", "qemu-system-x86_64"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="no QEMU is installed: looked for /nowhere/qemu-kvm") as caught:
        probe.find()
    assert "qemu-kvm" in caught.value.hint


def test_assumed_flavours_have_what_every_era_needs() -> None:
    for flavour in flavour_builtin.FLAVOURS.values():
        for era in ERAS.values():
            assert set(era.device_types()) <= flavour.devices
            assert flavour.newest_machine(era.family)
    with pytest.raises(UsageError, match="no such QEMU flavour; there are debian12, el9, el10, fedora"):
        flavour_builtin.assume("slackware")


@pytest.mark.component
@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="no qemu-system-x86_64 installed")
def test_the_real_one_has_what_every_era_needs() -> None:
    flavour = probe.probe(probe.find())
    for era in ERAS.values():
        assert [device for device in era.device_types() if not flavour.has(device)] == []
        assert flavour.machine(flavour.newest_machine(era.family).name)
    assert "tcg" in flavour.accelerators
    assert "host_device" in flavour.block_drivers
    assert flavour.cpu_model("max")
    if flavour.version[:2] == (7, 2):
        # What is assumed of Debian 12 holds for the real one.
        assumed = flavour_builtin.FLAVOURS["debian12"]
        assert assumed.devices <= flavour.devices
        assert assumed.objects <= flavour.objects
        assert {machine.name: machine.max_cpus for machine in assumed.machines}.items() <= {
            machine.name: machine.max_cpus for machine in flavour.machines
        }.items()
        assert {model.name for model in assumed.cpu_models} <= {model.name for model in flavour.cpu_models}
