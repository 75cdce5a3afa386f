"""The host's hands off the product's disks: which disk is HAL's own, and rules that udev can read."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

_PACKAGE = Path(__file__).resolve().parents[1]
_SCRIPT = _PACKAGE / "udev/hal-own-disk"
_RULES = _PACKAGE / "udev/60-hal-hands-off.rules"


class Host:
    """A /sys and a /proc with disks, partitions and what is stacked on them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._minor = 0
        for directory in ("sys/class/block", "sys/dev/block", "proc/self"):
            (root / directory).mkdir(parents=True)

    def device(self, path: str, *slaves: str, partition: bool = False) -> str:
        """Its number; ``path`` is below /sys/devices."""
        directory = self.root / "sys/devices" / path
        (directory / "slaves").mkdir(parents=True)
        number = f"8:{self._minor}"
        self._minor += 1
        (directory / "dev").write_text(f"{number}\n")
        if partition:
            (directory / "partition").write_text("1\n")
            (directory / "slaves").rmdir()
        (self.root / "sys/dev/block" / number).symlink_to(directory)
        (self.root / "sys/class/block" / directory.name).symlink_to(directory)
        for slave in slaves:
            (directory / "slaves" / slave).symlink_to(self.root / "sys/class/block" / slave)
        return number

    def mounted(self, number: str, source: str, kind: str = "ext4") -> None:
        lines = [
            f"22 1 {number} / / rw,relatime shared:1 - {kind} {source} rw",
            "23 22 0:21 / /proc rw - proc proc rw",
        ]
        (self.root / "proc/self/mountinfo").write_text("\n".join(lines) + "\n")

    def verdict(self, name: str) -> str:
        done = subprocess.run(["sh", _SCRIPT, name, self.root], capture_output=True, text=True, timeout=20, check=True)
        assert done.stderr == ""
        return done.stdout.strip()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_the_disk_of_the_root_partition_is_hals_own(host: Host) -> None:
    host.device("pci/sda")
    number = host.device("pci/sda/sda2", partition=True)
    host.device("pci/sdb")
    host.mounted(number, "/dev/sda2")
    assert [host.verdict(name) for name in ("sda", "sdb")] == ["own", "product"]


def test_the_way_leads_down_through_device_mapper_and_md(host: Host) -> None:
    for disk in ("sda", "sdb", "sdc"):
        host.device(f"pci/{disk}")
        host.device(f"pci/{disk}/{disk}1", partition=True)
    host.device("virtual/md0", "sda1", "sdc1")
    host.mounted(host.device("virtual/dm-0", "md0"), "/dev/mapper/hal-root")
    assert [host.verdict(name) for name in ("sda", "sdb", "sdc")] == ["own", "product", "own"]


def test_a_file_system_with_a_number_of_its_own_is_found_by_its_device(host: Host) -> None:
    host.device("pci/nvme0n1")
    host.device("pci/nvme0n1/nvme0n1p2", partition=True)
    host.mounted("0:35", "/dev/nvme0n1p2", "btrfs")
    assert [host.verdict(name) for name in ("nvme0n1", "sda")] == ["own", "product"]


def test_where_nothing_can_be_told_nothing_is_said(host: Host) -> None:
    host.device("pci/sda")
    host.mounted("0:40", "overlay", "overlay")
    assert host.verdict("sda") == ""


def test_the_rules_jump_only_to_labels_that_exist_and_speak_udev() -> None:
    lines = [line for line in _RULES.read_text().splitlines() if line.strip() and not line.startswith("#")]
    text = "\n".join(lines)
    assert set(re.findall(r'GOTO="(\w+)"', text)) == set(re.findall(r'LABEL="(\w+)"', text))
    term = re.compile(
        r"(ACTION|SUBSYSTEMS?|KERNEL|ATTRS?\{\w+\}|ENV\{\w+\}|PROGRAM|RESULT|IMPORT\{\w+\}|SYMLINK|OPTIONS|GOTO|LABEL)"
        r'(==|!=|\+=|=)"[^"]*"'
    )
    for line in lines:
        assert [part for part in line.split(", ") if not term.fullmatch(part)] == [], line


@pytest.mark.component
@pytest.mark.skipif(shutil.which("udevadm") is None, reason="no udevadm installed")
def test_udev_itself_finds_nothing_wrong() -> None:
    done = subprocess.run(["udevadm", "verify", _RULES], capture_output=True, text=True, timeout=60, check=False)
    if "verify" in done.stderr and "nknown" in done.stderr:
        pytest.skip("this udevadm has no verify (before systemd 254)")
    assert done.returncode == 0, done.stdout + done.stderr
