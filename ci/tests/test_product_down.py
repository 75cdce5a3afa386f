"""A product that takes its interface down: does anything on the host show it? An experiment with a real QEMU and Linux.

It says no, and so hal-netcfg mirrors nothing in that direction (docs/networking.md). When this fails, a newer QEMU or
Linux tells more than they did, and mirroring can be built.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hal_core.qmp_once import Once
from lab.images import initramfs, kernel

QEMU = shutil.which("qemu-system-x86_64") or shutil.which("qemu-kvm", path="/usr/libexec") or ""
CACHE = Path(__file__).resolve().parents[2] / ".cache/lab/packages"
PATIENCE = 240.0  # seconds: for Linux to boot, emulated, on a busy machine
MODELS = {"virtio-net-pci": "virtio_net", "e1000": "e1000", "rtl8139": "8139cp"}
SCRIPT = """
for nic in /sys/class/net/eth*; do ip link set "${nic##*/}" up; done
until ! grep -q 0 /sys/class/net/eth*/carrier; do sleep 0.1; done
echo BOOTED
exec sh
"""

pytestmark = [
    pytest.mark.component,
    pytest.mark.skipif(not QEMU, reason="no QEMU installed"),
]


class Product:
    """A Linux with one NIC of each model, eth0 to eth2 in their order, and a shell on its serial port."""

    def __init__(self, process: subprocess.Popen[bytes], qmp: Once) -> None:
        self._process, self._qmp = process, qmp
        self.expect("BOOTED")

    def expect(self, text: str) -> None:
        assert self._process.stdout
        said, deadline = "", time.monotonic() + PATIENCE
        while text not in said:
            ready = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]
            chunk = os.read(self._process.stdout.fileno(), 65536) if ready else b""
            assert chunk, f"no {text!r}, but: {said}"
            said += chunk.decode(errors="replace")

    def run(self, command: str) -> None:
        """Return when it is done. Typed in two parts: the shell's echo of what is typed is no answer."""
        assert self._process.stdin
        self._process.stdin.write(f'{command}; echo "DO""NE"\n'.encode())
        self._process.stdin.flush()
        self.expect("DONE")

    def everything(self, number: int) -> dict[str, Any]:
        """What QMP tells of a NIC: its filter and every property."""
        device = f"/machine/peripheral/lan-{number}"
        told: dict[str, Any] = {}
        for path in (device, f"{device}/virtio-backend") if number == 0 else (device,):
            for one in self._qmp.execute("qom-list", {"path": path}):
                if not one["type"].startswith(("child<", "link<")):
                    told[f"{path} {one['name']}"] = self._qmp.execute(
                        "qom-get", {"path": path, "property": one["name"]}
                    )
        for one in self._qmp.execute("query-rx-filter"):
            if one["name"] == f"lan-{number}":
                # In any order: only what is in them counts.
                told["filter"] = {
                    key: sorted(value) if isinstance(value, list) else value for key, value in one.items()
                }
        return told


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    directory = tmp_path_factory.mktemp("product")
    linux = kernel.fetch("amd64", CACHE, print)
    initramfs.build(linux, ["virtio_pci", *MODELS.values()], directory / "initrd.gz", script=SCRIPT)
    nics = []
    for number, model in enumerate(MODELS):
        nics += ["-netdev", f"hubport,id=net{number},hubid={number}"]
        nics += ["-device", f"{model},id=lan-{number},netdev=net{number},romfile="]
    argv = [QEMU, "-nodefaults", "-no-user-config", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-m", "256"]
    argv += ["-display", "none", "-serial", "stdio", *nics]
    ours, theirs = socket.socketpair()
    argv += ["-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "chardev=qmp,mode=control"]
    argv += ["-kernel", str(linux.image), "-initrd", str(directory / "initrd.gz")]
    argv += ["-append", "console=ttyS0 quiet mitigations=off net.ifnames=0"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(theirs.fileno(),)) as process:
        theirs.close()
        try:
            with Once.over(ours, deadline=60.0) as qmp:
                yield Product(process, qmp)
        finally:
            process.kill()


@pytest.mark.parametrize("number", range(len(MODELS)), ids=list(MODELS))
def test_nothing_tells_that_the_product_took_its_interface_down(product: Product, number: int) -> None:
    up = product.everything(number)
    assert len(up) > 10
    product.run(f"ip link set eth{number} down")
    assert product.everything(number) == up
    product.run(f"ip link set eth{number} up")
    assert product.everything(number) == up


def test_what_is_compared_can_differ(product: Product) -> None:
    """A promiscuous virtio NIC shows: so much of the product's side does come through."""
    before = product.everything(0)
    product.run("ip link set eth0 promisc on")
    after = product.everything(0)
    product.run("ip link set eth0 promisc off")
    assert json.dumps(after) != json.dumps(before)
