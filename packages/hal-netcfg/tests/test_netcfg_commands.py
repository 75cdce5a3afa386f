"""``hal netcfg facts``, ``plan``, ``apply`` and ``run`` as people call them, and every way in which they refuse."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hal_core
import hal_netcfg
from a_resident import a_resident
from hal_core.errors import ConfigError, FileFormatError, HostError, UsageError
from hal_core.testing import synthetic, sysfs
from hal_netcfg import engine, hardware
from hal_netcfg.commands import apply_command, facts_command, plan_command, run_command, status_command
from hal_netcfg.config import NetcfgConfig
from hal_netcfg.engine import Sight
from hal_netcfg.links.action import Create
from hal_netcfg.links.apply import Outcome
from hal_netcfg.main import PROGRAM
from hal_netcfg.plan.network import HostLink, Network, Problem
from hal_netcfg.resident import process
from hal_netcfg.statusfile import STATUS

COMMANDS = {
    "facts": facts_command,
    "plan": plan_command,
    "apply": apply_command,
    "run": run_command,
    "status": status_command,
}


@pytest.fixture(autouse=True)
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable, name in (("CONFIG", "etc"), ("DEFAULTS", "lib"), ("STATE", "state"), ("RUN", "run")):
        monkeypatch.setenv(f"HAL_{variable}_DIR", str(tmp_path / name))
    (tmp_path / "etc").mkdir()
    (tmp_path / "run").mkdir()
    return tmp_path


def configure(directory: Path, text: str) -> None:
    (directory / "etc/hal.toml").write_text(text)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> str:
    usb = synthetic.nic(9, name="enx0", bus="usb", bus_path="1-1:1.0")
    nics = (*(synthetic.nic(index) for index in range(3)), usb)
    root = str(tmp_path_factory.mktemp("server"))
    sysfs.write_tree(root, replace(synthetic.machine(cores=1, disks=0), nics=nics))
    return root


# --- what all verbs have ----------------------------------------------------------------------------------------------


def test_each_verb_is_tested_here() -> None:
    assert COMMANDS.keys() == PROGRAM.verbs.keys()


@pytest.mark.parametrize("verb", COMMANDS)
def test_help_is_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--help", "-h"):
        assert PROGRAM.main([verb, option]) == 0
        text = capsys.readouterr().out
        assert text.startswith(f"usage: hal-netcfg {verb}")
        assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("verb", COMMANDS)
@pytest.mark.parametrize("word", ["--nonsense", "now", "--help-me"])
def test_unknown_arguments(verb: str, word: str) -> None:
    with pytest.raises(UsageError, match=f"^{verb}: unknown argument {word} ") as caught:
        PROGRAM.main([verb, word])
    assert caught.value.hint == f"see: hal-netcfg {verb} --help"


@pytest.mark.parametrize("verb", ["facts", "plan"])
def test_a_root_needs_a_value(verb: str) -> None:
    for words in (["--root"], ["--root="]):
        with pytest.raises(UsageError, match=f"{verb}: --root needs a value"):
            PROGRAM.main([verb, *words])


@pytest.mark.parametrize("verb", ["facts", "plan"])
def test_a_recorded_server_that_is_not_there(verb: str, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="nowhere"):
        PROGRAM.main([verb, "--root", str(tmp_path / "nowhere")])


@pytest.mark.parametrize("words", [["plan", "--root", "/proc"], ["apply"], ["apply", "--dry-run"], ["run"]])
def test_wrong_configuration_is_said_before_anything_else(directories: Path, words: list[str]) -> None:
    configure(directories, "[netcfg]\nmtu = 70000\n")
    with pytest.raises(ConfigError, match=r"hal\.toml: netcfg\.mtu = 70000: allowed is"):
        PROGRAM.main(words)


def test_no_verb_and_an_unknown_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert PROGRAM.main([]) == 2
    assert all(f"\n  {verb:<12} " in capsys.readouterr().out for verb in list(COMMANDS)[:1])
    with pytest.raises(UsageError, match="unknown verb fix"):
        PROGRAM.main(["fix"])


def test_the_common_verbs_cost_few_imports(directories: Path) -> None:
    """Netlink's library takes longer to import than all the rest; status is asked by monitoring, often."""
    path = [str(Path(package.__path__[0]).parent) for package in (hal_core, hal_netcfg)]
    words = (
        ["facts", "--root", "/proc"],
        ["plan", "--help"],
        ["apply", "--help"],
        ["run", "--help"],
        ["status", "--help"],
    )
    script = f"import sys; sys.path[:0] = {path!r}; from hal_netcfg.main import PROGRAM\n"
    script += f"for words in {words!r}: PROGRAM.main(words)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {f"hal_netcfg.commands.{verb}_command" for verb in COMMANDS} <= loaded
    assert {"pyroute2", "asyncio", "argparse"} & loaded == set()


# --- facts ------------------------------------------------------------------------------------------------------------


def test_facts_of_a_recorded_server(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert PROGRAM.main(["facts", "--root", recorded]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("  ")[0] == "NIC"
    assert lines[0].split()[-5:] == ["MTU", "IN", "IOMMU", "GROUP", "VFS"]
    assert lines[1].split() == ["enp32s0f0", "00:1b:21:00:00:00", "igb", "0000:20:00.0", "1000", "1500", "-", "-", "0"]
    assert [line.split()[0] for line in lines[1:]] == ["enp32s0f0", "enp32s0f1", "enp33s0f0", "enx0"]


def test_facts_as_json(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert PROGRAM.main(["facts", f"--root={recorded}", "--json"]) == 0
    nics = json.loads(capsys.readouterr().out)
    assert nics[2]["mac"] == "00:1b:21:00:00:02"
    assert nics[3]["bus"] == "usb"


# --- plan -------------------------------------------------------------------------------------------------------------


def test_plan_of_a_recorded_server(recorded: str, capsys: pytest.CaptureFixture[str], directories: Path) -> None:
    configure(
        directories, '[netcfg.lan.0]\nnics = ["enp32s0f0", "enp32s0f1"]\nmtu = 9000\n[netcfg.lan.2]\nmode = "macvtap"\n'
    )
    (directories / "run/plan.json").write_text("this server's, and damaged")
    assert PROGRAM.main(["plan", "--root", recorded]) == 0
    table, _, rest = capsys.readouterr().out.partition("\n\n")
    rows = [line.split(None, 1)[1].split("  ") for line in table.splitlines()]
    assert [[cell.strip() for cell in row if cell] for row in rows] == [
        ["NIC", "THE PRODUCT WEARS", "THE NIC WEARS", "BY WAY OF", "MTU"],
        [
            "enp32s0f0 + enp32s0f1",
            "00:1b:21:00:00:00",
            "02:1b:21:00:00:00",
            "halbond0 (active-backup), hallan0, haltap0",
            "9000",
        ],
        ["-", "00:1b:21:00:00:01", "-", "hallan1, haltap1"],
        ["enp33s0f0", "00:1b:21:00:00:02", "the product's", "haltap2 (macvtap)"],
    ]
    assert rest == (
        "private link halint: host 169.254.72.1, product 169.254.72.2\n"
        "\n"
        "stays with the host:\n"
        "  enx0: a USB device: the product gets it as such\n"
        "\n"
        "notes:\n"
        "  the product's NIC 1 has no link: enp32s0f1 is in netcfg.lan.0\n"
    )


def test_plan_with_what_cannot_be_is_exit_status_78(
    recorded: str, capsys: pytest.CaptureFixture[str], directories: Path
) -> None:
    configure(directories, '[netcfg.lan.1]\nmode = "sriov"\n')
    assert PROGRAM.main(["plan", "--root", recorded, "--json"]) == 78
    value = json.loads(capsys.readouterr().out)
    assert [lan["number"] for lan in value["lans"]] == [0, 2]
    assert value["problems"][0]["number"] == 1
    assert PROGRAM.main(["plan", "--root", recorded]) == 78
    assert "\ncannot be as configured, and is left as it is:\n  netcfg.lan.1.mode = " in capsys.readouterr().out


def test_plan_of_this_server_goes_by_hal_vmms(
    directories: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "read", lambda root: tuple(synthetic.nic(index) for index in range(2)))
    assert PROGRAM.main(["plan"]) == 0
    assert "hal-vmm has not planned the product's NICs yet" in capsys.readouterr().out
    nics = [{"mac": "00:1b:21:00:00:01", "tap": "haltap4"}]
    (directories / "run/plan.json").write_text(json.dumps({"nics": nics}))
    assert PROGRAM.main(["plan", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [(lan["number"], lan["nics"][0]["name"]) for lan in value["lans"]] == [(4, "enp32s0f1")]
    (directories / "run/plan.json").write_text("{")
    with pytest.raises(FileFormatError, match="not a plan of hal-vmm's"):
        PROGRAM.main(["plan"])


# --- apply ------------------------------------------------------------------------------------------------------------

DONE = Outcome("LAN 0", (Create("hallan0", "bridge"),))
FAILED = Outcome("LAN 1", problem="eno2: another program or bridge has it")


class FakeEngine:
    """Answers what a test wants, and writes down what it is asked."""

    network = Network((), HostLink())
    outcomes: tuple[Outcome, ...] = ()
    loads = False
    asked: list[str]

    def __init__(self, run_dir: str, config: NetcfgConfig) -> None:
        type(self).asked = []

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        self.asked.append("alone")
        yield
        self.asked.append("not alone")

    def look(self) -> Sight:
        self.asked.append("look")
        return Sight({}, self.network)

    def guard(self, sight: Sight) -> bool:
        self.asked.append("guard")
        return self.loads

    def apply(self, sight: Sight) -> tuple[Outcome, ...]:
        self.asked.append("apply")
        return self.outcomes

    def difference(self, sight: Sight) -> list[str]:
        self.asked.append("difference")
        return ["LAN 0: make hallan0 (bridge)"]

    def close(self) -> None:
        self.asked.append("close")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeEngine]:
    class Fake(FakeEngine):
        pass

    monkeypatch.setattr(engine, "Engine", Fake)
    return Fake


def test_apply_says_what_it_has_done(fake: type[FakeEngine], capsys: pytest.CaptureFixture[str]) -> None:
    fake.loads, fake.outcomes = True, (DONE, Outcome("LAN 2"))
    assert PROGRAM.main(["apply"]) == 0
    assert capsys.readouterr().out == "firewall: loaded\nLAN 0: make hallan0 (bridge)\n"
    assert fake.asked == ["alone", "look", "guard", "apply", "not alone", "close"], "the firewall comes first"
    fake.loads, fake.outcomes = False, ()
    assert PROGRAM.main(["apply"]) == 0
    assert capsys.readouterr().out == "nothing to change\n"


def test_what_fails_is_exit_status_1(fake: type[FakeEngine], capsys: pytest.CaptureFixture[str]) -> None:
    fake.outcomes = (DONE, FAILED)
    assert PROGRAM.main(["apply"]) == 1
    told = capsys.readouterr()
    assert told.out == "LAN 0: make hallan0 (bridge)\n"
    assert told.err == (
        "hal-netcfg: LAN 1: eno2: another program or bridge has it\nhal-netcfg: hint: what was before stays\n"
    )
    assert PROGRAM.main(["apply", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "changes": ["LAN 0: make hallan0 (bridge)"],
        "problems": ["LAN 1: eno2: another program or bridge has it"],
    }


def test_a_dry_run_changes_nothing(fake: type[FakeEngine], capsys: pytest.CaptureFixture[str]) -> None:
    assert PROGRAM.main(["apply", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"changes": ["LAN 0: make hallan0 (bridge)"], "problems": []}
    assert not {"guard", "apply"} & set(fake.asked)


@pytest.mark.parametrize("words", [[], ["--dry-run"]])
def test_what_cannot_be_changes_nothing(fake: type[FakeEngine], words: list[str]) -> None:
    fake.network = Network((), HostLink(), problems=(Problem(3, "netcfg.lan.3: wrong"), Problem(4, "another")))
    with pytest.raises(ConfigError, match=r"^netcfg\.lan\.3: wrong$"):
        PROGRAM.main(["apply", *words])
    assert not {"guard", "apply", "difference"} & set(fake.asked)
    assert fake.asked[-1] == "close"


def test_a_resident_is_told_to_read_its_configuration_again(
    fake: type[FakeEngine], directories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nobody else, who has its number by now."""
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: told.append((pid, number)))
    file = Path(STATUS.path(str(directories / "run")))
    file.parent.mkdir()
    with a_resident() as pid:
        file.write_text(json.dumps({"pid": pid}))
        assert PROGRAM.main(["apply", "--dry-run"]) == 0
        assert told == []
        assert PROGRAM.main(["apply"]) == 0
        assert told == [(pid, signal.SIGHUP)]
    assert PROGRAM.main(["apply"]) == 0
    assert len(told) == 1


# --- run --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "verbose"), [([], False), (["--verbose"], True)])
def test_run(monkeypatch: pytest.MonkeyPatch, words: list[str], verbose: bool) -> None:
    called: list[Any] = []
    monkeypatch.setattr(process, "run", lambda *given: called.append(given))
    assert PROGRAM.main(["run", *words]) == 0
    assert called[0][0] == verbose
    assert isinstance(called[0][1], hardware.Hardware)
