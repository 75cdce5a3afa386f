"""What the product does with its own power, the server does."""

from __future__ import annotations

from lab.plugin import long
from lab.site import Site
from lab.workshop import BOOT


@long
def test_reboot(running: Site) -> None:
    """The product reboots: the server really resets, and everything comes back."""
    running.product.tell("reboot")

    assert running.server.wait_for_reset(120).by == "guest"
    running.product.wait_until_ready(BOOT)
    assert running.product.boots() == 2
    running.host.shell.wait_until_up(60)
    assert running.host.last_exit() == ("guest-reset", "host reboots")
    assert running.host.denials() == []


@long
def test_power_off(running: Site) -> None:
    """The product switches itself off: the server is off, and its next start is a normal one."""
    running.product.tell("poweroff")

    running.server.wait_until_off(120)
    running.server.power_on()
    running.product.wait_until_ready(BOOT)
    assert running.product.boots() == 2
    assert running.host.last_exit() == ("guest-shutdown", "host powers off")


def test_power_button(running: Site) -> None:
    """Somebody presses the server's button: the product shuts down in order, and the server is off."""
    running.server.press_power_button()

    running.product.console.expect("The system is going down", 60)
    running.server.wait_until_off(180)


def test_panic(running: Site) -> None:
    """The product panics: its memory is kept, it is started again, and the host stays up."""
    host_boot = running.host.run("cat", "/proc/sys/kernel/random/boot_id")
    running.product.tell("crash")

    running.product.wait_until_ready()
    assert running.product.boots() == 2
    assert running.host.last_exit() == ("guest-panic", "memory dump, then restart")
    dumps = running.host.run("find", "/var/lib/hal/vmm/dumps", "-type", "f", "-size", "+1M").split()
    assert len(dumps) == 1, "no memory dump of a size that could be one"
    said = running.host.run("cat", f"{dumps[0]}.com1.log")
    assert "PRODUCT ready" in said
    assert "Kernel panic - not syncing: sysrq triggered crash" in said, "its last words are not beside the dump"
    assert running.host.run("cat", "/proc/sys/kernel/random/boot_id") == host_boot
    assert running.server.resets == ()
    assert running.host.denials() == []
