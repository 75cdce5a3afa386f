"""A simulated server with a boot sector on its key, in a real QEMU: switch, sockets, keyboard, screen, saved state."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hal_core.qmp_once import Once
from lab.errors import LabError
from lab.simulator import files, server, snapshot, sockets
from lab.simulator.machine import Machine
from lab.simulator.server import Server

pytestmark = pytest.mark.component

# A product command line in 140 bytes. It says "up" and a prompt on COM1 and on the screen, and a new prompt after each
# carriage return; what comes on COM1 or is typed on the keyboard, it echoes on both. "!" resets, "." switches off.
_BOOT_SECTOR = (
    bytes.fromhex(
        "31c08ed8be647c"  # xor ax,ax; mov ds,ax; mov si,text
        "ac84c07405e83f00ebf6"  # say: lodsb; test al,al; jz idle; call put; jmp say
        "b401cd16740730e4cd16e83000"  # idle: mov ah,1; int 0x16 (key?); jz serial; xor ah,ah; int 0x16; call put
        "bafd03eca80174eb"  # serial: mov dx,0x3fd; in al,dx; test al,1 (a byte has come); jz idle
        "baf803ec3c2174103c2e7412"  # mov dx,0x3f8; in al,dx; cmp al,'!'; je reset; cmp al,'.'; je poweroff
        "e819003c0d75d8be667cebc9"  # call put; cmp al,13; jne idle; mov si,prompt; jmp say
        "b0fee664eb07"  # reset: mov al,0xfe; out 0x64,al (keyboard controller); jmp hang
        "ba0406b80020ef"  # poweroff: mov dx,0x604; mov ax,0x2000; out dx,ax (ACPI's PM1a control, S5)
        "f4ebfd"  # hang: hlt; jmp hang
        "50b40ebb0700cd10"  # put: push ax; mov ah,14; mov bx,7; int 0x10 (to the screen)
        "bafd03eca82074f858baf803eec3"  # mov dx,0x3fd; in al,dx; test al,0x20; jz; pop ax; mov dx,0x3f8; out; ret
    )
    + b"up\r\nproduct# \0"
)

_SMALL = """
description = "as small as can be"
firmware = "bios"
board = "pc"
memory_mib = 64
serial_ports = 1
dvd = true
bays = 1
watchdog = "i6300esb"
cpu = { sockets = 1, cores = 1, threads = 1 }
smbios = { manufacturer = "Acme, Inc.", product = "P", serial = "S", uuid = "9d3f1c52-6a1e-4f0b-8c55-0a1b2c3d4e0f" }
key = { serial = "KEY1" }
disk = [{ serial = "DISK1", size_mib = 8, bus = "ide", product = true }, { serial = "D2", size_mib = 8, bus = "sata" }]
nic = [{ mac = "02:54:00:00:00:01", model = "e1000" }]
"""


@pytest.fixture
def images(tmp_path: Path) -> files.Images:
    image = tmp_path / "key.img"
    image.write_bytes((_BOOT_SECTOR.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0"))
    return files.Images(key=image, disks={})


@pytest.fixture
def small() -> Server:
    return server.parse(_SMALL, Path("small.toml"))


@pytest.fixture
def machine(tmp_path: Path, small: Server, images: files.Images) -> Iterator[Machine]:
    # A directory so deep that no socket in it has an address of its own.
    with Machine.create(tmp_path / ("deep-" * 20) / "machine", small, images) as machine:
        yield machine


@pytest.fixture
def prompt(machine: Machine) -> Machine:
    machine.power_on()
    machine.serial[0].expect("up$", 30)
    machine.serial[0].expect("product# ", 30)
    return machine


def test_a_command_on_the_serial_console(prompt: Machine) -> None:
    assert prompt.is_on
    assert prompt.serial[0].run("hello", 30) == ""
    assert "product# hello" in prompt.serial[0].text
    assert b"product# hello" in (prompt.directory / files.serial_log(0)).read_bytes()


def test_a_simulator_that_hangs_is_told_from_one_that_does_not(prompt: Machine) -> None:
    assert not prompt.hangs()
    os.kill(prompt.pid, signal.SIGSTOP)
    try:
        assert prompt.hangs(0.5)
    finally:
        os.kill(prompt.pid, signal.SIGCONT)
    assert not prompt.hangs()
    prompt.cut_power()
    assert not prompt.hangs()


def test_a_guest_that_resets_and_then_switches_off(prompt: Machine) -> None:
    prompt.serial[0].send("!")
    assert prompt.wait_for_reset(30).by == "guest"
    prompt.serial[0].expect("up$", 30)
    prompt.reset()
    assert prompt.wait_for_reset(30).by == "person"
    prompt.serial[0].expect("up$", 30)
    prompt.serial[0].expect("product# ", 30)
    prompt.serial[0].send(".")
    prompt.wait_until_off(30)
    assert not prompt.is_on
    assert [reset.by for reset in prompt.resets] == ["guest", "person"]
    off = [event for event in prompt.record.all() if event.name == "SHUTDOWN"]
    assert [event.data["reason"] for event in off] == ["guest-shutdown"]
    with pytest.raises(LabError, match="small is off"):
        prompt.press_power_button()
    with pytest.raises(LabError, match="is off"):
        prompt.serial[0].send("x")


def test_the_power_is_cut_and_comes_back(prompt: Machine, tmp_path: Path, images: files.Images) -> None:
    prompt.press_power_button()
    prompt.cut_power()
    assert not prompt.is_on
    with pytest.raises(LabError, match="before the server went off"):
        prompt.serial[0].expect("never", 30)
    stick = tmp_path / "stick.img"
    stick.write_bytes(bytes(1 << 20))
    prompt.plug_usb_stick(stick, "STICK1")
    prompt.insert_disc(images.key)
    prompt.pull_cable(0)
    prompt.power_on()
    prompt.serial[0].expect("up$", 30)
    assert [drive.get("inserted", {}).get("file") for drive in prompt.execute("query-block") if drive["removable"]]
    port = {"path": "/machine/peripheral/stick-STICK1", "property": "port"}
    before = prompt.execute("qom-get", port)
    prompt.unplug_usb_stick("STICK1")
    prompt.plug_usb_stick(stick, "STICK1")
    assert prompt.execute("qom-get", port) == before == "2", "a stick comes back into its own port"
    with pytest.raises(LabError, match="STICK1"):
        prompt.plug_usb_stick(stick, "STICK1")
    with pytest.raises(LabError, match="plugged in are: STICK1"):
        prompt.unplug_usb_stick("STICK2")
    with pytest.raises(LabError, match="has not opened its tray"):
        prompt.take_disc(0.1)
    with pytest.raises(LabError, match=r"nobody has locked the drive after 0\.1 s"):
        prompt.wait_until_drive_is_locked(0.1)
    prompt.eject_disc()
    prompt.plug_cable(0)
    with pytest.raises(LabError, match="no NIC 1"):
        prompt.pull_cable(1)
    with pytest.raises(LabError, match="on already"):
        prompt.power_on()


def test_a_card_in_a_slot_stays_there_over_a_power_cut(tmp_path: Path, images: files.Images) -> None:
    text = _SMALL.replace('"pc"', '"q35"').replace('"ide"', '"sata"').replace("bays", "slots")
    with Machine.create(tmp_path / "machine", server.parse(text, Path("slots.toml")), images) as machine:
        machine.insert_card(0, "02:54:00:00:00:09")
        with pytest.raises(LabError, match="card 02:54:00:00:00:09 is in slot 0"):
            machine.insert_card(0, "02:54:00:00:00:0a")
        with pytest.raises(LabError, match="1 slots, counted from 0: no slot 1"):
            machine.insert_card(1, "02:54:00:00:00:0a")
        for _ in range(2):
            machine.power_on()
            assert machine.execute("qom-get", {"path": "/machine/peripheral/nic1", "property": "netdev"}) == "lan1"
            machine.cut_power()
    with Machine.create(tmp_path / "another", server.parse(text, Path("slots.toml")), images) as machine:
        machine.power_on()
        assert machine.insert_card(0, "02:54:00:00:00:09") == 1, "the number of its NIC"
        assert machine.execute("qom-get", {"path": "/machine/peripheral/nic1", "property": "netdev"}) == "lan1"


def test_a_disk_in_a_bay_stays_there_over_a_power_cut(prompt: Machine, tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(1 << 20))
    prompt.insert_disk(0, disk, "BAY-1")
    with pytest.raises(LabError, match="disk BAY-1 is in bay 0"):
        prompt.insert_disk(0, disk, "BAY-2")
    with pytest.raises(LabError, match="1 bays, counted from 0: no bay 1"):
        prompt.insert_disk(1, disk, "BAY-2")
    prompt.cut_power()
    prompt.power_on()
    assert any(drive.get("qdev") == "bay0" for drive in prompt.execute("query-block"))
    prompt.pull_disk(0)
    assert not any(drive.get("qdev") == "bay0" for drive in prompt.execute("query-block"))
    with pytest.raises(LabError, match="bay 0 is empty; disks are in: none"):
        prompt.pull_disk(0)
    prompt.insert_disk(0, disk, "BAY-2")


def test_keyboard_and_screen(prompt: Machine, tmp_path: Path) -> None:
    before = prompt.screenshot(tmp_path / "before.png").read_bytes()
    prompt.type('aZ1_ $"\\|')
    prompt.press("shift", "slash")
    prompt.serial[0].expect(r'aZ1_ \$"\\\|\?', 30)
    after = prompt.screenshot(tmp_path / "after.png").read_bytes()
    assert before != after
    assert after.startswith((b"\x89PNG", b"P6"))
    with pytest.raises(LabError, match="'ü'"):
        prompt.type("ü")
    with pytest.raises(LabError, match="at most 80"):
        prompt.type(81 * "x")


def test_a_frame_reaches_the_server(prompt: Machine) -> None:
    qemus, ours = prompt.lan(0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer, sockets.address(qemus) as name:
        with sockets.address(ours) as own:
            peer.bind(own)
        peer.sendto(bytes(60), name)


def test_saved_once_and_restored_twice(prompt: Machine, tmp_path: Path) -> None:
    prompt.serial[0].run("first", 30)
    snapshot.save(prompt, tmp_path / "saved")
    prompt.serial[0].run("still here", 30)
    prompt.cut_power()
    for name in ("one", "two"):
        with snapshot.restore(tmp_path / "saved", tmp_path / name) as restored:
            restored.serial[0].run(name, 30)
            assert restored.serial[0].text == f"{name}\nproduct# "
            restored.serial[0].send("!")
            restored.wait_for_reset(30)
            restored.serial[0].expect("up$", 30)
    with pytest.raises(LabError, match="no server was saved there"):
        snapshot.restore(tmp_path, tmp_path / "three")


def test_only_what_the_description_says_is_saved(prompt: Machine, tmp_path: Path) -> None:
    prompt.pull_cable(0)
    with pytest.raises(LabError, match="changed cable"):
        snapshot.save(prompt, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_qemu_says_why_it_does_not_start(machine: Machine) -> None:
    (machine.directory / files.KEY).unlink()
    with pytest.raises(LabError, match=f"QEMU did not start: .*{files.KEY}"):
        machine.power_on()
    assert not machine.is_on


@pytest.mark.parametrize("stays", [False, True])
def test_qemu_dies_with_its_process_unless_it_is_to_stay(
    tmp_path: Path, small: Server, images: files.Images, stays: bool
) -> None:
    place = tmp_path / "machine"
    Machine.create(place, small, images)
    program = (
        "import sys; from pathlib import Path;"
        "from lab.simulator import server; from lab.simulator.machine import Machine;"
        f"place = Path({str(place)!r});"
        f"machine = Machine(place, server.load(place / 'server.toml'), stays={stays});"
        "machine.power_on(); print(machine.pid, flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe, env=environment) as process:
        assert process.stdout is not None
        qemu = os.pidfd_open(int(process.stdout.readline()))
        process.kill()
    try:
        if stays:
            with Once.over(sockets.connect(place / files.QMP)) as person:
                assert person.execute("query-status")["status"] == "running"
            signal.pidfd_send_signal(qemu, signal.SIGKILL)
        assert select.select([qemu], [], [], 30)[0]
    finally:
        os.close(qemu)


def test_a_uefi_server_keeps_its_variables(tmp_path: Path, images: files.Images) -> None:
    uefi = server.parse(_SMALL.replace('"bios"', '"uefi"').replace("= 64", "= 256"), Path("uefi.toml"))
    with Machine.create(tmp_path / "machine", uefi, images) as machine:
        new = (machine.directory / files.VARIABLES).read_bytes()
        machine.power_on()
        machine.serial[0].expect("UEFI|Boot|Shell|EFI", 60)
        machine.cut_power()
        assert (machine.directory / files.VARIABLES).read_bytes() != new


@pytest.mark.parametrize("name", sorted(server.shipped()))
def test_every_server_that_ships_starts(tmp_path: Path, images: files.Images, name: str) -> None:
    with Machine.create(tmp_path / "machine", server.load(server.shipped()[name]), images) as machine:
        machine.power_on()
        blocks = {block["qdev"] for block in machine.execute("query-block") if block.get("qdev")}
        assert any("key" in block for block in blocks)
        assert (machine.directory / files.QEMU_LOG).read_text().replace("topoext", "").count("error") == 0
