"""The types of all files that HAL's packages install or make."""

from __future__ import annotations

from typing import Callable

import pytest

pytestmark = pytest.mark.component

LABELS = [
    # installed (docs/architecture.md, "What is installed where")
    ("/usr/bin/hal-qemu-launch", "file", "hal_qemu_launch_exec_t"),
    ("/usr/bin/hal-vmm", "file", "hal_vmm_exec_t"),
    ("/usr/bin/hal-netcfg", "file", "hal_netcfg_exec_t"),
    ("/usr/bin/hal-udev", "file", "hal_udev_exec_t"),
    ("/usr/bin/hal-console", "file", "hal_console_exec_t"),
    ("/usr/sbin/nft", "file", "iptables_exec_t"),  # which hal-netcfg runs
    ("/usr/bin/hal", "file", "bin_t"),
    ("/usr/bin/hal-facts", "file", "bin_t"),
    ("/usr/libexec/hal/hal-something", "file", "bin_t"),
    ("/usr/lib/udev/hal-own-disk", "file", "bin_t"),
    ("/usr/lib/udev/rules.d/60-hal-hands-off.rules", "file", "udev_rules_t"),
    ("/usr/lib/hal/hal.toml", "file", "lib_t"),
    ("/usr/lib/hal/ports.d", "dir", "lib_t"),
    ("/usr/share/hal/lvmlocal.conf", "file", "usr_t"),
    ("/usr/lib/systemd/system/hal.target", "file", "hal_unit_file_t"),
    ("/usr/lib/systemd/system/hal-qemu.service", "file", "hal_unit_file_t"),
    ("/usr/lib/systemd/system/hal-qemu-plan.service", "file", "hal_unit_file_t"),
    ("/usr/lib/systemd/system/hal-qemu-replan.path", "file", "hal_unit_file_t"),
    ("/usr/lib/systemd/system/hal-netcfg-unmanaged.path", "file", "hal_unit_file_t"),
    ("/usr/lib/systemd/system/hal-vmm.service", "file", "hal_unit_file_t"),
    ("/usr/lib/systemd/system/hal-netcfg.service", "file", "hal_unit_file_t"),
    ("/usr/lib/systemd/system/hal-console.service", "file", "hal_unit_file_t"),
    ("/etc/systemd/system/hal-vmm.service", "file", "hal_unit_file_t"),  # an administrator's own
    ("/usr/lib/tmpfiles.d/hal-vmm.conf", "file", "lib_t"),
    ("/usr/share/man/man8/hal_selinux.8.gz", "file", "man_t"),
    # configuration
    ("/etc/hal", "dir", "hal_etc_t"),
    ("/etc/hal/hal.toml", "file", "hal_etc_t"),
    ("/etc/hal/hal.toml.d", "dir", "hal_etc_t"),
    ("/etc/hal/hal.toml.d/50-vendor.toml", "file", "hal_etc_t"),
    ("/etc/hal/ports.d/vendor.toml", "file", "hal_etc_t"),
    # what ends with a boot
    ("/run/hal", "dir", "hal_var_run_t"),
    ("/run/hal/qemu.json", "file", "hal_var_run_t"),
    ("/run/hal/plan.json", "file", "hal_var_run_t"),
    ("/run/hal/vmm", "dir", "hal_var_run_t"),
    ("/run/hal/vmm/state.json", "file", "hal_var_run_t"),
    ("/run/hal/vmm/stopped", "file", "hal_var_run_t"),
    ("/run/hal/qemu.lock", "file", "hal_qemu_lock_t"),
    ("/run/hal/qmp", "dir", "hal_qmp_t"),
    ("/run/hal/qmp/manager", "sock", "hal_qmp_t"),
    ("/run/hal/agent.sock", "sock", "hal_channel_t"),
    ("/run/hal/heartbeat.sock", "sock", "hal_channel_t"),
    ("/run/hal/events", "dir", "hal_events_t"),
    ("/run/hal/events/qmp.in", "pipe", "hal_events_t"),
    ("/run/hal/events/qmp.out", "file", "hal_events_t"),
    ("/run/hal/boot", "dir", "hal_boot_t"),
    ("/run/hal/boot/kernel", "file", "hal_boot_t"),
    ("/run/hal/netcfg/status.json", "file", "hal_var_run_t"),
    ("/run/hal/console/status.json", "file", "hal_var_run_t"),
    ("/run/hal/events/com1.log", "file", "hal_events_t"),
    ("/dev/tty1", "chr_file", "tty_device_t"),  # the product's screen
    ("/dev/fb0", "chr_file", "framebuf_device_t"),
    ("/dev/tap7", "chr_file", "tun_tap_device_t"),  # a macvtap, which the launcher opens
    # what outlives it
    ("/var/lib/hal", "dir", "hal_var_lib_t"),
    ("/var/lib/hal/vmm", "dir", "hal_var_lib_t"),
    ("/var/lib/hal/vmm/hardware.json", "file", "hal_var_lib_t"),
    ("/var/lib/hal/vmm/last-exit.json", "file", "hal_var_lib_t"),
    ("/var/lib/hal/vmm/dumps", "dir", "hal_dump_t"),
    ("/var/lib/hal/inbox", "dir", "hal_inbox_t"),
    ("/var/lib/hal/inbox/licence.tar", "file", "hal_inbox_t"),
    ("/etc/hal/keys", "dir", "hal_key_t"),
    ("/etc/hal/keys/host", "file", "hal_key_t"),
    ("/var/lib/hal/vmm/dumps/dump-20261122T120000Z.kdump", "file", "hal_dump_t"),
    ("/var/lib/hal/images", "dir", "hal_image_t"),
    ("/var/lib/hal/images/first.img", "file", "hal_image_t"),
    ("/var/lib/hal/boot/vmlinuz", "file", "hal_boot_t"),
]

# Names that look like HAL's: systemd's, and those of another HAL, to which Fedora's policy gives types to this day.
NOT_OURS = [
    "/usr/lib/systemd/system/halt.target",
    "/usr/lib/systemd/system/systemd-halt.service",
    "/media/.hal-mtab",
    "/usr/libexec/hal-podsleuth",
    "/usr/share/hal/scripts/something",
    "/etc/.fstab.hal.x",
    "/var/lib/hald",
    "/usr/bin/hal-vmm-of-somebody-else",
]

EQUIVALENCES = ["/run /var/run", "/var/run /run"]  # EL9; EL10 and Fedora


@pytest.mark.parametrize(("path", "kind", "wanted"), LABELS, ids=[row[0] for row in LABELS])
def test_label(label: Callable[..., str], path: str, kind: str, wanted: str) -> None:
    assert label(path, kind) == wanted


@pytest.mark.parametrize("equivalence", EQUIVALENCES)
@pytest.mark.parametrize(("path", "kind", "wanted"), [row for row in LABELS if row[0].startswith("/run/")])
def test_label_whichever_way_round_run_is_looked_up(
    label: Callable[..., str], path: str, kind: str, wanted: str, equivalence: str
) -> None:
    assert label(path, kind, equivalence) == wanted
    assert label(f"/var{path}", kind, equivalence) == wanted


@pytest.mark.parametrize("path", NOT_OURS)
def test_label_of_what_is_not_ours(label: Callable[..., str], path: str) -> None:
    assert not label(path, "file").startswith("hal_")
