"""The whole way: hal.toml and this machine → plan → launch plan → launcher → QEMU → guest manager → heartbeats."""

from __future__ import annotations

import json
import os
import pty
import pwd
import signal
import tempfile
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal_vmm.testing import tinyguest
from hal_vmm.testing.product import Product

pytestmark = [
    pytest.mark.component,
    pytest.mark.skipif(not tinyguest.find_qemu(), reason="QEMU is not installed (ci/test installs it)"),
]

CONFIG = """
[vmm]
accel = "tcg"
era = "pre-virtio"
user = ""
[vmm.memory]
guest_mib = 256
[vmm.devices]
keep_disks = ["*"]
disk_files = ["{image}"]
nic_backend = "unplugged"
serial = ["{port}"]
[vmm.heartbeat]
transport = "line"
interval = 1
missed = 3
boot_grace = 5
[vmm.crash]
backoff = 0
"""


@pytest.fixture
def port() -> Iterator[tuple[int, str]]:
    """A pseudo-terminal that plays the server's serial port: its far end, and its path."""
    far, near = pty.openpty()
    tty.setraw(near)
    path = os.ttyname(near)
    os.close(near)
    yield far, path
    os.close(far)


@pytest.fixture
def whole(tmp_path: Path, port: tuple[int, str]) -> Iterator[Product]:
    base = tmp_path / "hal"
    base.mkdir()
    product = Product(base, CONFIG.format(image=base / "disk.img", port=port[1]))
    tinyguest.write_image(product.image, tinyguest.COM4)  # the heartbeat channel of a product without virtio
    yield product
    product.close()


def test_a_manager_without_a_plan_plans_and_starts_the_product(whole: Product, port: tuple[int, str]) -> None:
    whole.start_manager()
    pid = whole.wait_beating()
    plan = json.loads((whole.run_dir / "plan.json").read_text())
    assert plan["era"] == "pre-virtio"
    assert len(whole.status["pinning"]) == plan["cpu"]["vcpus"]
    assert all(pin["actual"] == [pin["cpu"]] for pin in whole.status["pinning"])
    assert (whole.state_dir / "vmm" / "hardware.json").exists(), "the virtual hardware is pinned"
    os.write(port[0], b"p")  # over the server's serial port: the product powers off
    whole.wait_state("host power-off")
    whole.wait(lambda: whole.qemu_pid != pid, "QEMU ends")


def test_a_disk_that_vanished_does_not_keep_the_product_from_starting_when_it_is_back(whole: Product) -> None:
    whole.start_manager()
    first = whole.wait_beating()
    hidden = whole.image.with_suffix(".gone")
    whole.image.rename(hidden)
    os.kill(first, signal.SIGKILL)
    whole.wait(lambda: whole.status["last_exit"].get("reason") == "not-started", "the start fails")
    assert str(whole.image) in str(whole.status["last_exit"]["detail"]), "the message names the disk"
    hidden.rename(whole.image)
    whole.wait_beating(other_than=first)


def test_stop_presses_the_power_button_of_a_product_without_agent_and_then_uses_force(whole: Product) -> None:
    etc = whole.run_dir.parent / "etc" / "hal.toml"
    etc.write_text(etc.read_text() + "[vmm.stop]\nagent = 1\nacpi = 2\n")
    whole.start_manager()
    whole.wait_beating()
    stopped = whole.command("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert "by force" in stopped.stdout  # a boot sector knows no ACPI
    assert "power button" in stopped.stderr
    whole.wait_state("stopped")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can drop privileges; ci/test runs as root in CI")
def test_qemu_runs_with_no_privilege_at_all(port: tuple[int, str]) -> None:
    with tempfile.TemporaryDirectory(prefix="hal-test-") as directory:
        base = Path(directory)
        base.chmod(0o711)  # pytest's own directories are closed to QEMU's user
        product = Product(base, CONFIG.format(image=base / "disk.img", port=port[1]).replace('""', '"nobody"'))
        try:
            tinyguest.write_image(product.image, tinyguest.COM4)
            product.image.chmod(0o600)
            product.start_manager()
            pid = product.wait_beating()
            lines = (line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            process = {key: value.split() for key, value in lines}
            nobody = str(pwd.getpwnam("nobody").pw_uid)
            assert process["Uid"] == [nobody] * 4
            assert "0" not in process["Gid"]
            assert process["Groups"] == []
            assert all(int(process[key][0], 16) == 0 for key in ("CapPrm", "CapEff", "CapInh", "CapAmb"))
            assert process["NoNewPrivs"] == ["1"]
            assert process["Seccomp"] == ["2"]
            sockets = (product.run_dir / "qmp").iterdir()
            assert all(path.stat().st_mode & 0o077 == 0 and path.stat().st_uid == 0 for path in sockets)
        finally:
            product.close()


def test_a_damaged_launch_plan_is_one_line_and_is_planned_anew(whole: Product) -> None:
    (whole.run_dir / "qemu.json").write_text('{"version": 1, "qemu": "/usr/b')
    whole.start_manager()
    whole.wait(lambda: whole.status.get("last_exit"), "the first start fails")
    assert "damaged" in whole.log
    whole.wait_beating()
