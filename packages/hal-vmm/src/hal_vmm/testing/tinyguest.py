"""A product in one boot sector: real QEMU, real BIOS, real reboot, power-off and panic, in a tenth of a second.

It writes ``hal-beat 1`` to COM2 (or another port) about nine times a second, and obeys single letters on COM1:

=====  ============================================================================================================
``r``  reboots (keyboard controller, port 0x64)
``p``  powers off (ACPI PM1a control of q35, port 0x604, S5)
``c``  crashes: tells the pvpanic device (port 0x505; QEMU's docs/specs/pvpanic)
``h``  hangs: interrupts off, halted
``g``  floods the heartbeat port with garbage, for ever
=====  ============================================================================================================
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Union

from hal_vmm.launch.launchplan import FIRST_FD, VERSION, LaunchPlan, Listener, Node
from hal_vmm.plan.pin import Pin

IMAGE_BYTES = 1 << 20  # SeaBIOS boots from nothing smaller
COM2, COM4 = 0x2F8, 0x2E8
_ORIGIN = 0x7C00

# For a host in a container: this image is all that the product gets. Disks, ports and NICs are the machine's own.
IMAGE = "/var/lib/hal/images/product.img"
HAL_TOML = f"""
[vmm]
accel = "tcg"
[vmm.memory]
guest_mib = 256
[vmm.devices]
keep_disks = ["*"]
keep_nics = ["*"]
serial = []
nic_backend = "unplugged"
disk_files = ["{IMAGE}"]
[vmm.stop]
agent = 0
acpi = 3
"""

# bytes stand for themselves; a (jump opcode, label) for a short jump; a str for a label.
_Code = Union[bytes, tuple[bytes, str], str]
_JMP, _JZ, _JNZ = b"\xeb", b"\x74", b"\x75"

_PROGRAM: list[_Code] = [
    b"\x31\xc0\x8e\xd8\xfb",  # xor ax,ax; mov ds,ax; sti
    "beat",
    b"\xbeTX",  # mov si,text (TX, SS and PP are filled in by boot_sector)
    "next",
    b"\xbaSS\xec\xa8\x20",  # mov dx,beat port + 5; in al,dx; test al,0x20 (transmitter empty, 16550 LSR)
    (_JZ, "next"),
    b"\xac\x84\xc0",  # lodsb; test al,al
    (_JZ, "rest"),
    b"\xbaPP\xee",  # mov dx,beat port; out dx,al
    (_JMP, "next"),
    "rest",
    b"\x8b\x1e\x6c\x04\x83\xc3\x02",  # mov bx,[0x46c]; add bx,2 (BIOS ticks, 55 ms each)
    "idle",
    b"\xf4",  # hlt
    b"\xba\xfd\x03\xec\xa8\x01",  # mov dx,0x3fd; in al,dx; test al,1 (a byte has come)
    (_JZ, "tick"),
    b"\xba\xf8\x03\xec",  # mov dx,0x3f8; in al,dx
    b"\x3cr",
    (_JZ, "reboot"),
    b"\x3cp",
    (_JZ, "poweroff"),
    b"\x3cc",
    (_JZ, "crash"),
    b"\x3cg",
    (_JZ, "flood"),
    b"\x3ch",
    (_JZ, "hang"),
    "tick",
    b"\x3b\x1e\x6c\x04",  # cmp bx,[0x46c]
    (_JNZ, "idle"),
    (_JMP, "beat"),
    "reboot",
    b"\xb0\xfe\xe6\x64",  # mov al,0xfe; out 0x64,al
    (_JMP, "hang"),
    "poweroff",
    b"\xba\x04\x06\xb8\x00\x20\xef",  # mov dx,0x604; mov ax,0x2000; out dx,ax
    (_JMP, "hang"),
    "crash",
    b"\xba\x05\x05\xb0\x01\xee",  # mov dx,0x505; mov al,1; out dx,al
    "hang",
    b"\xfa\xf4",  # cli; hlt
    (_JMP, "hang"),
    "flood",
    b"\xbaPP\xb0X\xee",  # mov dx,beat port; mov al,'X'; out dx,al
    (_JMP, "flood"),
    "text",
    b"hal-beat 1\n\0",
]


def boot_sector(beat_port: int = COM2) -> bytes:
    """The 512 bytes.

    :param beat_port: I/O address of the serial port that heartbeats go to.
    """
    offsets: dict[str, int] = {}
    position = 0
    for item in _PROGRAM:
        if isinstance(item, str):
            offsets[item] = position
        else:
            position += 2 if isinstance(item, tuple) else len(item)
    code = b""
    for item in _PROGRAM:
        if isinstance(item, tuple):
            code += item[0] + (offsets[item[1]] - len(code) - 2).to_bytes(1, "little", signed=True)
        elif isinstance(item, bytes):
            code += item
    for blank, number in ((b"\xbeTX", _ORIGIN + offsets["text"]), (b"\xbaSS", beat_port + 5), (b"\xbaPP", beat_port)):
        code = code.replace(blank, blank[:1] + number.to_bytes(2, "little"))
    return code.ljust(510, b"\0") + b"\x55\xaa"


def write_image(path: Path, beat_port: int = COM2) -> None:
    path.write_bytes(boot_sector(beat_port).ljust(IMAGE_BYTES, b"\0"))


def find_qemu() -> str:
    """The installed QEMU; "" if there is none."""
    return shutil.which("qemu-kvm", path="/usr/libexec") or shutil.which("qemu-system-x86_64") or ""


def launch_plan(run_dir: Path, image: Path, qemu: str = "", extra: tuple[str, ...] = ()) -> LaunchPlan:
    """The smallest plan that has everything the guest manager needs; COM1 is ``<run>/console.sock``."""
    sockets = {"manager": "qmp/manager", "cli": "qmp/cli", "console": "console.sock", "heartbeat": "heartbeat.sock"}
    listeners = tuple(
        Listener(FIRST_FD + 1 + index, str(run_dir / path)) for index, path in enumerate(sockets.values())
    )
    fds = {name: listener.fd for name, listener in zip(sockets, listeners)}
    binary = qemu or find_qemu()
    chardev = "socket,id={0},fd={1},server=on,wait=off"
    options: list[tuple[str, str]] = [
        ("-name", "hal,debug-threads=on"),
        ("-machine", "q35,accel=tcg,vmport=off"),
        ("-m", "32"),
        ("-display", "none"),
        ("-vga", "none"),
        ("-action", "reboot=shutdown,shutdown=pause,panic=pause,watchdog=pause"),
        ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        ("-add-fd", f"fd={FIRST_FD},set=1,opaque=disk"),
        ("-blockdev", "driver=file,node-name=disk,filename=/dev/fdset/1"),
        ("-device", "virtio-blk-pci,drive=disk"),
        ("-device", "pvpanic"),
        ("-chardev", chardev.format("console", fds["console"])),
        ("-device", "isa-serial,chardev=console,index=0"),
        ("-chardev", chardev.format("heartbeat", fds["heartbeat"])),
        ("-device", "isa-serial,chardev=heartbeat,index=1"),
        ("-chardev", f"pipe,id=journal,path={run_dir}/events/qmp"),
        ("-mon", "chardev=journal,mode=control"),
    ]
    for name in ("manager", "cli"):
        options += [("-chardev", chardev.format(name, fds[name])), ("-mon", f"chardev={name},mode=control")]
    argv = (binary, "-nodefaults", "-no-user-config", "-S", *(word for option in options for word in option), *extra)
    return LaunchPlan(
        version=VERSION,
        qemu=binary,
        argv=argv,
        user="",
        groups=(),
        nodes=(Node(FIRST_FD, str(image), "file", "rw", "disk image"),),
        taps=(),
        listeners=listeners,
        journal=str(run_dir / "events" / "qmp"),
        emulator_cpus=(),
        pinning=(Pin(0, 0),),
        memlock=None,
    )
