"""A product that has broken out of its virtual machine is still in QEMU's prison."""

from __future__ import annotations

import re

from lab.site import Site

# What every program may open: nothing comes of it. And KVM, which QEMU opens by itself before version 8.2.
_HARMLESS = {"/dev/full", "/dev/kvm", "/dev/null", "/dev/ptmx", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero"}
_FILES = (
    "/boot/vmlinuz",
    "/etc/hal/hal.toml.d/50-lab.toml",
    "/etc/shadow",
    "/proc/1/environ",
    "/proc/kcore",
    "/root/.bash_history",
    "/run/hal/plan.json",
    "/run/hal/qemu.json",
    "/usr/bin/hal-vmm",
    "/var/lib/hal/vmm/hardware.json",
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/log/journal",
)
_SOCKETS = ("/run/dbus/system_bus_socket", "/run/systemd/private", "/run/systemd/journal/stdout", "/run/hal/qmp/cli")
# By SELinux or permissions; by systemd's DevicePolicy=; by its RestrictAddressFamilies=.
_DENIED = re.compile("Permission denied|Operation not permitted|Address family not supported")


def test_qemu_is_nobody(running: Site) -> None:
    """QEMU runs as the user hal-qemu in hal_qemu_t, without any capability, and with a system call filter."""
    host = running.host
    pid = str(host.main_pid("hal-qemu"))
    status = dict(line.split(":\t", 1) for line in host.run("cat", f"/proc/{pid}/status").splitlines())
    user = host.run("id", "-u", "hal-qemu").strip()

    assert status["Uid"].split() == [user] * 4
    assert user != "0"
    assert host.run("cat", f"/proc/{pid}/attr/current").strip("\0\n") == "system_u:system_r:hal_qemu_t:s0"
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_qemu_holds_the_products_devices_only(running: Site) -> None:
    """What QEMU has open is what the launcher has opened for it: no disk of HAL's, no file of the host's."""
    host = running.host
    pid = str(host.main_pid("hal-qemu"))
    opened = set(host.run("find", f"/proc/{pid}/fd", "-type", "l", "-printf", "%l\n").split("\n")) - {""}
    key = host.run("findmnt", "--noheadings", "--output=SOURCE", "/").strip()
    disk = re.sub(r"p?\d+$", "", key)

    assert not {key, disk} & opened
    paths = {path for path in opened if path.startswith("/")}
    expected = re.compile(
        r"/dev/(kvm|null|net/tun|vhost-net|ttyS\d+|sd[a-z]+|sr\d+)|/run/hal/(qemu\.lock|events/\S+)|/memfd:\S+"
    )
    assert [path for path in sorted(paths) if not expected.fullmatch(path)] == []


def test_qemu_cannot_open_anything(running: Site) -> None:
    """Told over QMP to open devices, the host's files, sockets and the network by itself, QEMU is not able to."""
    host = running.host
    nodes = host.run("find", "/dev", "-xdev", "(", "-type", "b", "-o", "-type", "c", ")").split()
    paths = [path for path in [*sorted(nodes), *_FILES] if path not in _HARMLESS]
    attempts = {f"reading {path}": _opening(path, read_only=True) for path in paths}
    attempts |= {f"writing {path}": _opening(path, read_only=False) for path in paths}
    attempts |= {f"connecting to {path}": _connecting({"type": "unix", "path": path}) for path in _SOCKETS}
    attempts |= {
        f"connecting to {address}": _connecting({"type": "inet", "host": address, "port": "22"})
        for address in ("127.0.0.1", "10.77.0.1")
    }
    attempts["a tap of its own"] = ("netdev_add", {"type": "tap", "id": "try", "ifname": "haltry0"})

    answers = dict(zip(attempts, host.qmp_each(list(attempts.values()))))

    assert len(answers) > 100
    assert {what: answer for what, answer in answers.items() if not _DENIED.search(answer)} == {}
    assert any("tun_tap_device_t" in denial for denial in host.denials()), "/dev/net/tun is open to all but for SELinux"
    assert host.wait_for_service("hal-qemu"), "QEMU is not there any more"


def _opening(path: str, read_only: bool) -> tuple[str, dict[str, object]]:
    file = {"driver": "file", "filename": path}
    return "blockdev-add", {"driver": "raw", "node-name": "try", "read-only": read_only, "file": file}


def _connecting(address: dict[str, str]) -> tuple[str, dict[str, object]]:
    data = {"type": address.pop("type"), "data": address}
    return "chardev-add", {"id": "try", "backend": {"type": "socket", "data": {"addr": data, "server": False}}}
