"""The guest manager with a real QEMU and a real (tiny) guest: every way in which a run can end, and what follows."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal_core import config
from hal_vmm.config import VmmConfig
from hal_vmm.manager.host import AnnouncedHost
from hal_vmm.manager.loop import Manager
from hal_vmm.manager.starter import ChildStarter
from hal_vmm.testing import tinyguest
from hal_vmm.testing.product import Product, product, program

pytestmark = [
    pytest.mark.component,
    pytest.mark.skipif(not tinyguest.find_qemu(), reason="QEMU is not installed (ci/test installs it)"),
]

QUICK = """
[vmm.heartbeat]
interval = 1
missed = 2
boot_grace = 0
[vmm.crash]
backoff = 0
hung_after = 4
limit = 4
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Product]:
    with product(tmp_path / "hal", QUICK) as one:
        yield one


def last_exit(tiny: Product) -> dict[str, object]:
    noted: dict[str, object] = json.loads((tiny.state_dir / "vmm" / "last-exit.json").read_text())
    return noted


def test_the_product_runs_pinned_and_beats(tiny: Product) -> None:
    tiny.wait_beating()
    status = tiny.status
    assert status["qmp"] == "answering"
    assert status["pinning"] == [{"vcpu": 0, "cpu": 0, "actual": [0]}]
    assert status["heartbeats"]["line"] >= 1
    assert tiny.command("status").returncode == 0


@pytest.mark.parametrize(
    ("letter", "reason", "host"),
    [("r", "guest-reset", "host reboot"), ("p", "guest-shutdown", "host power-off")],
)
def test_what_the_product_asks_for_is_asked_of_the_host(tiny: Product, letter: str, reason: str, host: str) -> None:
    tiny.wait_beating()
    tiny.press(letter)
    tiny.wait_state(host)
    assert last_exit(tiny)["reason"] == reason
    assert "only announced" in tiny.log
    tiny.wait(lambda: tiny.qemu_pid is None, "QEMU ends")
    assert not (tiny.state_dir / "vmm" / "running").exists(), "a clean end leaves no mark"


def test_a_killed_qemu_is_started_again(tiny: Product) -> None:
    first = tiny.wait_beating()
    os.kill(first, signal.SIGKILL)
    tiny.wait_beating(other_than=first)
    assert last_exit(tiny)["reason"] == "qemu-died"


def test_a_hung_product_is_started_again(tiny: Product) -> None:
    first = tiny.wait_beating()
    tiny.press("h")
    tiny.wait_beating(other_than=first)
    assert last_exit(tiny)["reason"] == "heartbeats-missed"


def test_a_hung_qemu_is_killed_and_started_again(tmp_path: Path) -> None:
    # Patient with the product, so that it is QEMU's silence that counts.
    with product(tmp_path / "hal", QUICK.replace("missed = 2", "missed = 60")) as tiny:
        first = tiny.wait_beating()
        os.kill(first, signal.SIGSTOP)
        tiny.wait(lambda: tiny.status["state"] == "not answering", "QEMU is seen not to answer")
        tiny.wait_beating(other_than=first)
        assert last_exit(tiny)["reason"] == "qemu-hung"


def test_a_panic_is_dumped_and_the_product_started_again(tiny: Product) -> None:
    first = tiny.wait_beating()
    tiny.press("c")
    tiny.wait_beating(other_than=first)
    assert last_exit(tiny)["reason"] == "guest-panic"
    dumps = list((tiny.state_dir / "vmm" / "dumps").iterdir())
    assert len(dumps) == 1
    head = dumps[0].read_bytes()[:16]
    assert head.startswith((b"\x7fELF", b"makedumpfile"))  # ELF core, or flattened kdump
    assert not dumps[0].stat().st_mode & 0o077, "a memory dump is for root alone"


@pytest.mark.parametrize("away", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize(("letter", "host"), [("r", "host reboot"), ("p", "host power-off")])
def test_nothing_is_lost_while_the_manager_is_away(tiny: Product, away: int, letter: str, host: str) -> None:
    pid = tiny.wait_beating()
    tiny.stop_manager(away)
    assert tiny.qemu_pid == pid, "the product goes on without its manager"
    tiny.press(letter)
    journal = tiny.run_dir / "events" / "qmp.out"
    tiny.wait(lambda: b'"SHUTDOWN"' in journal.read_bytes(), "QEMU notes it")
    tiny.start_manager()
    tiny.wait_state(host)


def test_a_restarted_manager_goes_on_with_the_same_run(tiny: Product) -> None:
    pid = tiny.wait_beating()
    before = tiny.status["uptime_seconds"]
    tiny.stop_manager()
    tiny.start_manager()
    tiny.wait(lambda: tiny.status["manager"] != "not running" and tiny.status["state"] == "running", "running again")
    assert tiny.qemu_pid == pid
    assert tiny.status["uptime_seconds"] > before
    assert tiny.status["crashes"] == 0


def test_too_many_crashes_end_in_the_rescue_state_and_start_leads_out_of_it(tiny: Product) -> None:
    pid = None
    for _ in range(4):
        pid = tiny.wait_beating(other_than=pid)
        os.kill(pid, signal.SIGKILL)
    tiny.wait_state("rescue")
    assert tiny.qemu_pid is None
    assert "crashed 4 times" in tiny.status["why"]
    assert "The product has crashed 4 times" in tiny.log
    tiny.stop_manager()
    tiny.start_manager()
    tiny.wait(lambda: tiny.status["manager"] != "not running", "the manager is back")
    assert tiny.status["state"] == "rescue", "a restarted manager does not forget it"
    assert tiny.command("start").returncode == 0
    tiny.wait_beating()


def test_stop_ends_the_product_and_not_the_host(tiny: Product) -> None:
    tiny.wait_beating()
    stopped = tiny.command("stop", "--force")
    assert stopped.returncode == 0, stopped.stderr
    tiny.wait_state("stopped")
    assert tiny.qemu_pid is None
    assert last_exit(tiny)["outcome"] == "stays stopped"
    assert "host" not in tiny.status["state"]
    assert tiny.command("start").returncode == 0
    tiny.wait_beating()


def test_reset_starts_the_product_anew_and_is_no_crash(tiny: Product) -> None:
    first = tiny.wait_beating()
    assert tiny.command("reset").returncode == 0
    tiny.wait_beating(other_than=first)
    assert tiny.status["crashes"] == 0
    assert last_exit(tiny)["reason"] == "host-qmp-system-reset"


def test_maintenance_mode_excuses_silence(tiny: Product) -> None:
    first = tiny.wait_beating()
    assert tiny.command("maintenance", "on", "--for", "1h").returncode == 0
    tiny.wait(lambda: tiny.status["why"] == "maintenance mode", "maintenance mode is seen")
    tiny.press("h")
    before = tiny.status["last_heartbeat_seconds"] or 0
    tiny.wait(lambda: (tiny.status["last_heartbeat_seconds"] or 0) > before + 4, "four silent seconds")
    assert tiny.qemu_pid == first
    assert tiny.command("maintenance", "off").returncode == 0
    tiny.wait_beating(other_than=first)


def test_a_flood_of_garbage_is_no_heartbeat(tiny: Product) -> None:
    first = tiny.wait_beating()
    tiny.press("g")
    tiny.wait_beating(other_than=first)
    assert last_exit(tiny)["reason"] == "heartbeats-missed"


def test_a_dump_of_the_living_product_leaves_it_alive(tiny: Product) -> None:
    first = tiny.wait_beating()
    taken = tiny.command("dump")
    assert taken.returncode == 0, taken.stderr
    path = Path(taken.stdout.splitlines()[-1].split(": ")[0])
    assert path.stat().st_size > 0
    tiny.wait_beating()
    assert tiny.qemu_pid == first


def test_qemu_that_refuses_its_plan_is_a_crash_with_its_words(tiny: Product) -> None:
    first = tiny.wait_beating()
    tiny.write_plan(tinyguest.launch_plan(tiny.run_dir, tiny.image, extra=("-device", "no-such-device")))
    os.kill(first, signal.SIGKILL)
    tiny.wait(lambda: tiny.status["last_exit"].get("reason") == "not-started", "QEMU does not start")
    assert "no-such-device" in str(tiny.status["last_exit"]["detail"])


def test_a_second_client_on_the_managers_socket_does_no_harm(tiny: Product) -> None:
    first = tiny.wait_beating()
    with socket.socket(socket.AF_UNIX) as intruder:
        intruder.connect(str(tiny.run_dir / "qmp" / "manager"))
        count = tiny.status["heartbeats"]["line"]
        tiny.wait(lambda: tiny.status["heartbeats"]["line"] > count + 2, "beats go on")
    assert tiny.qemu_pid == first


class LookingHost(AnnouncedHost):
    """Notes what is on disk at the moment in which the host is asked to reboot."""

    def __init__(self, last_exit: Path) -> None:
        self._last_exit = last_exit
        self.found: dict[str, object] = {}
        self.asked = asyncio.Event()

    async def reboot(self, why: str) -> None:
        self.found = json.loads(self._last_exit.read_text())
        self.asked.set()


def test_the_reason_is_on_disk_before_the_host_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "hal"
    base.mkdir()
    tiny = Product(base, QUICK)
    tiny.write_plan(tinyguest.launch_plan(tiny.run_dir, tiny.image))
    monkeypatch.setattr(sys, "argv", [program("hal-vmm")])  # where the manager looks for the launcher
    for name in ("HAL_RUN_DIR", "HAL_STATE_DIR", "HAL_CONFIG_DIR", "HAL_DEFAULTS_DIR"):
        monkeypatch.setenv(name, tiny.environment[name])

    async def follow() -> LookingHost:
        host = LookingHost(tiny.state_dir / "vmm" / "last-exit.json")
        settings = config.load(VmmConfig, "vmm")
        manager = Manager(str(tiny.run_dir), str(tiny.state_dir), settings, ChildStarter(str(tiny.run_dir)), host)
        following = asyncio.create_task(manager.run())
        await asyncio.to_thread(tiny.wait_beating)
        tiny.press("r")
        await asyncio.wait_for(host.asked.wait(), 30)
        manager.stop()
        await following
        return host

    try:
        assert asyncio.run(follow()).found["reason"] == "guest-reset"
    finally:
        tiny.close()
