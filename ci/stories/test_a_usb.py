"""What is plugged into the server is plugged into the product."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from factory import distribution
from hal_core.testing import hid
from lab import gadget
from lab.gadget import Function, Gadget
from lab.plugin import long, on
from lab.simulator.server import Server
from lab.site import Site

# A product that is busy with sticks, on one emulated processor beside other servers, is late with its heartbeats.
PATIENT = "[vmm.heartbeat]\ninterval = 60\n"
STICKS = tuple(f"STICK{number}" for number in range(8))
STEPS = 200
TOKEN = Gadget((0x1050, 0x0403), "TOKEN1", (Function((1, 1), 8, hid.KEYBOARD), Function((0, 0), 64, hid.FIDO)))
RECEIVER = Gadget((0x046D, 0xC534), "RECEIVER1", (Function((1, 1), 8, hid.KEYBOARD), Function((1, 2), 4, hid.MOUSE)))
FIRST_PORT = {"direct": "ehci.0 port 1", "numa": "xhci.0 port 1"}  # by server, that is by its product's era


def stick(site: Site) -> Path:
    """A stick with a file system, and a file on it."""
    content = site.server.directory / "content"
    content.mkdir()
    (content / "greeting").write_text("from outside\n")
    image = site.blank("stick", 16)
    subprocess.run(["mkfs.ext4", "-q", "-d", content, image], check=True, timeout=60)
    return image


def sees(site: Site, serial: str, seconds: float = 240.0) -> str:
    """The product's name for a stick, when it sees its disk."""
    found = f'd=$(ls -d /sys/bus/usb/devices/*/ | while read -r u; do [ "$(cat $u/serial 2>/dev/null)" = {serial} ] && '
    found += 'ls -d $u/*:*/host*/target*/*/block/sd* 2>/dev/null; done); [ -n "$d" ]'
    return site.product.ask(f"until {found}; do sleep 0.2; done; basename $d", seconds).strip()


def plugged(site: Site) -> set[str]:
    """The serial numbers of the sticks that the product sees."""
    return set(site.product.ask("cat /sys/bus/usb/devices/*/serial 2>/dev/null").split()) & set(STICKS)


def wait_until_the_product_has(site: Site, serials: set[str], seconds: float = 300.0) -> None:
    wanted = " ".join(sorted(serials))
    look = "cat /sys/bus/usb/devices/*/serial 2>/dev/null | grep ^STICK | sort | xargs echo"
    site.product.ask(f'until [ "$({look})" = "{wanted}" ]; do sleep 0.3; done', seconds)


@long
@on("direct", "numa")
def test_usb_stick(running: Site, description: Server) -> None:
    """A stick is plugged into the server: the product mounts, reads and writes it, not the host; so does the next."""
    running.host.configure(PATIENT)
    before = running.host.run("lsblk", "--noheadings", "--output", "NAME")
    image = stick(running)
    running.server.plug_usb_stick(image, "STICK1")

    disk = sees(running, "STICK1")
    assert running.product.ask(f"mount /dev/{disk} /mnt && cat /mnt/greeting").strip() == "from outside"
    running.product.ask("cp /etc/product/release /mnt/release && umount /mnt")
    (told,) = (one for one in running.host.udev()["devices"] if one["serial"] == "STICK1")
    assert (told["state"], told["place"]) == ("attached", FIRST_PORT[description.name])
    assert running.host.run("lsblk", "--noheadings", "--output", "NAME") == before, "the host has it, too"

    running.server.unplug_usb_stick("STICK1")
    wait_until_the_product_has(running, set())
    running.server.plug_usb_stick(image, "STICK1")
    disk = sees(running, "STICK1")
    release = running.product.ask("cat /etc/product/release")
    assert running.product.ask(f"mount /dev/{disk} /mnt && cat /mnt/release") == release
    running.product.ask("umount /mnt")
    (told,) = (one for one in running.host.udev()["devices"] if one["serial"] == "STICK1")
    assert told["place"] == FIRST_PORT[description.name], (
        "a port of the server's is always the same one of the product's"
    )
    assert running.product.boots() == 1

    # QEMU is killed: the next one has the stick, long before its product is there to look.
    qemu = running.host.main_pid("hal-qemu")
    running.host.run("systemctl", "kill", "--signal=KILL", "hal-qemu")
    running.host.wait_for_service("hal-qemu", [qemu])
    running.host.wait_for_usb_devices(1)
    assert running.host.failed_units() == []
    assert running.host.denials() == []


@on("direct")
def test_usb_adapter(running: Site) -> None:
    """A device of full speed, which is a companion's business behind EHCI: a serial adapter."""
    running.host.configure(PATIENT)
    null = {"id": "adapter", "backend": {"type": "null", "data": {}}}
    running.server.execute("chardev-add", null)
    adapter = {"driver": "usb-serial", "id": "adapter", "chardev": "adapter", "always-plugged": True}
    running.server.execute("device_add", {**adapter, "serial": "ADAPTER1", "bus": "xhci.0", "port": "2"})

    look = "d=$(grep -lx ADAPTER1 /sys/bus/usb/devices/*/serial 2>/dev/null)"
    running.product.ask(f"until {look}; do sleep 0.3; done; cd ${{d%/serial}}", 240)
    assert running.product.ask("cat idVendor idProduct speed").split() == ["0403", "6001", "12"]
    (told,) = (one for one in running.host.udev()["devices"] if one["serial"] == "ADAPTER1")
    assert (told["state"], told["place"]) == ("attached", FIRST_PORT["direct"])

    running.server.execute("device_del", {"id": "adapter"})
    running.product.ask(f"cd /; while {look}; do sleep 0.3; done", 240)
    assert running.host.failed_units() == []
    assert running.host.denials() == []


@on("direct")
def test_usb_token(running: Site) -> None:
    """A security token that types is the product's, and stays so; a keyboard's receiver stays with the host."""
    host = running.host
    host.configure(PATIENT)
    if not distribution.is_debian() and host.shell.ask("modinfo", *gadget.MODULES)[0]:
        pytest.skip("Enterprise Linux's kernel plays no USB devices: it has no dummy_hcd; Debian's has to have it")
    host.shell.run("sh", input=gadget.controllers())
    host.shell.run("sh", input=gadget.plug(TOKEN, 0))
    host.shell.run("sh", input=gadget.plug(RECEIVER, 1))

    look = "d=$(grep -lx TOKEN1 /sys/bus/usb/devices/*/serial 2>/dev/null)"
    running.product.ask(f"until {look}; do sleep 0.3; done; cd ${{d%/serial}}", 240)
    ids = running.product.ask("cat idVendor idProduct devnum").split()
    assert ids[:2] == ["1050", "0403"]
    told = {one["serial"]: one for one in host.udev()["devices"]}
    assert told["TOKEN1"]["state"] == "attached"
    assert told["TOKEN1"]["rule"] == "built in: a security token (FIDO), no keyboard though it types"
    assert (told["RECEIVER1"]["state"], told["RECEIVER1"]["rule"]) == ("kept", "built in: the keyboard of hal-console")
    interfaces = host.run("sh", "-c", "basename -a $(readlink -f /sys/bus/usb/drivers/usbhid/*:*)").split()
    assert [name.partition(":")[0] for name in interfaces] == [told["RECEIVER1"]["port"]] * 2

    # The next hal-udev cannot ask the token any more: QEMU has it.
    before = host.main_pid("hal-udev")
    host.run("kill", "-KILL", str(before))
    host.wait_for_service("hal-udev", [before])
    host.run("hal", "udev", "apply", seconds=120)
    assert {one["serial"]: one["state"] for one in host.udev()["devices"]}["TOKEN1"] == "attached"
    assert running.product.ask("cat idVendor idProduct devnum").split() == ids, "it has never been away"

    host.run("sh", "-c", gadget.pull(0))
    running.product.ask(f"cd /; while {look}; do sleep 0.3; done", 240)
    assert host.failed_units() == []
    assert host.denials() == []


@long
@on("direct")
def test_usb_any_order(running: Site) -> None:
    """Sticks are plugged in and pulled out at random, hal-udev is killed: the product ends with what is plugged in."""
    running.host.configure(PATIENT)
    running.product.ask("dmesg -n 1")  # what a stick leaves undone when it is pulled out, in the middle of commands
    images = {serial: running.blank(serial, 1) for serial in STICKS}
    moments = random.Random(running.server.server.name)
    here: set[str] = set()
    killed: list[int] = []
    for what in moments.choices(("plug or pull", "replug", "kill", "settle"), (24, 8, 1, 1), k=STEPS):
        serial = moments.choice(STICKS)
        if what == "kill":
            killed.append(running.host.wait_for_service("hal-udev", killed))
            running.host.run("kill", "-KILL", str(killed[-1]))
        elif what == "settle":
            wait_until_the_product_has(running, here)
        else:
            if serial in here:
                running.server.unplug_usb_stick(serial)
            if serial not in here or what == "replug":
                running.server.plug_usb_stick(images[serial], serial)
                here.add(serial)
            else:
                here.remove(serial)

    running.host.wait_for_service("hal-udev", killed)
    wait_until_the_product_has(running, here)
    assert plugged(running) == here
    told = {one["serial"]: one["state"] for one in running.host.udev()["devices"]}
    assert {serial for serial, state in told.items() if state == "attached"} == here
    assert told[running.server.server.key_serial] == "kept"
    assert running.product.boots() == 1
    assert running.host.denials() == []
