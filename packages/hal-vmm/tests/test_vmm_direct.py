"""A real NIC in place of a virtual one: planned, compiled, and taken by the launcher from FAKE device nodes."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import os
import struct
from pathlib import Path
from typing import Any, Optional

import pytest

from hal_core import lent
from hal_core.lent import Lent
from hal_core.testing import synthetic
from hal_vmm.commands import apply_command
from hal_vmm.config import DevicesConfig, VmmConfig
from hal_vmm.launch import direct, readplan
from hal_vmm.launch.commandline import Site, compile_plan
from hal_vmm.launch.launchplan import LaunchPlan
from hal_vmm.plan import handover
from hal_vmm.plan.guest import plan
from hal_vmm.qemu import flavour_builtin
from hal_vmm.qemu.flavour import Flavour

OLD, NEW = flavour_builtin.FLAVOURS["debian12"], flavour_builtin.FLAVOURS["fedora"]
WITHOUT = dataclasses.replace(OLD, name="a QEMU", devices=OLD.devices - {"vfio-pci"})
NIC = "0000:20:00.1"  # the NIC number 1 of a made-up server


def compiled(flavour: Flavour, era: str = "modern", nics: int = 3) -> LaunchPlan:
    planned = plan(synthetic.machine(nics=nics), VmmConfig(era=era), flavour)
    return compile_plan(planned, flavour, Site("/run/hal", vhost=True))


class Host:
    """A FAKE host: device nodes that are files, and a VFIO that answers as it is told."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.viable, self.refuses = root, True, 0
        self.placed: dict[int, str] = {}
        self.asked: list[int] = []
        (root / "dev/vfio").mkdir(parents=True)
        for node in ("vfio", "7"):
            (root / "dev/vfio" / node).touch()
        (root / "sys" / NIC).mkdir(parents=True)
        (root / "sys" / NIC / "iommu_group").symlink_to("../../kernel/iommu_groups/7")
        monkeypatch.setattr(direct, "SYSFS", str(root / "sys"))
        monkeypatch.setattr(direct, "DEV", str(root / "dev"))
        monkeypatch.setattr(fcntl, "ioctl", self.ioctl)

    def ioctl(self, fd: int, request: int, argument: Any) -> bytes:
        self.asked.append(request)
        if request == 0x3B66 and self.refuses:
            raise OSError(self.refuses, os.strerror(self.refuses))
        return struct.pack("=II", 8, int(self.viable)) if request == 0x3B67 else b""

    def with_cdev(self) -> None:
        """As Linux has it from 6.6 on."""
        for path in ("dev/vfio/devices/vfio0", "dev/iommu"):
            (self.root / path).parent.mkdir(exist_ok=True)
            (self.root / path).touch()
        (self.root / "sys" / NIC / "vfio-dev/vfio0").mkdir(parents=True)

    def lend(self, number: int = 1) -> None:
        path = Path(lent.path(str(self.root)))
        path.parent.mkdir(exist_ok=True)
        path.write_text(lent.text({number: Lent("eno2", "00:1b:21:00:00:01", "igb", "vfio", NIC, NIC)}))

    def place(self, fd: int, number: int) -> None:
        self.placed[number] = os.readlink(f"/proc/self/fd/{fd}")
        os.close(fd)

    def take(self, launch: LaunchPlan, uid: Optional[int] = None) -> dict[str, Any]:
        path = self.root / "qemu.json"
        path.write_text(apply_command.render(launch))
        content = readplan.read(str(path))
        direct.take(content, str(self.root), uid, "launcher", self.place)
        return content


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


# --- planned and compiled ---------------------------------------------------------------------------------------------


def test_the_way_depends_on_qemu() -> None:
    assert handover.plan(NEW, False).way == "fd"
    assert handover.plan(OLD, False).way == "path"


def test_a_qemu_that_cannot_says_so() -> None:
    assert handover.plan(WITHOUT, False) == handover.Handover("", "a QEMU has no vfio-pci")
    assert not compiled(WITHOUT).directs


def test_a_virtual_iommu_is_in_the_way() -> None:
    found = handover.plan(NEW, True)
    assert not found.way
    assert "more than 255 CPUs" in found.reason


def test_hal_netcfg_is_told() -> None:
    planned = plan(synthetic.machine(), VmmConfig(), OLD)
    assert planned.to_json()["handover"] == {"way": "path", "reason": ""}


@pytest.mark.parametrize("era", ["modern", "pre-virtio", "ide"])
def test_the_real_nic_sits_where_the_virtual_one_sat(era: str) -> None:
    launch = compiled(OLD, era)
    for one in launch.directs:
        netdev, nic = one.replaces
        assert launch.argv.count(netdev) == launch.argv.count(nic) == 1
        assert f"id=nic{one.lan}," in one.device
        place = [word for word in nic.split(",") if word.startswith(("bus=", "addr=", "multifunction="))]
        assert place == [word for word in one.device.split(",") if word.startswith(("bus=", "addr=", "multifunction="))]


def test_descriptors_are_promised_once() -> None:
    launch = compiled(NEW)
    others = [one.fd for kind in (launch.nodes, launch.taps, launch.listeners) for one in kind]
    own = [one.fd for one in launch.directs]
    shared = {one.iommufd for one in launch.directs}
    assert len(shared) == 1
    numbers = [*others, *own, *shared]
    assert len(set(numbers)) == len(numbers)


def test_nics_without_a_cable_stay_virtual() -> None:
    config = VmmConfig(devices=DevicesConfig(nic_backend="unplugged"))
    planned = plan(synthetic.machine(), config, OLD)
    assert compile_plan(planned, OLD, Site("/run/hal", vhost=True)).directs == ()


# --- taken ------------------------------------------------------------------------------------------------------------


def test_nothing_is_lent_nothing_changes(host: Host) -> None:
    launch = compiled(OLD)
    assert host.take(launch) == json.loads(apply_command.render(launch))


def test_by_path(host: Host) -> None:
    host.lend()
    launch = compiled(OLD)
    content = host.take(launch, uid=os.getuid())
    argv = content["argv"]
    assert f"vfio-pci,id=nic1,rombar=0,bus=pcie.0,addr=09.0,host={NIC}" in argv
    assert not [word for word in argv if "lan-1" in word]
    assert [word for word in argv if "lan-0" in word]
    assert "haltap1" not in [tap["name"] for tap in content["taps"]]
    assert "vhost for haltap1" not in [node["what"] for node in content["nodes"]]
    assert len(content["nodes"]) == len(launch.nodes) - 1
    assert host.placed == {}


def test_all_memory_may_be_locked_then_and_only_then(host: Host) -> None:
    launch = compiled(OLD)
    assert host.take(launch)["memlock"] is None
    host.lend()
    guest_mib = int(launch.argv[launch.argv.index("-m") + 1][:-1])
    assert host.take(launch)["memlock"] == (guest_mib + 1024) << 20


def test_the_groups_node_becomes_qemus(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: given.append((path, uid, gid)))
    host.lend()
    host.take(compiled(OLD), uid=970)
    assert given == [(str(host.root / "dev/vfio/7"), 970, -1)]


def test_by_descriptors(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "chown", lambda *_: pytest.fail("QEMU opens nothing"))
    host.with_cdev()
    host.lend()
    launch = compiled(NEW)
    argv = host.take(launch, uid=970)["argv"]
    one = launch.directs[1]
    assert f"{one.device},fd={one.fd},iommufd=iommufd" in argv
    assert argv[argv.index(f"iommufd,id=iommufd,fd={one.iommufd}") - 1] == "-object"
    assert host.placed == {
        one.fd: str(host.root / "dev/vfio/devices/vfio0"),
        one.iommufd: str(host.root / "dev/iommu"),
    }


def test_an_old_kernel_under_a_new_qemu_goes_by_path(host: Host) -> None:
    host.lend()
    argv = host.take(compiled(NEW))["argv"]
    assert [word for word in argv if word.endswith(f",host={NIC}")]
    assert not [word for word in argv if "iommufd" in word]


def test_by_path_where_descriptors_may_not_be_had(host: Host) -> None:
    """A policy that knows nothing of /dev/iommu."""
    host.with_cdev()
    (host.root / "dev/iommu").unlink()
    (host.root / "dev/iommu").mkdir()
    host.lend()
    argv = host.take(compiled(NEW))["argv"]
    assert [word for word in argv if word.endswith(f",host={NIC}")]


def test_a_group_that_is_not_viable(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    host.lend()
    host.viable = False
    launch = compiled(OLD)
    assert host.take(launch)["argv"] == list(launch.argv)
    said = capfd.readouterr().err
    assert said == (
        f"<4>launcher: NIC 1 ({NIC}): {host.root}/dev/vfio/7: another device of its IOMMU group is the host's; the "
        "product gets a virtual NIC without a link in its place\n"
    )


@pytest.mark.parametrize("number", [errno.EPERM, errno.EBUSY])
def test_a_kernel_that_refuses(host: Host, capfd: pytest.CaptureFixture[str], number: int) -> None:
    """No interrupt remapping, for instance."""
    host.lend()
    host.refuses = number
    launch = compiled(OLD)
    assert host.take(launch)["argv"] == list(launch.argv)
    assert os.strerror(number) in capfd.readouterr().err


def test_a_node_that_has_its_label_a_moment_later(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.lend()
    launch, refusals, really_open = compiled(OLD), iter(range(3)), os.open

    def not_yet(path: Any, flags: int, mode: int = 0o777) -> int:
        if str(path).endswith("/vfio/7") and next(refusals, None) is not None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return really_open(path, flags, mode)

    monkeypatch.setattr(os, "open", not_yet)
    assert [word for word in host.take(launch)["argv"] if word.endswith(f",host={NIC}")]
    assert next(refusals, None) is None


def test_a_device_that_has_gone(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    host.lend()
    os.unlink(host.root / "sys" / NIC / "iommu_group")
    launch = compiled(OLD)
    assert host.take(launch)["argv"] == list(launch.argv)
    assert "No such file or directory" in capfd.readouterr().err


def test_a_lan_that_the_product_does_not_have(host: Host) -> None:
    host.lend(number=9)
    launch = compiled(OLD)
    assert host.take(launch)["argv"] == list(launch.argv)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"1": {}}', '{"1": {"device": "../../x"}}', '{"1": {"device": 7}}', '{"x": {"device": "0:0"}}']
)
def test_damage_costs_the_real_nic_and_not_the_product(
    host: Host, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    host.lend()
    Path(lent.path(str(host.root))).write_text(text)
    launch = compiled(OLD)
    assert host.take(launch)["argv"] == list(launch.argv)
    assert "direct.json is damaged" in capfd.readouterr().err


def test_a_plan_from_before_there_were_real_nics(host: Host) -> None:
    host.lend()
    path = host.root / "qemu.json"
    content = dataclasses.asdict(compiled(OLD))
    del content["directs"], content["direct_memlock"]
    path.write_text(json.dumps(content))
    read = readplan.read(str(path))
    direct.take(read, str(host.root), None, "launcher", host.place)
    assert read["argv"] == list(content["argv"])
