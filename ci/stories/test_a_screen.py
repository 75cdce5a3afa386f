"""The server's screen and keyboard are the product's: what a camera in front of the server would see."""

from __future__ import annotations

from lab.halhost import Host
from lab.plugin import on
from lab.site import Site

# Its boot loader; what it says is still there when the product is.
_STARTING = r"(?s)\A(?!.*PRODUCT ready).*Loading product"
# Whose screen and keyboard tty1's are, and whether somebody is asked before another terminal comes to the front:
# KDGETMODE, KDGKBMODE and VT_GETMODE (linux/kd.h, linux/vt.h).
_TERMINAL = """
import fcntl, os
terminal = os.open("/dev/tty1", os.O_RDONLY | os.O_NOCTTY)
for request, words in (
    (0x4B3B, ("text", "graphics")),
    (0x4B44, ("raw", "characters", "key codes", "characters", "off")),
    (0x5601, ("auto", "process")),
):
    print(words[fcntl.ioctl(terminal, request, bytes(8))[0]], end=" ")
"""
_TAKEN, _AS_A_GETTY_WANTS_IT = "graphics key codes process", "text characters auto"
_NOT_STARTED_AGAIN = "/run/systemd/system/hal-console.service.d"
_STORY_TOML = "/etc/hal/hal.toml.d/90-story.toml"
_ATTACH = """
import os, pty, select, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("hal", ["hal", "console", *sys.argv[1].split()])
said, typed, until = b"", False, time.monotonic() + 90
while time.monotonic() < until and sys.argv[3].encode() not in said:
    if select.select([terminal], [], [], 1)[0]:
        said += os.read(terminal, 65536)
    if not typed and sys.argv[2].encode() in said:
        os.write(terminal, sys.argv[4].encode() + b"\\r")
        typed = True
os.write(terminal, b"\\x1d")
os.waitpid(pid, 0)
print(said.decode(errors="replace"))
"""


def test_screen(running: Site) -> None:
    """The product's text is on the server's screen, and what is typed at its keyboard reaches the product."""
    host = running.host
    first = host.wait_for_service("hal-console")
    running.wait_for_prompt()
    running.type("echo Up_AND_down | tr _ ' '\n")
    running.wait_for_screen("^Up AND down$")

    # Killed: the next one shows the product again.
    host.run("systemctl", "kill", "--signal=KILL", "hal-console")
    host.wait_for_service("hal-console", [first])
    running.wait_for_screen("^Up AND down$")
    running.type("echo $((6 * 7))\n")
    running.wait_for_screen("^42$")

    _leaves_a_terminal(running)

    # Without a disk the product stays in its firmware, however long that takes to be seen.
    host.run("hal", "vmm", "stop", seconds=240)
    running.wait_for_screen("The product has been stopped.", 60)
    disks = ", ".join(f'"{disk.serial}"' for disk in running.server.server.disks)
    host.shell.write(_STORY_TOML, f"[vmm.devices]\nkeep_disks = [{disks}]\n")
    _start(host)
    running.wait_for_screen("^SeaBIOS ", 120)

    # It has its disks again: boot loader, and the product.
    host.run("hal", "vmm", "stop", "--force", seconds=120)
    host.run("rm", _STORY_TOML)
    _start(host)
    running.wait_for_screen(_STARTING, 120)
    running.product.wait_until_ready()
    running.wait_for_prompt()
    assert host.failed_units() == []
    assert host.denials() == []


def _leaves_a_terminal(site: Site) -> None:
    """Stopped, and killed with nobody to start it again, hal-console leaves tty1 as a getty wants it."""
    host = site.host
    assert _terminal(host) == _TAKEN
    host.run("systemctl", "stop", "hal-console", seconds=120)
    assert _terminal(host) == _AS_A_GETTY_WANTS_IT

    host.run("mkdir", _NOT_STARTED_AGAIN)
    host.shell.write(f"{_NOT_STARTED_AGAIN}/story.conf", "[Service]\nRestart=no\n")
    _start_console(site)
    assert _terminal(host) == _TAKEN
    host.run("systemctl", "kill", "--signal=KILL", "hal-console")
    host.wait_until("systemctl", "is-failed", "--quiet", "hal-console")
    assert _terminal(host) == _AS_A_GETTY_WANTS_IT

    host.run("rm", "-r", _NOT_STARTED_AGAIN)
    _start_console(site)


def _terminal(host: Host) -> str:
    return host.run("python3", "-Ic", _TERMINAL).strip()


def _start_console(site: Site) -> None:
    site.host.run("systemctl", "daemon-reload", seconds=120)
    site.host.run("systemctl", "start", "hal-console", seconds=120)
    site.wait_for_prompt()


def _start(host: Host) -> None:
    """The product, with another hal.toml."""
    host.run("hal", "vmm", "apply", seconds=180)
    host.run("hal", "vmm", "start")


@on("old-box")
def test_text_installer(running: Site) -> None:
    """An installer's menu and form on the server's screen, in text mode and in a graphics mode."""
    product = running.product
    running.wait_for_prompt()
    assert product.ask("ls /sys/class/graphics").split() == ["fbcon"], "text mode: nobody draws"
    _set_up(running, "Upstairs")

    running.type("modprobe bochs\n")  # its driver for QEMU's display
    product.ask("until [ -e /sys/class/graphics/fb0 ]; do sleep 0.3; done")
    _set_up(running, "Downstairs")
    assert product.boots() == 1
    assert running.host.failed_units() == []
    assert running.host.denials() == []


def _set_up(site: Site, place: str) -> None:
    """Answer what the product's installer asks."""
    site.wait_for_prompt()
    site.type("setup\n")
    site.wait_for_screen("Which disk is it to be installed on")
    site.server.press("ret")
    site.wait_for_screen("What is this place called")
    for number, letter in enumerate(place, 1):
        site.server.type(letter)
        site.wait_for_screen(f"[|│] {place[:number]}[ _]")
    site.server.press("ret")
    site.wait_for_screen(f"Installed on sda, for {place}")
    assert site.product.ask("cat /var/setup") == f"sda {place}"
    site.server.press("ret")
    site.wait_for_prompt()


def test_remote_hands(running: Site) -> None:
    """The product's screen and serial port in another terminal, and where there is no framebuffer."""
    host, server = running.host, running.server
    running.wait_for_prompt()
    screen = host.run(
        "python3", "-Ic", _ATTACH, "--attach", "product#", "from afar", "echo from_afar | tr _ ' '", seconds=120
    )
    assert "from afar" in screen
    running.wait_for_screen("^from afar$")
    port = host.run(
        "python3",
        "-Ic",
        _ATTACH,
        "attach --serial com1",
        "product#",
        "by cable",
        "echo by_cable | tr _ ' '",
        seconds=120,
    )
    assert "by cable" in port
    running.product.console.expect("by cable", 60)

    host.shell.write("/etc/hal/hal.toml.d/90-story.toml", '[console]\nframebuffer = "/dev/fb7"\nescape = true\n')
    host.run("systemctl", "restart", "hal-console", seconds=120)
    running.wait_for_screen("from afar")
    running.type("echo text_alone | tr _ ' '\n")
    running.wait_for_screen("text alone")
    server.press("ctrl", "alt", "shift", "f3")
    host.wait_until("sh", "-c", "hal console status --json | grep -q 'another terminal'")
    server.press("ctrl", "alt", "f1")
    running.wait_for_screen("text alone")
    assert host.failed_units() == []
    assert host.denials() == []
