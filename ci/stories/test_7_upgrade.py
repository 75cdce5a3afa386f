"""HAL is upgraded under a running product."""

from __future__ import annotations

from lab.plugin import long
from lab.site import Site
from lab.workshop import Workshop


@long
def test_upgrade(running: Site, workshop: Workshop) -> None:
    """Every package of HAL is upgraded with rpm: the product does not notice, and the new manager goes on."""
    host = running.host
    qemu, manager = host.main_pid("hal-qemu"), host.main_pid("hal-vmm")
    uptime = running.product.uptime()
    before = host.installed()
    for rpm in workshop.ingredients.next_release():
        if rpm.name.rsplit("-", 2)[0] in before:
            host.shell.write(f"/run/upgrade-{rpm.name}", rpm.read_bytes())

    host.run("sh", "-c", "exec rpm -U /run/upgrade-*.rpm", seconds=1200)

    after = host.installed()
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] == before[name]] == []
    assert host.wait_for_service("hal-vmm", [manager])
    host.wait_for_state("running")
    assert host.main_pid("hal-qemu") == qemu
    assert running.product.boots() == 1
    assert running.product.uptime() > uptime
    assert host.run("getenforce").strip() == "Enforcing"
    host.run("rpm", "--verify", *after)
    assert host.failed_units() == []
    assert host.denials() == []
