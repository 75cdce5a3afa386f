"""How hal-heartbeat is started: the SysV script, run with paths of its own; and the systemd units, read by systemd."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestmachine import PACKAGE, PATIENCE, PRESENT, processes, wait_for
from hal_core.testing.systemdhost import SystemdHost, systemd_host, why_not

SYSV = PACKAGE / "init/hal-heartbeat"
UNIT = PACKAGE / "init/hal-heartbeat.service"

# A fake of hal-heartbeat: it runs until it is told to end.
FAKE = '#!/bin/sh\necho "$@" >{0}/arguments\necho $$ >>{0}/starts\nexec sleep 1000\n'


class Service:
    """The SysV script, with every path of the system below a directory."""

    def __init__(self, base: Path, shell: list[str]) -> None:
        self.base, self._shell = base, shell
        (base / "subsys").mkdir()
        self.program = base / "hal-heartbeat-fake"
        self.program.write_text(FAKE.format(base))
        self.program.chmod(0o755)
        text = SYSV.read_text()
        for path, ours in (
            ("/usr/sbin/hal-heartbeat", str(self.program)),
            ("/var/run/", f"{base}/"),
            ("/var/lock/subsys/", f"{base}/subsys/"),
        ):
            assert f"={path}" in text
            text = text.replace(f"={path}", f"={ours}")
        # exec keeps the number but not the name that the script knows its program by.
        self._script = base / "script"
        self._script.write_text(text.replace("grep -q hal-heartbeat ", "grep -q -e hal-heartbeat -e sleep "))
        self.pidfile, self.lock = base / "hal-heartbeat.pid", base / "subsys/hal-heartbeat"

    def __call__(self, *arguments: str) -> int:
        done = subprocess.run(
            [*self._shell, str(self._script), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.said = done.stdout + done.stderr
        return done.returncode

    @property
    def starts(self) -> list[int]:
        file = self.base / "starts"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def await_starts(self, count: int) -> None:
        wait_for(lambda: len(self.starts) >= count, lambda: f"started {self.starts}, not {count} times")


@pytest.fixture(params=PRESENT, ids=lambda shell: shell[0])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    one = Service(tmp_path, request.param)
    yield one
    for pid in one.starts:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_start_status_stop(service: Service) -> None:
    assert service("status") == 3
    assert service("start") == 0
    service.await_starts(1)
    (pid,) = service.starts
    assert int(service.pidfile.read_text()) == pid, "the number of the program itself, not of what started it"
    assert (service.base / "arguments").read_text() == "--syslog\n"
    assert os.getsid(pid) == pid
    assert os.readlink(f"/proc/{pid}/fd/1") == "/dev/null"
    assert service.lock.exists()
    assert service("status") == 0
    assert f"(pid {pid}) is running" in service.said
    assert service("start") == 0
    assert "already" in service.said
    assert service("stop") == 0
    assert not processes(6, pid)
    assert not service.pidfile.exists()
    assert not service.lock.exists()
    assert service("stop") == 0
    assert service.starts == [pid]


def test_restart_and_condrestart(service: Service) -> None:
    assert service("condrestart") == 0
    assert service("try-restart") == 0
    assert not service.pidfile.exists(), "what does not run is not started by an upgrade"
    assert service("restart") == 0
    service.await_starts(1)
    assert service("condrestart") == 0
    service.await_starts(2)
    assert service("force-reload") == 0
    service.await_starts(3)
    assert len(set(service.starts)) == 3
    assert [bool(processes(6, pid)) for pid in service.starts] == [False, False, True]


def test_on_a_server_without_hal_it_starts_and_is_not_running(service: Service) -> None:
    service.program.write_text("#!/bin/sh\nexit 0\n")
    assert service("start") == 0
    wait_for(lambda: service("status") == 3, lambda: service.said)
    assert "without HAL" in service.said
    assert service("stop") == 0


@pytest.mark.parametrize("content", ["{}\n", "", "garbage\n", "999999999\n"])
def test_another_programs_number_is_left_alone(service: Service, content: str) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as innocent:
        service.pidfile.write_text(content.format(innocent.pid))
        assert service("status") == 3
        assert service("stop") == 0
        time.sleep(0.05)
        assert innocent.poll() is None
        innocent.communicate()


def test_a_program_that_is_not_there_and_a_wrong_command_line(service: Service) -> None:
    service.program.unlink()
    assert service("start") == 5
    assert not service.pidfile.exists()
    for arguments in ([], ["bogus"]):
        assert service(*arguments) == 2
        assert service.said.startswith("Usage: ")


def test_chkconfig_and_lsb_say_the_same() -> None:
    text = SYSV.read_text()
    header = re.search(r"^# chkconfig: (\d+) (\d+) (\d+)$", text, re.MULTILINE)
    assert header
    levels, begin, end = header.groups()
    lsb = dict(re.findall(r"^# ([A-Z][\w-]+): +(.*)$", text, re.MULTILINE))
    assert lsb["Default-Start"].split() == list(levels)
    assert set(levels) | set(lsb["Default-Stop"].split()) == set("0123456")
    assert "1" in levels, "in run level 1, too: silence would make the host restart the product"
    assert lsb["Provides"] == "hal-heartbeat"
    # After syslog's S12, before its K88: so they are in RHEL 3 to 6.
    assert int(begin) > 12
    assert int(end) < 88
    assert SYSV.read_text().index("BEGIN INIT INFO") < SYSV.read_text().index("END INIT INFO")


# --- systemd ----------------------------------------------------------------------------------------------------------


def test_the_preset_names_the_unit() -> None:
    lines = (PACKAGE / "init/90-hal-guest.preset").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [f"enable {UNIT.name}"]


def test_the_unit_starts_what_is_shipped_and_outlives_a_rescue_shell() -> None:
    settings = dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE))
    assert settings["ExecStart"] == "/usr/sbin/hal-heartbeat"
    assert settings["IgnoreOnIsolate"] == "yes"
    assert settings["Documentation"] == "man:hal-heartbeat(8)"
    assert settings["RestartPreventExitStatus"] == "78"


@pytest.mark.component
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", sorted(UNIT.parent.glob("*.service")), ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path, unit: Path) -> None:
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("=/usr/sbin/", f"={PACKAGE}/sbin/"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", copy],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def product(tmp_path: Path) -> Iterator[SystemdHost]:
    """A real systemd with the unit as it is shipped. The channel is a fake: a file."""
    with systemd_host(tmp_path) as host:
        host.install(PACKAGE / "sbin/hal-heartbeat", "/usr/sbin/hal-heartbeat")
        host.install(UNIT, f"/usr/lib/hal-test/units/{UNIT.name}")
        host.write("/etc/sysconfig/hal-heartbeat", "INTERVAL=1\nCHANNEL=/run/channel\nWAIT=0\n")
        plain = "[Unit]\nDefaultDependencies=no\n"
        host.write("/usr/lib/hal-test/units/rescue.target", plain + "AllowIsolate=yes\n")
        host.write("/usr/lib/hal-test/units/ordinary.service", "[Service]\nExecStart=/bin/sleep 1000\n")
        host.boot()
        yield host


@pytest.mark.component
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_under_systemd_it_outlives_the_services_but_not_the_shutdown(product: SystemdHost) -> None:
    def beats() -> list[str]:
        return product.run("cat", "/run/channel").split("\n")

    product.run("touch", "/run/channel")
    product.run("systemctl", "start", UNIT.name, "ordinary.service")
    product.wait(lambda: "hal-beat 2" in beats(), "it beats")
    product.run("systemctl", "isolate", "rescue.target")
    product.wait(lambda: product.show("ordinary.service", "ActiveState") == "inactive", "a rescue shell ends services")
    assert product.show(UNIT.name, "ActiveState") == "active"
    product.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", UNIT.name)
    product.wait(lambda: product.show(UNIT.name, "NRestarts") == "1", "it is started again")
    product.wait(lambda: product.show(UNIT.name, "ActiveState") == "active", "it runs again")
    product.run("systemctl", "--no-block", "isolate", "reboot.target")
    product.wait(lambda: product.show(UNIT.name, "ActiveState") == "inactive", "the shutdown ends it")
    assert product.show(UNIT.name, "Result") == "success"


@pytest.mark.component
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_under_systemd_a_server_without_hal_has_no_failed_unit(product: SystemdHost) -> None:
    product.run("systemctl", "start", UNIT.name)
    product.wait(lambda: product.show(UNIT.name, "ActiveState") == "inactive", "it ends")
    assert product.show(UNIT.name, "Result") == "success"
    assert product.show(UNIT.name, "NRestarts") == "0"
    # Of the whole journal: a process that ends at once may be gone before the journal has seen whose it was.
    product.wait(lambda: "no /run/channel after 0 s" in product.log(), "it has said why")
