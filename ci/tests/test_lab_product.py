"""The lab's product OS: one per era; the modern one is booted here, the way HAL gives it its devices."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory import programs
from hal_vmm.era import ERAS
from hal_vmm.plan.nicplan import HOST_LINK_MAC
from lab.errors import LabError
from lab.images import product

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 120.0  # seconds; it takes six on an idle machine
QEMUS = ("/usr/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm")
FILES = REPOSITORY / "ci/lib/lab/images/product_files"
SCRIPTS = [path for path in sorted(FILES.rglob("*")) if path.parent.name in ("sbin", "rc.d")]
assert SCRIPTS, f"nothing to test below {FILES}"


def test_there_is_a_product_for_every_era() -> None:
    assert {kind.era for kind in product.KINDS.values()} == set(ERAS)
    with pytest.raises(LabError, match="there are modern, modern-usb, pre-virtio, ide"):
        product.build("future", Path("/nonexistent"), print)


def test_what_it_shows_can_be_read() -> None:
    shown = product.hardware("vcpus 2\r\nsmbios.product_name Server 9000\r\nsmbios.board_serial \r\n\r\n")
    assert shown == {"vcpus": "2", "smbios.product_name": "Server 9000", "smbios.board_serial": ""}


@pytest.mark.parametrize("script", SCRIPTS)
def test_its_scripts_can_be_run(script: Path) -> None:
    assert os.access(script, os.X_OK)
    programs.run("sh", "-n", script)


def test_hal_guest_is_what_its_package_installs() -> None:
    spec = (REPOSITORY / "specs" / "hal-guest.spec").read_text()
    for path, source in product.GUEST_FILES.items():
        assert f"{source.relative_to(REPOSITORY / 'packages/hal-guest')} %{{buildroot}}/{path}\n" in spec


class Guest:
    """The product in QEMU, and its serial port."""

    def __init__(self, disk: Path) -> None:
        qemu = next(path for path in QEMUS if os.path.exists(path))
        machine = ("-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "512")
        self._process = subprocess.Popen(
            [
                *(qemu, "-nodefaults", "-no-user-config", "-display", "none", *machine),
                *("-smbios", "type=1,manufacturer=Acme,product=Server 9000,serial=SN42"),
                *("-chardev", "stdio,id=com1,signal=off", "-device", "isa-serial,chardev=com1"),
                *("-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=disk,serial=DISK1"),
                *("-drive", f"if=none,id=disk,format=raw,snapshot=on,file={disk}"),
                # In front, which HAL never does: the numbers of the others do not depend on it.
                *("-netdev", "hubport,id=link,hubid=0", "-device", f"virtio-net-pci,netdev=link,mac={HOST_LINK_MAC}"),
                *("-netdev", "user,id=lan,restrict=on", "-device", "virtio-net-pci,netdev=lan,mac=02:00:00:00:00:07"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._deadline = time.monotonic() + PATIENCE
        self._said = b""

    def read_until(self, text: str) -> str:
        """What it says up to and including a text that is new."""
        assert self._process.stdout
        while text.encode() not in self._said:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0, self._deadline - time.monotonic()))
            piece = os.read(self._process.stdout.fileno(), 4096) if ready else b""
            assert piece, f"no {text!r} after {self._said[-2000:]!r}"
            self._said += piece
        said, _, self._said = self._said.partition(text.encode())
        return said.decode(errors="replace") + text

    def type(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def ask(self, command: str) -> str:
        self.type(command)
        self.read_until("\r\n")  # its echo
        return self.read_until(product.PROMPT)[: -len(product.PROMPT)]

    def ended(self) -> int:
        return self._process.wait(self._deadline - time.monotonic())

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


@pytest.fixture
def guest() -> Iterator[Guest]:
    running = Guest(product.build("modern", REPOSITORY / ".cache" / "lab" / "product", print))
    yield running
    running.kill()


@pytest.mark.component
def test_it_boots_says_what_it_sees_reboots_and_powers_off(guest: Guest) -> None:
    for boots in ("1", "2"):
        guest.read_until(f"{product.READY}\r\n")
        guest.read_until(product.PROMPT)
        shown = product.hardware(guest.ask("show hardware"))
        assert shown["vcpus"] == "2"
        assert shown["boots"] == boots
        assert shown["disk.sda.serial"] == "DISK1"
        assert (shown["nic.eth0.mac"], shown["nic.eth1.mac"]) == (HOST_LINK_MAC, "02:00:00:00:00:07")
        assert (shown["nic.eth1.driver"], shown["nic.eth1.carrier"]) == ("virtio_net", "1")
        assert "inet 169.254.72.2/30 " in guest.ask("ip -4 addr show dev eth0")
        assert (shown["smbios.product_name"], shown["smbios.product_serial"]) == ("Server 9000", "SN42")
        assert "recovery" not in guest.ask("dmesg | grep EXT4-fs"), "the file system was not left clean"
        assert guest.ask("wget -q -O - http://10.77.0.2/era") == "modern\r\n"
        guest.type("reboot" if boots == "1" else "poweroff")
        guest.read_until("PRODUCT down")
    assert guest.ended() == 0
