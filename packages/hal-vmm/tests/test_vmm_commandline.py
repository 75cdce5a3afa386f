"""The command line: its syntax, its descriptors, and whether a real QEMU takes it and shows the devices."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_core.errors import HostError
from hal_core.machine import Machine, Optical
from hal_core.testing import synthetic
from hal_vmm.commands import apply_command
from hal_vmm.config import BootConfig, DevicesConfig, MemoryConfig, VmmConfig
from hal_vmm.launch import options
from hal_vmm.launch.commandline import Site, compile_plan
from hal_vmm.launch.launchplan import FIRST_FD, LaunchPlan
from hal_vmm.plan.guest import plan
from hal_vmm.plan.guestplan import GuestPlan
from hal_vmm.qemu import flavour_builtin, probe
from hal_vmm.qemu.flavour import Flavour

DEBIAN, EL9 = flavour_builtin.FLAVOURS["debian12"], flavour_builtin.FLAVOURS["el9"]
DVD = Optical("sr0", "DVD-ROM DV28", "TEAC", "D1", "pci-0000:00:1f.2-ata-1", "ata")
SITE = Site("/run/hal", vhost=True)


def compiled(
    machine: Optional[Machine] = None, config: Optional[VmmConfig] = None, flavour: Flavour = DEBIAN, site: Site = SITE
) -> LaunchPlan:
    return compile_plan(plan(machine or synthetic.machine(), config or VmmConfig(), flavour), flavour, site)


def values(launch: LaunchPlan, option: str) -> list[str]:
    return [launch.argv[index + 1] for index, word in enumerate(launch.argv) if word == option]


def device(launch: LaunchPlan, id_: str) -> str:
    found = [value for value in values(launch, "-device") if f"id={id_}," in f"{value},"]
    assert len(found) == 1, (id_, found)
    return found[0]


# --- syntax


def test_commas_are_doubled_and_nothing_else() -> None:
    assert options.keyval("type=1", manufacturer="Dell, Inc.", serial='A "B"=\\') == (
        'type=1,manufacturer=Dell,, Inc.,serial=A "B"=\\'
    )


@given(st.lists(st.text(min_size=1, max_size=20), max_size=8))
def test_the_shell_gives_back_what_was_quoted(texts: list[str]) -> None:
    words = ["qemu", "-S", *(word for text in texts for word in ("-append", text))]
    assert shlex.split("\n".join(options.lines(words)).replace(" \\\n", " ")) == words


def test_one_option_with_its_value_a_line() -> None:
    assert list(options.lines(["/usr/bin/qemu", "-nodefaults", "-name", "a b", "-S"])) == [
        "/usr/bin/qemu \\",
        "  -nodefaults \\",
        "  -name 'a b' \\",
        "  -S",
    ]


# --- what is on it


def test_descriptors_are_numbered_without_gaps_and_all_are_used() -> None:
    launch = compiled(dataclasses.replace(synthetic.machine(), optical=(DVD,)))
    fds = [node.fd for node in launch.nodes]
    fds += [tap.fd for tap in launch.taps]
    fds += [listener.fd for listener in launch.listeners]
    assert sorted(fds) == list(range(FIRST_FD, FIRST_FD + len(fds)))
    text = " ".join(launch.argv)
    for fd in fds:
        assert f"fd={fd}" in text or f"/dev/fdset/{fd}" in text


def test_nothing_of_the_host_is_opened_by_path() -> None:
    launch = compiled(dataclasses.replace(synthetic.machine(), optical=(DVD,)))
    paths = [word for word in launch.argv[1:] if "/dev/" in word and "opaque=" not in word]
    assert all(word.count("/dev/") == word.count("/dev/fdset/") for word in paths)


def test_a_disk_is_opened_by_the_launcher_for_the_product_alone() -> None:
    launch = compiled()
    node = next(node for node in launch.nodes if node.path == "/dev/sda")
    assert (node.kind, node.mode, node.exclusive, node.what) == ("block", "rw", True, "disk /dev/sda (serial 6XP00000)")
    block = json.loads(values(launch, "-blockdev")[0])
    assert block["file"]["driver"] == "host_device"
    assert block["file"]["filename"] == f"/dev/fdset/{node.fd}"
    assert block["file"]["cache"] == {"direct": True, "no-flush": False}
    assert block["file"]["aio"] == "native"
    front = device(launch, "disk0")
    for part in ("serial=6XP00000", "wwn=0x5000c50000000000", "vendor=SEAGATE", "werror=report", "bootindex=0"):
        assert part in front.split(",")


def test_a_serial_port_that_is_missing_or_busy_does_not_keep_the_product_from_starting() -> None:
    node = next(node for node in compiled().nodes if node.path == "/dev/ttyS0")
    assert (node.nonblock, node.noctty, node.otherwise) == (True, True, "/dev/null")


def test_what_is_said_on_a_serial_port_is_logged() -> None:
    launch = compiled()
    node = next(node for node in launch.nodes if node.path == "/run/hal/events/com1.log")
    assert (node.kind, node.mode) == ("file", "append")
    (chardev,) = (value for value in values(launch, "-chardev") if value.startswith("serial,id=com1,"))
    assert chardev.endswith(f",logfile=/dev/fdset/{node.fd},logappend=on")


@pytest.mark.parametrize("built", [True, False])
def test_the_screen_is_for_whoever_is_handed_it_and_beeps_where_qemu_can(built: bool) -> None:
    flavour = dataclasses.replace(EL9, devices=EL9.devices - (set() if built else {"isa-pcspk"}))
    launch = compiled(flavour=flavour)
    assert values(launch, "-display") == ["none"]
    assert values(launch, "-vnc") == ["none,display=vga" + (",audiodev=sound" if built else "")]
    assert values(launch, "-audiodev") == (["none,id=sound"] if built else [])
    assert ("pcspk-audiodev=sound" in values(launch, "-machine")[0]) is built


def test_taps_get_vhost_where_the_host_has_it_and_the_nic_is_virtio() -> None:
    assert "vhost=on,vhostfd=" in values(compiled(), "-netdev")[0]
    assert "vhost=off" in values(compiled(site=Site("/run/hal", vhost=False)), "-netdev")[0]
    assert "vhost=off" in values(compiled(config=VmmConfig(era="pre-virtio")), "-netdev")[0]
    assert [tap.name for tap in compiled().taps] == ["haltap0", "haltap1", "haltap2", "haltap3", "haltapint"]


@pytest.mark.parametrize(
    ("era", "model", "bus"),
    [("modern", "virtio-net-pci", "pcie.0"), ("pre-virtio", "e1000", "pcie.0"), ("ide", "e1000", "pci.0")],
)
def test_the_link_to_the_host_is_the_last_nic_at_a_place_of_its_own(era: str, model: str, bus: str) -> None:
    launch = compiled(config=VmmConfig(era=era))
    netdev = values(launch, "-netdev")[-1]
    assert netdev.startswith(f"tap,id=lan-host,fd={launch.taps[-1].fd},vhost={'on' if era == 'modern' else 'off'}")
    assert device(launch, "nic-host") == (
        f"{model},id=nic-host,netdev=lan-host,mac=02:48:41:4c:00:02,romfile=,bus={bus},addr=18.0"
    )


def test_the_link_to_the_host_moves_no_other_device() -> None:
    with_it = compiled(synthetic.machine(nics=128))
    without = compiled(synthetic.machine(nics=128), VmmConfig(devices=DevicesConfig(host_link=False)))
    assert values(with_it, "-device")[:-1] == values(without, "-device")
    places = [value.partition("addr=")[2] for value in values(with_it, "-device") if "addr=" in value]
    assert len(set(places)) == len(places)


def test_the_product_decides_how_long_its_frames_are() -> None:
    machine = dataclasses.replace(synthetic.machine(), nics=(synthetic.nic(0, mtu=9000),))
    assert "mtu" not in " ".join(compiled(machine).argv)


def test_a_seventeenth_nic_shares_a_slot() -> None:
    launch = compiled(synthetic.machine(nics=17))
    assert "addr=08.0" in device(launch, "nic0")
    assert "multifunction=on" in device(launch, "nic0")
    assert "addr=08.1" in device(launch, "nic16")
    assert "multifunction" not in device(launch, "nic1")


def test_kvm_is_a_descriptor_where_qemu_can_and_a_group_elsewhere() -> None:
    assert values(compiled(), "-accel") == ["kvm"]
    assert compiled().groups == ("kvm",)
    launch = compiled(flavour=EL9)
    node = next(node for node in launch.nodes if node.path == "/dev/kvm")
    assert values(launch, "-accel") == [f"kvm,device=/dev/fdset/{node.fd}"]
    assert launch.groups == ()


def test_numa_is_bound_to_the_hosts_nodes() -> None:
    launch = compiled()
    assert values(launch, "-object")[:2] == [
        "memory-backend-ram,id=ram-node0,size=32024M,merge=off,host-nodes=0,policy=bind",
        "memory-backend-ram,id=ram-node1,size=32024M,merge=off,host-nodes=1,policy=bind",
    ]
    assert values(launch, "-numa") == [
        "node,nodeid=0,memdev=ram-node0",
        "node,nodeid=1,memdev=ram-node1",
        "cpu,node-id=0,socket-id=0",
        "cpu,node-id=1,socket-id=1",
        "dist,src=0,dst=1,val=21",
        "dist,src=1,dst=0,val=21",
    ]
    assert "memory-backend=" not in values(launch, "-machine")[0]


def test_huge_pages_are_a_memfd_taken_at_start() -> None:
    launch = compiled(synthetic.machine(nodes=0), VmmConfig(memory=MemoryConfig(hugepages="2M")))
    assert values(launch, "-object")[0] == (
        "memory-backend-memfd,id=ram,size=64048M,merge=off,hugetlb=on,hugetlbsize=2M,prealloc=on"
    )


def test_a_kernel_is_a_descriptor_too() -> None:
    boot = BootConfig(kernel="/boot/vmlinuz", initrd="/boot/initrd", append="console=ttyS0 root=/dev/sda1")
    launch = compiled(config=VmmConfig(boot=boot))
    nodes = {node.path: node for node in launch.nodes}
    assert values(launch, "-kernel") == [f"/proc/self/fd/{nodes['/boot/vmlinuz'].fd}"]
    assert (nodes["/boot/initrd"].kind, nodes["/boot/initrd"].mode) == ("file", "ro")
    assert values(launch, "-append") == [boot.append]


def test_the_first_usb_controller_is_where_it_has_always_been() -> None:
    modern, old = compiled(), compiled(config=VmmConfig(era="pre-virtio"))
    assert device(modern, "xhci") == "qemu-xhci,id=xhci,p2=15,p3=15,multifunction=on,bus=pcie.0,addr=04.0"
    assert device(modern, "xhci3") == "qemu-xhci,id=xhci3,p2=15,p3=15,bus=pcie.0,addr=04.2"
    assert device(old, "ehci") == "ich9-usb-ehci1,id=ehci,multifunction=on,bus=pcie.0,addr=1d.7"
    assert device(old, "uhci1").endswith("masterbus=ehci.0,firstport=0,multifunction=on,bus=pcie.0,addr=1d.0")
    assert device(old, "uhci6").endswith("masterbus=ehci2.0,firstport=4,multifunction=on,bus=pcie.0,addr=04.2")
    before = dataclasses.replace(plan(synthetic.machine(), VmmConfig(), DEBIAN).pinned, usb=1)
    kept = compile_plan(plan(synthetic.machine(), VmmConfig(), DEBIAN, before), DEBIAN, SITE)
    assert device(kept, "xhci") == "qemu-xhci,id=xhci,p2=15,p3=15,bus=pcie.0,addr=04.0"


def test_ids_of_other_packages_are_not_taken() -> None:
    for launch in (compiled(), compiled(config=VmmConfig(era="ide")), compiled(config=VmmConfig(era="pre-virtio"))):
        ids = [part[3:] for word in launch.argv for part in word.split(",") if part.startswith("id=")]
        assert len(set(ids)) == len(ids)
        assert not [id_ for id_ in ids if id_.startswith("usb-")]
        assert {id_ for id_ in ids if id_.startswith("lan-")} == {"lan-0", "lan-1", "lan-2", "lan-3", "lan-host"}


def test_a_machine_whose_memory_is_unknown_has_a_plan_but_no_command_line() -> None:
    machine = dataclasses.replace(
        synthetic.machine(nodes=0), memory=dataclasses.replace(synthetic.machine().memory, total_kib=None)
    )
    assert plan(machine, VmmConfig(), DEBIAN).memory.guest_mib is None
    with pytest.raises(HostError, match="the memory of this machine is not known"):
        compiled(machine)


# --- a real QEMU


needs_qemu = pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="no qemu-system-x86_64 installed")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flavour]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HAL_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        yield probe.probe(probe.find())


def on_files(planned: GuestPlan, directory: Path) -> GuestPlan:
    """The same plan on things that every machine has: image files, no host nodes, no drive."""
    disks = []
    for disk in planned.disks:
        image = directory / f"{disk.host.replace('/', '_')}.img"
        with image.open("wb") as file:
            file.truncate(1 << 20)
        disks.append(dataclasses.replace(disk, host=str(image), kind="file"))
    nodes = tuple(dataclasses.replace(node, host_node=None) for node in planned.memory.nodes)
    return dataclasses.replace(
        planned,
        disks=tuple(disks),
        optical=tuple(dataclasses.replace(drive, driver="") for drive in planned.optical),
        memory=dataclasses.replace(planned.memory, nodes=nodes),
    )


class Qmp:
    """Just enough of QMP to ask."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(path)
        self._file = self._socket.makefile("rw")
        assert "QMP" in json.loads(self._file.readline())
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: object) -> Any:
        self._file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._file.flush()
        while True:
            answer = json.loads(self._file.readline())
            if "return" in answer:
                return answer["return"]
            assert "error" not in answer, answer

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@contextmanager
def running(launch: LaunchPlan, run_dir: Path, through: tuple[str, ...] = ()) -> Iterator[Qmp]:
    """QEMU, started by the real launcher, and that by the program ``through``."""
    run_dir.mkdir()
    (run_dir / "qemu.json").write_text(apply_command.render(launch))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(str(run_dir / "ready"))
        ready.settimeout(20)
        process = subprocess.Popen(
            [
                *through,
                sys.executable,
                "-c",
                "import sys; from hal_vmm.launch.launcher import run; sys.exit(run())",
                run_dir / "qemu.json",
            ],
            env={**os.environ, "NOTIFY_SOCKET": str(run_dir / "ready"), "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            try:
                ready.recv(64)
                qmp = Qmp(str(run_dir / "qmp/manager"))
            except (OSError, ValueError):
                process.kill()
                raise AssertionError(process.communicate()[1]) from None
            yield qmp
            qmp.ask("quit")
            qmp.close()
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.communicate()


@pytest.mark.component
@needs_qemu
@pytest.mark.parametrize(
    ("era", "disks", "nics"), [("modern", 9, 18), ("pre-virtio", 8, 3), ("ide", 3, 2), ("modern", 0, 0)]
)
def test_qemu_takes_it_and_every_device_is_there(
    era: str, disks: int, nics: int, installed: Flavour, tmp_path: Path
) -> None:
    machine = synthetic.machine(packages=2, cores=3, disks=disks, nics=nics, memory_mib=4096, hal_disk=True)
    machine = dataclasses.replace(machine, optical=(DVD,))
    config = VmmConfig(
        era=era,
        accel="tcg",
        user="",
        memory=MemoryConfig(guest_mib=512),
        devices=DevicesConfig(nic_backend="unplugged"),
    )
    planned = on_files(plan(machine, config, installed), tmp_path)
    with running(compile_plan(planned, installed, Site(str(tmp_path / "run"), vhost=False)), tmp_path / "run") as qmp:
        ids = {item["name"] for item in qmp.ask("qom-list", path="/machine/peripheral")}
        assert {f"disk{index}" for index in range(disks)} <= ids
        assert {f"nic{index}" for index in range(nics)} <= ids
        assert {"dvd0", "vga", "watchdog", "pvpanic", "serial0"} <= ids
        assert len(qmp.ask("query-cpus-fast")) == 6
        assert {cpu["props"]["node-id"] for cpu in qmp.ask("query-cpus-fast")} == {0, 1}
        assert qmp.ask("query-memory-size-summary")["base-memory"] == 512 << 20
        assert qmp.ask("query-status")["status"] == "prelaunch"
        assert qmp.ask("query-uuid")["UUID"] == "4c4c4544-0042-4a10-8053-b4c04f4e3132"
        chardevs = {item["label"] for item in qmp.ask("query-chardev")}
        assert {"qmp-manager", "qmp-cli", "journal", "com1"} <= chardevs
        if era == "modern":
            assert {"agent", "heartbeat"} <= chardevs
        else:
            assert "heartbeat" in chardevs
        for index in range(disks):
            path = f"/machine/peripheral/disk{index}"
            assert qmp.ask("qom-get", path=path, property="serial") == f"6XP{index:05d}"
            assert qmp.ask("qom-get", path=path, property="wwn") == 0x5000C50000000000 + index
        for index in range(nics):
            mac = qmp.ask("qom-get", path=f"/machine/peripheral/nic{index}", property="mac")
            assert mac == f"00:1b:21:00:00:{index:02x}"


@pytest.mark.component
@needs_qemu
@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a network with taps")
@pytest.mark.parametrize("era", ["modern", "pre-virtio", "ide"])
def test_qemu_has_a_nic_on_each_tap_and_the_link_to_the_host_at_its_place(
    era: str, installed: Flavour, tmp_path: Path
) -> None:
    config = VmmConfig(era=era, accel="tcg", user="", memory=MemoryConfig(guest_mib=256))
    planned = on_files(plan(synthetic.machine(disks=0, nics=2, nodes=0), config, installed), tmp_path)
    launch = compile_plan(planned, installed, Site(str(tmp_path / "run"), vhost=False))
    with running(launch, tmp_path / "run", ("unshare", "--net")) as qmp:
        peripheral = "/machine/peripheral/nic"
        nics = {name: qmp.ask("qom-get", path=f"{peripheral}{name}", property="mac") for name in ("0", "1", "-host")}
        assert nics == {"0": "00:1b:21:00:00:00", "1": "00:1b:21:00:00:01", "-host": "02:48:41:4c:00:02"}
        assert qmp.ask("qom-get", path=f"{peripheral}-host", property="addr") == 0x18 << 3  # and its function
        for netdev in ("lan-0", "lan-1", "lan-host"):
            qmp.ask("set_link", name=netdev, up=False)


@pytest.mark.component
@needs_qemu
def test_qemu_boots_a_kernel_from_a_descriptor(installed: Flavour, tmp_path: Path) -> None:
    """The smallest thing with a Linux header is enough: QEMU reads it before it answers."""
    kernel = tmp_path / "vmlinuz"
    header = bytearray(8192)
    header[0x1F1] = 4  # setup sectors
    header[0x1FE:0x200] = b"\x55\xaa"
    header[0x202:0x208] = b"HdrS\x0c\x02"  # and the boot protocol's version, 2.12
    kernel.write_bytes(bytes(header))
    config = VmmConfig(
        accel="tcg",
        user="",
        memory=MemoryConfig(guest_mib=256),
        boot=BootConfig(kernel=str(kernel)),
        devices=DevicesConfig(nic_backend="unplugged"),
    )
    planned = on_files(plan(synthetic.machine(disks=0, nodes=0), config, installed), tmp_path)
    with running(compile_plan(planned, installed, Site(str(tmp_path / "run"), vhost=False)), tmp_path / "run") as qmp:
        assert qmp.ask("query-status")["status"] == "prelaunch"
