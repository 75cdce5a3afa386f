"""What is asked in the host's root shell, and what is made of the answers."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path
from random import Random

import pytest

from hal_core.testing.fakeqmp import FakeQmp, Refusal
from lab import halhost
from lab.errors import LabError
from lab.halhost import Host, Refused
from lab.simulator.shell import HostShell

_SHADOW = 'comm="hal-vmm" name="shadow" dev="sdb3" ', "hal_vmm_t:s0 tcontext=system_u:object_r:shadow_t:s0"
_TUN = 'comm="qemu" path="/dev/net/tun" ', "hal_qemu_t:s0:c1 tcontext=system_u:object_r:tun_tap_device_t:s0"
_OTHERS = 'comm="udevd" path="/run/hal" ', "udev_t:s0 tcontext=system_u:object_r:hal_run_t:s0"


def denial(what: tuple[str, str], pid: str = "", inode: str = "") -> str:
    """As the kernel says it, after "avc:"."""
    return f"denied  {{ read }} for  {pid}{what[0]}{inode}scontext=system_u:system_r:{what[1]} tclass=file permissive=0"


# As journalctl --output=cat has it.
_JOURNAL = f"""\
Linux version 6.1.0 (gcc 12.2.0) #1 SMP
audit: type=1403 audit(1700000000.901:2): auid=4294967295 ses=4294967295 lsm=selinux res=1
audit: type=1400 audit(1700000001.101:3): avc:  {denial(_SHADOW, "pid=411 ", "ino=90 ")}
audit: type=1400 audit(1700000001.102:4): avc:  {denial(_SHADOW, "pid=412 ", "ino=91 ")}
audit: type=1400 audit(1700000001.103:5): avc:  {denial(_OTHERS, "pid=300 ", "ino=92 ")}
audit: type=1400 audit(1700000001.104:6): avc:  {denial(_TUN, "pid=413 ", "ino=7 ")}
"""


class FakeShell(HostShell):
    """Answers with what it was given, one after the other; the last one for ever."""

    def __init__(self, *answers: str, status: int = 0) -> None:
        super().__init__(Path("fake"))
        self.asked: list[tuple[str, ...]] = []
        self.written: dict[str, str | bytes] = {}
        self._answers, self._status = list(answers), status

    def ask(self, *argv: str, input: str = "", seconds: float = 60.0) -> tuple[int, str, str]:  # noqa: A002
        self.asked.append(argv)
        return self._status, self._answers.pop(0) if len(self._answers) > 1 else self._answers[0], ""

    def write(self, path: str, data: str | bytes) -> None:
        self.written[path] = data


@pytest.fixture(autouse=True)
def look_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halhost, "_LOOK_AGAIN", 0)


def test_denials_are_those_of_our_domains_once_each() -> None:
    assert Host(FakeShell(_JOURNAL)).denials() == [denial(_SHADOW), denial(_TUN)]
    assert (
        Host(
            FakeShell("\n".join(line for line in _JOURNAL.splitlines() if "shadow" not in line and "tun" not in line))
        ).denials()
        == []
    )


def test_no_denial_is_no_failure() -> None:
    shell = FakeShell("-- No entries --\n")
    assert Host(shell).denials() == []
    assert not any(word.startswith("--grep") for word in shell.asked[0]), "journalctl --grep fails without a match"


def test_a_status_that_hal_cannot_tell() -> None:
    with pytest.raises(LabError, match="in the host, `hal vmm status` failed with status 78"):
        Host(FakeShell("", status=78)).status()


def test_the_state_that_hal_tells_although_its_status_says_that_nothing_runs() -> None:
    shell = FakeShell('{"state": "stopped", "last_exit": {"reason": "guest-panic", "outcome": "restart"}}', status=3)
    assert Host(shell).status()["state"] == "stopped"
    assert Host(shell).last_exit() == ("guest-panic", "restart")
    assert set(shell.asked) == {("hal", "vmm", "status", "--json")}


def test_waiting_for_a_state() -> None:
    shell = FakeShell('{"state": "starting"}', '{"state": "starting"}', '{"state": "running"}')
    Host(shell).wait_for_state("running")
    assert len(shell.asked) == 3
    with pytest.raises(LabError, match=r"^the product's state is not 'stopped' after 0\.01 s$"):
        Host(shell).wait_for_state("stopped", 0.01)


def test_waiting_for_usb_devices_of_qemus() -> None:
    disk, stick = {"name": "disk0", "type": "child<scsi-hd>"}, {"name": "usb-1-1", "type": "child<usb-host>"}
    shell = FakeShell(*(json.dumps([{"return": listed}]) for listed in ([disk], [disk, stick])))
    Host(shell).wait_for_usb_devices(1)
    assert len(shell.asked) == 2


def test_waiting_for_a_disk_of_hal_udevs() -> None:
    other, unseen = {"serial": "B", "state": "attached"}, {"serial": "A", "state": "unseen"}
    attached = {"serial": "A", "state": "attached", "io_errors": 0}
    shell = FakeShell(*(json.dumps({"disks": disks}) for disks in ([other], [unseen, other], [attached, other])))
    assert Host(shell).wait_for_disk("A", "attached") == attached
    assert set(shell.asked) == {("hal", "udev", "status", "--json")}
    with pytest.raises(LabError, match=r"^disk B is not 'unseen' after 0 s$"):
        Host(FakeShell(json.dumps({"disks": [other]}))).wait_for_disk("B", "unseen", 0)


def test_waiting_for_heartbeats() -> None:
    shell = FakeShell('{"state": "unknown"}', '{"heartbeats": {}}', '{"heartbeats": {"agent": 1}}')
    Host(shell).wait_for_heartbeats()
    assert len(shell.asked) == 3
    with pytest.raises(LabError, match="the product has sent no heartbeat after 0 s"):
        Host(FakeShell('{"heartbeats": {}}')).wait_for_heartbeats(0)


def test_waiting_for_a_service_that_is_another_process_than_before() -> None:
    shell = FakeShell(
        "MainPID=7\nActiveState=active\n",  # the old one
        "MainPID=0\nActiveState=activating\n",
        "MainPID=8\nActiveState=activating\n",
        "MainPID=0\nActiveState=active\n",  # between two processes
        "MainPID=9\nActiveState=active\n",
    )
    assert Host(shell).wait_for_service("hal-vmm", [6, 7]) == 9
    assert len(shell.asked) == 5
    assert Host(shell).wait_for_service("hal-vmm") == 9
    with pytest.raises(LabError, match=r"^hal-vmm does not run after 0\.01 s$"):
        Host(shell).wait_for_service("hal-vmm", [9], 0.01)


def test_waiting_for_a_service_that_may_still_be_starting() -> None:
    shell = FakeShell("MainPID=0\nActiveState=activating\n", "MainPID=8\nActiveState=activating\n")
    assert Host(shell).wait_for_service("hal-vmm", [7], ready=False) == 8


def test_waiting_for_a_command_that_succeeds() -> None:
    class Later(FakeShell):
        def ask(self, *argv: str, input: str = "", seconds: float = 60.0) -> tuple[int, str, str]:  # noqa: A002
            self._status = int(len(self.asked) < 2)
            return super().ask(*argv)

    shell = Later("")
    Host(shell).wait_until("ip", "link", "show", "hallan0")
    assert shell.asked == [("ip", "link", "show", "hallan0")] * 3
    with pytest.raises(LabError, match=r"^in the host, `nft list ruleset` still fails after 0\.01 s$"):
        Host(FakeShell("", status=1)).wait_until("nft", "list", "ruleset", seconds=0.01)


def test_what_the_firewall_has_counted() -> None:
    shell = FakeShell('{"firewall": [{"what": "ping", "packets": 3, "bytes": 252}]}', status=1)
    assert Host(shell).firewall() == {"ping": 3}
    assert shell.asked == [("hal", "netcfg", "status", "--json")]


def test_what_is_plugged_in() -> None:
    shell = FakeShell('{"devices": []}', status=1)
    assert Host(shell).udev() == {"devices": []}
    assert shell.asked == [("hal", "udev", "status", "--json")]


def test_what_cannot_be_asked_is_told_and_not_awaited() -> None:
    with pytest.raises(LabError, match=r"in the host, `systemctl show .* hal-vmm` failed with status 1: no bus"):
        Host(FakeShell("no bus\n", status=1)).wait_for_service("hal-vmm")


@pytest.fixture
def qemu(tmp_path: Path) -> FakeQmp:
    return FakeQmp(str(tmp_path / "qmp"))


@pytest.fixture
def host(qemu: FakeQmp, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host whose shell runs the very program that stories run there, only with another socket."""

    class PythonShell(FakeShell):
        def ask(self, *argv: str, input: str = "", seconds: float = 60.0) -> tuple[int, str, str]:  # noqa: A002
            assert argv[:2] == ("python3", "-Ic")
            monkeypatch.setattr("sys.stdin", io.StringIO(input))
            with contextlib.redirect_stdout(io.StringIO()) as said:
                exec(argv[2].replace("/run/hal/qmp/cli", qemu.path), {})  # noqa: S102 - the program under test
            return 0, said.getvalue(), ""

    return Host(PythonShell(""))


def test_qmp(host: Host, qemu: FakeQmp) -> None:
    with qemu:
        qemu.on("query-status", {"status": "running"})
        qemu.on("blockdev-add", Refusal("GenericError", "Could not open '/dev/sda': Permission denied"))
        assert host.qmp("query-status") == {"status": "running"}
        with pytest.raises(Refused, match="Could not open '/dev/sda': Permission denied"):
            host.qmp("blockdev-add", driver="raw", file="sda")
    assert ("blockdev-add", {"driver": "raw", "file": "sda"}) in qemu.received


def test_many_commands_one_after_the_other(host: Host, qemu: FakeQmp) -> None:
    with qemu:
        qemu.on("netdev_add", Refusal("GenericError", "first"))
        qemu.on("cont", {})
        first, second = host.qmp_each([("netdev_add", {"type": "tap"}), ("cont", {})])
    assert "first" in first
    assert second == ""


def test_our_packages() -> None:
    host = Host(FakeShell("hal-core 1.0-1.el9\nhal-vmm 1.0-1.el9.1\n"))
    assert host.installed() == {"hal-core": "1.0-1.el9", "hal-vmm": "1.0-1.el9.1"}


def test_units() -> None:
    assert Host(FakeShell("a.service loaded failed failed An A\nb.mount loaded failed failed\n")).failed_units() == [
        "a.service",
        "b.mount",
    ]
    assert Host(FakeShell("")).failed_units() == []
    assert Host(FakeShell("17\n")).main_pid("hal-vmm") == 17


def test_configuring_is_checked_before_it_is_used() -> None:
    shell = FakeShell("")
    Host(shell).configure("[vmm]\n")
    assert shell.written == {"/etc/hal/hal.toml.d/90-story.toml": "[vmm]\n"}
    assert shell.asked == [("hal", "check"), ("systemctl", "restart", "hal-vmm")]


def test_a_random_moment_is_the_same_for_the_same_seed() -> None:
    shell = FakeShell("")
    for _ in range(2):
        Host(shell).kill_at_random_moment(17, 4, Random("one-u"))
    first, second = shell.asked
    assert first == second
    assert first[-1] == "17"
    assert 0 <= float(first[-2]) <= 4
    assert re.fullmatch(r"\d\.\d\d", first[-2])


def test_the_journal_is_asked_as_journalctl_is() -> None:
    shell = FakeShell("lines")
    Host(shell).journal("--unit=hal-vmm")
    assert shell.asked == [("journalctl", "--boot", "--no-pager", "--output=short-monotonic", "--unit=hal-vmm")]
