"""What hal-vmm gives to systemd: units, users, directories, settings; read by systemd's tools, and run by systemd."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal_core import replan
from hal_core.testing.systemdhost import SystemdHost, systemd_host, why_not
from hal_vmm.manager import starter
from hal_vmm.testing import tinyguest
from hal_vmm.testing.product import program

PACKAGE = Path(__file__).resolve().parents[1]
SYSTEMD = PACKAGE / "systemd"
SERVICES = sorted(path.name for path in SYSTEMD.glob("*.service"))
UNITS = [*SERVICES, "hal-qemu-replan.path", "hal.target"]
MOST_EXPOSED = 3.0

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def settings(path: Path) -> list[tuple[str, str]]:
    """The settings of a unit file or a drop-in, in order."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith(("#", "["))]
    return [(key, value) for key, _, value in (line.partition("=") for line in lines)]


def setting(unit: str, key: str) -> str:
    """Its one value; values of a list that is given in parts are joined."""
    return " ".join(value for name, value in settings(SYSTEMD / unit) if name == key)


# --- what must not be lost when somebody edits a unit -----------------------------------------------------------------


def test_the_guest_manager_and_the_product_are_tied_by_order_only() -> None:
    for key in ("BindsTo", "Requires", "Requisite", "PartOf", "Upholds", "PropagatesStopTo", "Conflicts"):
        assert setting("hal-vmm.service", key) == "", key
        assert setting("hal-qemu.service", key) == "", key
    assert "hal-qemu.service" in setting("hal-vmm.service", "After")
    assert "hal-qemu-plan.service hal-netcfg.service" in setting("hal-qemu.service", "After")


def test_the_network_is_made_by_the_plan_and_before_the_product() -> None:
    assert setting("hal-qemu-plan.service", "Before").split() == ["hal-netcfg.service", "hal-qemu.service"]
    assert {"hal-netcfg.service"} <= set(setting("hal-qemu.service", "Wants").split())


def test_only_the_guest_manager_decides_how_often_the_product_is_started() -> None:
    assert setting("hal-qemu.service", "Restart") == "no"
    assert setting("hal-qemu.service", "StartLimitIntervalSec") == "0"
    assert setting("hal-qemu-plan.service", "StartLimitIntervalSec") == "0"


def test_the_code_and_the_units_name_each_other() -> None:
    assert {starter.UNIT, starter.PLAN_UNIT} <= set(SERVICES)
    for unit in SERVICES:
        for key, value in settings(SYSTEMD / unit):
            if key.startswith("Exec"):
                command = Path(value.split()[0])
                assert command.parent == Path("/usr/bin"), value
                if command.name == "systemctl":
                    assert value.split()[1:] == ["restart", starter.PLAN_UNIT]
                    continue
                assert os.access(PACKAGE / "bin" / command.name, os.X_OK), value


def test_residents_ask_for_a_new_plan_by_files_that_systemd_watches() -> None:
    assert "hal-qemu-replan.path" in setting("hal-qemu-plan.service", "Wants").split()
    watched = setting("hal-qemu-replan.path", "PathChanged").split()
    assert watched == [replan.path("/run/hal", whose) for whose in ("udev", "netcfg")]


def test_the_watchdog_is_longer_than_what_the_manager_waits_for() -> None:
    seconds = {"3min": 180, "60": 60, "5min": 300}
    waits = [seconds[setting(unit, "TimeoutStartSec")] for unit in ("hal-qemu-plan.service", "hal-qemu.service")]
    assert sum(waits) < seconds[setting("hal-vmm.service", "WatchdogSec")]


def test_every_page_of_ours_that_a_unit_points_to_exists() -> None:
    """Those of other packages are looked for where all are installed: ci/tests/rpms."""
    pages = {path.name for path in (PACKAGE / "man").iterdir()}
    for unit in UNITS:
        for name, section in re.findall(r"man:([\w.-]+)\((\d)\)", setting(unit, "Documentation")):
            assert f"{name}.{section}" in pages or name == "hal", unit


def test_the_kernel_settings_are_well_formed_and_reboot_a_host_that_hangs() -> None:
    lines = [line for line in (PACKAGE / "sysctl/90-hal.conf").read_text().splitlines() if line and line[0] != "#"]
    parsed = {}
    for line in lines:
        match = re.fullmatch(r"(-?)(kernel\.[a-z_]+) = (\d+)", line)
        assert match, line
        parsed[match[2]] = int(match[3])
        known = Path("/proc/sys", match[2].replace(".", "/"))
        assert known.exists() or match[1] or not Path("/proc/sys/kernel/panic").exists(), f"{line}: not on every kernel"
    assert parsed["kernel.panic"] > 0
    assert parsed["kernel.numa_balancing"] == 0
    assert parsed["kernel.hung_task_timeout_secs"] >= 1800, "a slow disk of the product is no reason to reboot"


# --- systemd's own tools ----------------------------------------------------------------------------------------------


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """The units, with the working tree's own programs instead of /usr/bin's, which are not installed here."""
    shutil.copytree(SYSTEMD, tmp_path / "units")
    for unit in (tmp_path / "units").glob("*.service"):
        unit.write_text(unit.read_text().replace("/usr/bin/hal-", program("hal-")))
    return tmp_path / "units"


def analyze(copies: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{copies}:"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.component
@needs_systemd
@pytest.mark.parametrize("unit", [*UNITS, "serial-getty@ttyS1.service"])
def test_systemd_finds_nothing_wrong(copies: Path, unit: str) -> None:
    if unit.startswith("serial-getty"):
        shutil.copy("/lib/systemd/system/serial-getty@.service", copies)
    done = analyze(copies, "verify", "--man=no", str(copies / unit))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.component
@needs_systemd
@pytest.mark.parametrize("unit", SERVICES)
def test_the_sandbox_is_tight(copies: Path, unit: str) -> None:
    done = analyze(copies, "security", "--offline=true", str(copies / unit))
    found = re.search(r"Overall exposure level for .*: ([0-9.]+) ", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= MOST_EXPOSED, done.stdout


@pytest.mark.component
@needs_systemd
def test_the_manager_settings_are_ones_that_systemd_knows(tmp_path: Path) -> None:
    conf = tmp_path / "etc/systemd/system.conf.d"
    shutil.copytree(SYSTEMD / "system.conf.d", conf)
    done = subprocess.run(
        ["systemd-analyze", "cat-config", f"--root={tmp_path}", "systemd/system.conf"],
        capture_output=True,
        text=True,
        check=True,
    )
    shown = [line for line in done.stdout.splitlines() if line and line[0] not in "#["]
    assert shown == [f"{key}={value}" for key, value in settings(conf / "50-hal-watchdog.conf")]
    manual = subprocess.run(
        ["/lib/systemd/systemd", "--dump-configuration-items"], capture_output=True, text=True, check=True
    ).stdout
    assert "CapabilityBoundingSet=" in manual  # the list of what a unit may say, which has to have what our units say
    known = set(re.findall(r"^(\w+)=", manual, re.MULTILINE))
    for unit in UNITS:
        unknown = {key for key, _ in settings(SYSTEMD / unit)} - known - {"WantedBy"}  # [Install] is not in the list
        assert unknown == set(), unit


@pytest.mark.component
@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed")
def test_the_user_is_locked_and_may_use_kvm(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", PACKAGE / "sysusers/hal-vmm.sysusers"], check=True)
    name, password, uid, gid, _, home, shell = (tmp_path / "etc/passwd").read_text().strip().split(":")
    assert (name, password, home) == ("hal-qemu", "x", "/")
    assert 0 < int(uid) < 1000
    assert shell.endswith("/nologin")
    assert (tmp_path / "etc/shadow").read_text().split(":")[1].startswith("!"), "no password fits"
    groups = dict(line.split(":", 1) for line in (tmp_path / "etc/group").read_text().splitlines())
    assert groups["hal-qemu"].split(":")[1] == gid
    assert groups["kvm"].endswith(":hal-qemu")


@pytest.mark.component
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to root")
@pytest.mark.skipif(shutil.which("systemd-tmpfiles") is None, reason="systemd-tmpfiles is not installed")
def test_the_directories_are_made_with_their_modes(tmp_path: Path) -> None:
    # The names are resolved inside the root, so it has to have them.
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tmp_path / "etc/group").write_text("root:x:0:\n")
    subprocess.run(
        ["systemd-tmpfiles", f"--root={tmp_path}", "--create", PACKAGE / "tmpfiles/hal-vmm.conf"], check=True
    )
    found = {
        str(path.relative_to(tmp_path)): oct(path.stat().st_mode & 0o7777)
        for top in ("run/hal", "var/lib/hal")
        for path in [tmp_path / top, *(tmp_path / top).rglob("*")]
    }
    private = {"run/hal/qmp", "var/lib/hal/images", "var/lib/hal/vmm/dumps"}
    assert private < set(found)
    assert {path for path, mode in found.items() if mode == "0o700"} == private
    assert set(found.values()) == {"0o700", "0o755"}


@pytest.mark.component
@needs_systemd
def test_the_preset_enables_the_target_and_so_everything(tmp_path: Path) -> None:
    units = tmp_path / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    presets = tmp_path / "usr/lib/systemd/system-preset"
    presets.mkdir()
    for unit in UNITS:
        shutil.copy(SYSTEMD / unit, units)
    shutil.copy(SYSTEMD / "90-hal.preset", presets)
    subprocess.run(["systemctl", f"--root={tmp_path}", "preset-all"], capture_output=True, check=True)
    wanted = tmp_path / "etc/systemd/system/multi-user.target.wants/hal.target"
    assert os.readlink(wanted).endswith("/usr/lib/systemd/system/hal.target")
    assert {"hal-qemu.service", "hal-vmm.service"} <= set(setting("hal.target", "Wants").split())


# --- a real systemd, a real QEMU --------------------------------------------------------------------------------------

WHY_NOT = why_not() or ("" if tinyguest.find_qemu() else "QEMU is not installed (ci/test installs it)")
in_systemd = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

CONFIG = f"{tinyguest.HAL_TOML}[vmm.crash]\nbackoff = 0\n"

# mov al, 0xfe; out 0x64, al; hlt: asks for a reboot at once.
REBOOTS = bytes.fromhex("b0fee664f4ebfd").ljust(510, b"\0") + b"\x55\xaa"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SystemdHost]:
    """A server with HAL installed, booted, and not yet started."""
    with systemd_host(tmp_path) as host:
        install(host)
        host.boot()
        host.run("systemd-sysusers", "/usr/lib/sysusers.d/hal-vmm.conf")
        host.run("systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/hal-vmm.conf")
        yield host


def install(host: SystemdHost) -> None:
    """As the package would: every file where it belongs, and as it is."""
    modules = subprocess.run(
        ["/usr/bin/python3", "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    for name in ("hal_core", "hal_vmm", "qemu.qmp", "tomli"):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            host.install(Path(spec.origin).parent, f"{modules}/{name.replace('.', '/')}")
    for command in (PACKAGE / "bin").iterdir():
        host.install(command, f"/usr/bin/{command.name}")
    for unit in UNITS:
        host.install(SYSTEMD / unit, f"/usr/lib/hal-test/units/{unit}")
    dropin = "serial-getty@.service.d/50-hal.conf"
    host.install(SYSTEMD / dropin, f"/usr/lib/hal-test/units/{dropin}")
    host.install(PACKAGE / "sysusers/hal-vmm.sysusers", "/usr/lib/sysusers.d/hal-vmm.conf")
    host.install(PACKAGE / "tmpfiles/hal-vmm.conf", "/usr/lib/tmpfiles.d/hal-vmm.conf")
    host.write("/etc/hal/hal.toml", CONFIG)
    host.write("/usr/lib/hal-test/reboots.img", "")
    (host.files / "usr/lib/hal-test/reboots.img").write_bytes(REBOOTS.ljust(tinyguest.IMAGE_BYTES, b"\0"))
    image = host.files / "var/lib/hal/images/product.img"
    image.parent.mkdir(parents=True)
    tinyguest.write_image(image)


def status(server: SystemdHost) -> dict[str, object]:
    answer: dict[str, object] = json.loads(server.run("hal-vmm", "status", "--json", check=False))
    return answer


def running(server: SystemdHost, other_than: str = "") -> str:
    """Wait until the product runs, in a QEMU other than this one; its process id in the container."""

    def is_so() -> bool:
        return status(server)["state"] == "running" and server.show("hal-qemu.service", "MainPID") != other_than

    server.wait(is_so, "the product runs")
    return server.show("hal-qemu.service", "MainPID")


@pytest.mark.component
@in_systemd
class TestUnderSystemd:
    """Every unit as it is shipped, sandbox and all."""

    def test_the_target_brings_the_product_up(self, server: SystemdHost) -> None:
        server.run("systemctl", "start", "hal.target")
        assert server.show("hal-qemu.service", "ActiveState") == "active", "the launcher has said that it is ready"
        pid = running(server)
        assert server.show("hal-vmm.service", "ActiveState") == "active"
        kept = dict(line.split(":", 1) for line in server.run("cat", f"/proc/{pid}/status").splitlines())
        uid = server.run("id", "-u", "hal-qemu").strip()
        assert kept["Uid"].split() == [uid] * 4, "QEMU does not run as root"
        assert kept["CapEff"].split() == ["0" * 16]
        assert kept["NoNewPrivs"].strip() == "1"
        assert int(kept["Seccomp_filters"]) >= 2, "systemd's and QEMU's own"
        pins = status(server)["pinning"]
        assert isinstance(pins, list)
        assert pins, "the guest manager may pin"
        assert all(pin["actual"] == [pin["cpu"]] for pin in pins)
        assert server.show("hal-qemu-plan.service", "Result") == "success"

    def test_restarting_the_manager_does_not_touch_the_product(self, server: SystemdHost) -> None:
        server.run("systemctl", "start", "hal.target")
        pid = running(server)
        manager = server.show("hal-vmm.service", "MainPID")
        server.run("systemctl", "restart", "hal-vmm.service")
        server.run("kill", "-KILL", server.show("hal-vmm.service", "MainPID"))
        server.wait(lambda: server.show("hal-vmm.service", "NRestarts") == "1", "systemd restarts the manager")
        server.wait(lambda: server.show("hal-vmm.service", "ActiveState") == "active", "the manager is back")
        assert server.show("hal-vmm.service", "MainPID") != manager
        assert running(server) == pid
        assert status(server)["crashes"] == 0

    def test_a_killed_qemu_is_started_again(self, server: SystemdHost) -> None:
        server.run("systemctl", "start", "hal.target")
        pid = running(server)
        server.run("kill", "-KILL", pid)
        running(server, other_than=pid)
        assert status(server)["last_exit"]["reason"] == "qemu-died"  # type: ignore[index]
        assert server.show("hal-qemu-plan.service", "NRestarts") == "0"

    def test_a_reset_starts_the_product_anew_although_qemu_ends_with_status_0(self, server: SystemdHost) -> None:
        """Systemd runs ExecStop= then; that must not pass for `hal vmm stop`."""
        server.run("systemctl", "start", "hal.target")
        pid = running(server)
        server.run("hal-vmm", "reset")
        running(server, other_than=pid)
        assert status(server)["last_exit"]["reason"] == "host-qmp-system-reset"  # type: ignore[index]

    def test_stopping_the_unit_stops_the_product_politely_and_for_good(self, server: SystemdHost) -> None:
        # hal.toml's deadline of three seconds counts, not systemd's.
        short = "/run/systemd/system/hal-qemu.service.d/50-short.conf"
        server.run("sh", "-c", f"mkdir -p {Path(short).parent}; printf '[Service]\nTimeoutStopSec=1\n' > {short}")
        server.run("systemctl", "daemon-reload")
        assert server.show("hal-qemu.service", "TimeoutStopUSec") == "1s"
        server.run("systemctl", "start", "hal.target")
        running(server)
        server.run("systemctl", "stop", "hal-qemu.service")
        said = server.log("hal-qemu.service")
        assert "pressing the ACPI power button; waiting up to 3 s" in said
        assert "the product has ended (by force" in said
        assert server.show("hal-qemu.service", "Result") == "success"
        server.wait(lambda: status(server)["state"] == "stopped", "the manager knows that it is on purpose")
        assert server.show("hal-qemu.service", "ActiveState") == "inactive"
        server.run("hal-vmm", "start")
        running(server)

    def test_a_host_that_shuts_down_ends_the_manager_first_and_then_the_product_politely(
        self, server: SystemdHost
    ) -> None:
        server.run("systemctl", "start", "hal.target")
        running(server)
        server.run("systemctl", "reboot")
        server.wait(lambda: server.show("reboot.target", "ActiveState") == "active", "the host reboots")
        said = server.log()
        manager, asked, product = (
            said.index(text)
            for text in ("Stopped hal-vmm.service", "pressing the ACPI power button", "Stopped hal-qemu.service")
        )
        assert manager < asked < product

    def test_a_product_that_asks_for_it_reboots_the_host(self, server: SystemdHost) -> None:
        """The container's reboot.target ends every unit, and no more than that."""
        server.run("systemctl", "start", "hal.target")
        pid = running(server)
        server.run("cp", "/usr/lib/hal-test/reboots.img", "/var/lib/hal/images/product.img")
        server.run("kill", "-KILL", pid)
        server.wait(lambda: server.show("reboot.target", "ActiveState") == "active", "the host reboots")
        said = server.log()
        assert "the product's run has ended: guest-reset → host reboots" in said
        assert "pressing the ACPI power button" not in said, "it has ended already"
        for unit in ("hal-vmm.service", "hal-qemu.service"):
            assert server.show(unit, "ActiveState") == "inactive"

    def test_a_plan_that_fails_does_not_keep_the_product_from_starting_with_the_last_one(
        self, server: SystemdHost
    ) -> None:
        server.run("systemctl", "start", "hal.target")
        pid = running(server)
        server.run("sh", "-c", "echo nonsense = 1 >> /etc/hal/hal.toml")
        server.run("systemctl", "restart", "hal-qemu-plan.service", check=False)
        assert server.show("hal-qemu-plan.service", "ExecMainStatus") == "78"
        assert server.show("hal-qemu.service", "MainPID") == pid, "planning does not touch a running product"
        server.run("kill", "-KILL", pid)
        running(server, other_than=pid)

    def test_without_any_plan_the_rescue_state_says_why_and_start_leads_out_of_it(self, server: SystemdHost) -> None:
        image = "/var/lib/hal/images/product.img"
        server.run("mv", image, "/tmp/away.img")
        server.run("systemctl", "start", "hal.target")
        server.wait(lambda: status(server)["state"] == "rescue", "the manager gives up")
        said = server.log()
        assert f'vmm.devices.disk_files: "{image}": no such file' in said, "what planning found"
        assert "no launch plan at /run/hal/qemu.json" in said, "what the launcher found"
        server.run("mv", "/tmp/away.img", image)
        server.run("hal-vmm", "start")
        running(server)

    def test_no_login_prompt_on_a_serial_port_that_is_no_console(self, server: SystemdHost) -> None:
        # Stands in for agetty, which would want a real port.
        template = "/usr/lib/hal-test/units/serial-getty@.service"
        server.run("sh", "-c", f"printf '[Service]\nExecStart=/usr/bin/sleep infinity\n' > {template}")
        server.run("systemctl", "daemon-reload")
        server.run("systemctl", "start", "serial-getty@ttyS9.service")
        assert server.show("serial-getty@ttyS9.service", "ActiveState") == "inactive"
        for line in Path("/proc/consoles").read_text().splitlines():
            console = f"serial-getty@{line.split()[0]}.service"
            server.run("systemctl", "start", console)
            assert server.show(console, "ActiveState") == "active", "the host's own console keeps its login prompt"
        # The way out that the file itself describes.
        exempt = "/run/systemd/system/serial-getty@ttyS9.service.d/50-hal.conf"
        text = "[Service]\\nExecCondition=\\n"
        server.run("sh", "-c", f"mkdir -p {Path(exempt).parent}; printf '{text}' > {exempt}")
        server.run("systemctl", "daemon-reload")
        server.run("systemctl", "start", "serial-getty@ttyS9.service")
        assert server.show("serial-getty@ttyS9.service", "ActiveState") == "active"
