"""What the linked policy allows, and what it does not: two tables, and some complete lists.

Each row: who, whose, class, permissions, and why. Attributes are expanded, conditions count as allowed.
"""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.component

INHERITED = "getattr ioctl read write"

ALLOWED = [
    # domains and how they are entered
    ("init_t", "hal_qemu_launch_t", "process", "transition rlimitinh", "hal-qemu.service"),
    ("init_t", "hal_qemu_launch_t", "process2", "nnp_transition nosuid_transition", "… with NoNewPrivileges="),
    ("init_t", "hal_vmm_t", "process2", "nnp_transition", "hal-vmm.service"),
    ("init_t", "hal_vmm_plan_t", "process2", "nnp_transition", "hal-qemu-plan.service"),
    ("init_t", "hal_netcfg_t", "process2", "nnp_transition", "hal-netcfg.service"),
    ("init_t", "hal_udev_t", "process2", "nnp_transition", "hal-udev.service"),
    ("init_t", "hal_console_t", "process2", "nnp_transition", "hal-console.service"),
    ("hal_qemu_launch_t", "hal_qemu_t", "process", "transition rlimitinh", "the launcher becomes QEMU"),
    ("hal_qemu_launch_t", "hal_qemu_t", "process2", "nnp_transition", "… with NoNewPrivileges="),
    ("hal_qemu_launch_t", "qemu_exec_t", "file", "execute read open map", "… by exec"),
    ("hal_vmm_plan_t", "hal_qemu_probe_t", "process2", "nnp_transition", "asks a QEMU what it can do"),
    ("hal_vmm_plan_t", "hal_qemu_probe_t", "process", "transition sigkill", "… and ends one that hangs"),
    # QEMU: what the launcher leaves open
    ("hal_qemu_t", "hal_qemu_launch_t", "fd", "use", "every descriptor from the launcher"),
    ("hal_qemu_t", "init_t", "fd", "use", "standard input, output, error"),
    ("hal_qemu_t", "init_t", "unix_stream_socket", "read write getattr", "standard error leads to the journal"),
    ("hal_qemu_t", "fixed_disk_device_t", "blk_file", f"{INHERITED} lock", "disks"),
    ("hal_qemu_t", "removable_device_t", "blk_file", INHERITED, "DVD drives, and their trays"),
    ("hal_qemu_t", "tty_device_t", "chr_file", INHERITED, "serial ports"),
    ("hal_qemu_t", "usbtty_device_t", "chr_file", INHERITED, "serial ports on USB"),
    ("hal_qemu_t", "usb_device_t", "chr_file", INHERITED, "USB devices, which come over QMP"),
    ("hal_qemu_t", "tun_tap_device_t", "chr_file", INHERITED, "taps"),
    ("hal_qemu_t", "vhost_device_t", "chr_file", INHERITED, "vhost-net"),
    ("hal_qemu_t", "hal_image_t", "file", f"{INHERITED} lock", "image files that stand for disks"),
    ("hal_qemu_t", "hal_qemu_lock_t", "file", "read write lock", "the lock that says that it runs"),
    ("hal_qemu_t", "hal_qemu_launch_t", "unix_stream_socket", "accept read write", "the launcher made its sockets"),
    ("hal_qemu_t", "device_t", "filesystem", "getattr", "a disk's file system, which is /dev"),
    # QEMU: what it opens
    ("hal_qemu_t", "kvm_device_t", "chr_file", "open read write ioctl", "before QEMU 8.2 only by path"),
    ("hal_qemu_t", "hal_events_t", "file", "open read write", "event journal, its file"),
    ("hal_qemu_t", "hal_events_t", "fifo_file", "open read write", "event journal, its pipe"),
    ("hal_qemu_t", "hal_var_run_t", "dir", "search", "the way there"),
    ("hal_qemu_t", "hal_boot_t", "file", "open read", "a kernel to boot, by /proc/self/fd/N"),
    ("hal_qemu_t", "hal_qemu_tmpfs_t", "file", "read write map setattr", "memory in huge pages"),
    ("hal_qemu_t", "usr_t", "file", "open read", "BIOS"),
    ("hal_qemu_t", "lib_t", "file", "open read map execute", "libraries, and its own modules"),
    ("hal_qemu_t", "sysfs_t", "file", "open read", "NUMA nodes, limits of disks"),
    ("hal_qemu_t", "hal_qemu_t", "anon_inode", "create map read write", "io_uring"),
    ("hal_qemu_t", "hal_qemu_t", "netlink_kobject_uevent_socket", "create bind", "libusb insists"),
    ("hal_qemu_t", "hal_qemu_t", "process", "fork", "threads"),
    ("hal_qemu_t", "init_t", "process", "sigchld", "systemd is its parent"),
    # QEMU: a memory dump through a pipe, of the guest manager's
    ("hal_qemu_t", "hal_vmm_t", "fd", "use", "a pipe, over QMP"),
    ("hal_qemu_t", "hal_vmm_t", "fifo_file", "write", "… and what goes through it"),
    ("hal_qemu_t", "unconfined_t", "fd", "use", "`hal vmm dump` in an administrator's shell"),
    ("hal_qemu_t", "unconfined_t", "fifo_file", "write", "… too"),
    # the probe
    ("hal_qemu_probe_t", "hal_vmm_plan_t", "fifo_file", "read write", "questions and answers"),
    ("hal_qemu_probe_t", "hal_vmm_tmp_t", "file", "open read write lock", "the disk of the guest of ten bytes"),
    ("hal_qemu_probe_t", "kvm_device_t", "chr_file", "open read write ioctl", "does KVM work?"),
    ("hal_qemu_probe_t", "hal_qemu_probe_t", "process", "execmem", "what can it do without KVM?"),
    # the launcher
    ("hal_qemu_launch_t", "hal_qemu_launch_t", "capability", "chown setuid setgid net_admin", "becomes hal-qemu; taps"),
    ("hal_qemu_launch_t", "hal_var_run_t", "file", "open read", "the launch plan"),
    ("hal_qemu_launch_t", "hal_qemu_lock_t", "file", "create open lock write setattr", "the lock"),
    ("hal_qemu_launch_t", "hal_events_t", "fifo_file", "create unlink open write setattr", "event journal, its pipe"),
    ("hal_qemu_launch_t", "hal_events_t", "file", "create unlink setattr", "… and its file"),
    ("hal_qemu_launch_t", "hal_qmp_t", "sock_file", "create unlink", "QMP"),
    ("hal_qemu_launch_t", "hal_channel_t", "sock_file", "create unlink", "guest agent, heartbeat"),
    ("hal_qemu_launch_t", "hal_var_run_t", "dir", "add_name remove_name", "… which are there"),
    ("hal_qemu_launch_t", "fixed_disk_device_t", "blk_file", "open read write ioctl", "disks"),
    ("hal_qemu_launch_t", "removable_device_t", "blk_file", "open read ioctl", "DVD drives"),
    ("hal_qemu_launch_t", "tty_device_t", "chr_file", "open read write ioctl", "serial ports"),
    ("hal_qemu_launch_t", "usbtty_device_t", "chr_file", "open read write ioctl", "… on USB"),
    ("hal_qemu_launch_t", "tun_tap_device_t", "chr_file", "open read write ioctl", "taps"),
    ("hal_qemu_launch_t", "hal_qemu_launch_t", "tun_socket", "create relabelfrom relabelto", "… made, or there"),
    ("hal_qemu_launch_t", "sysfs_t", "dir", "open read search", "is it a macvtap?"),
    ("hal_qemu_launch_t", "sysfs_t", "lnk_file", "read", "… a link leads to every interface"),
    ("hal_qemu_launch_t", "vhost_device_t", "chr_file", "open read write ioctl", "vhost-net"),
    ("hal_qemu_launch_t", "kvm_device_t", "chr_file", "open read write", "KVM, from QEMU 8.2 on"),
    ("hal_qemu_launch_t", "hal_image_t", "file", "open read write", "image files"),
    ("hal_qemu_launch_t", "hal_boot_t", "file", "open read", "a kernel to boot"),
    ("hal_qemu_launch_t", "getty_t", "file", "open read", "who holds a serial port?"),
    ("hal_qemu_launch_t", "init_t", "unix_dgram_socket", "sendto", "READY=1"),
    ("hal_qemu_launch_t", "hal_qemu_launch_t", "process", "setsched setrlimit", "QEMU's CPUs and limits"),
    # the guest manager
    ("hal_vmm_t", "hal_vmm_t", "capability", "sys_nice kill dac_override", "pins, kills, reads the journal"),
    ("hal_vmm_t", "hal_qmp_t", "sock_file", "write", "QMP"),
    ("hal_vmm_t", "hal_channel_t", "sock_file", "write", "guest agent, heartbeat"),
    ("hal_vmm_t", "hal_qemu_launch_t", "unix_stream_socket", "connectto", "… both made by the launcher"),
    ("hal_vmm_t", "hal_qemu_lock_t", "file", "open read write lock", "is QEMU there?"),
    ("hal_vmm_t", "hal_events_t", "file", "open read write map", "what has the product done?"),
    ("hal_vmm_t", "hal_qemu_t", "process", "getsched setsched sigkill", "pins it, kills it when it hangs"),
    ("hal_vmm_t", "hal_var_run_t", "file", "create write rename unlink", "its state, markers"),
    ("hal_vmm_t", "hal_var_run_t", "dir", "watch", "… of which it is told at once"),
    ("hal_vmm_t", "hal_var_lib_t", "file", "create write rename unlink", "why the last run ended"),
    ("hal_vmm_t", "hal_dump_t", "file", "create write rename unlink", "memory dumps"),
    ("hal_vmm_t", "fs_t", "filesystem", "getattr", "room for them"),
    ("hal_vmm_t", "bin_t", "file", "execute execute_no_trans", "head(1), systemctl(1)"),
    ("hal_vmm_t", "hal_unit_file_t", "service", "start status", "starts QEMU, has it planned anew"),
    ("hal_vmm_t", "init_t", "system", "status", "… through systemctl"),
    ("hal_vmm_t", "systemd_logind_t", "dbus", "send_msg", "reboots, powers off the host"),
    ("hal_vmm_t", "tty_device_t", "chr_file", "open write", "the text of the rescue state"),
    ("hal_vmm_t", "init_t", "unix_dgram_socket", "sendto", "WATCHDOG=1"),
    ("hal_vmm_t", "sysctl_kernel_t", "file", "open read", "the boot's id"),
    # the planner
    ("hal_vmm_plan_t", "sysfs_t", "file", "open read write", "the hardware; huge pages"),
    ("hal_vmm_plan_t", "proc_t", "file", "open read", "the hardware"),
    ("hal_vmm_plan_t", "proc_net_t", "file", "open read", "bonds, VLANs"),
    ("hal_vmm_plan_t", "udev_runtime_t", "file", "open read", "names and serial numbers"),
    ("hal_vmm_plan_t", "kvm_device_t", "chr_file", "open read write", "may it be opened?"),
    ("hal_vmm_plan_t", "vhost_device_t", "chr_file", "getattr", "is it there?"),
    ("hal_vmm_plan_t", "hal_image_t", "file", "getattr", "are the images there?"),
    ("hal_vmm_plan_t", "hal_var_run_t", "file", "create write rename unlink", "the plans"),
    ("hal_vmm_plan_t", "hal_var_lib_t", "file", "create write rename unlink", "the pinned hardware"),
    ("hal_vmm_plan_t", "hal_boot_t", "file", "create write rename", "copies of a kernel to boot"),
    ("hal_vmm_plan_t", "boot_t", "file", "open read", "… from /boot"),
    ("hal_vmm_plan_t", "hal_vmm_tmp_t", "file", "create write unlink", "the disk of the guest of ten bytes"),
    ("hal_vmm_plan_t", "hal_vmm_plan_t", "udp_socket", "create ioctl", "permanent addresses of NICs"),
    # the product's USB devices
    ("hal_udev_t", "hal_udev_t", "netlink_kobject_uevent_socket", "create bind read setopt", "udev's events"),
    ("hal_udev_t", "sysfs_t", "file", "open read", "what is plugged in"),
    ("hal_udev_t", "sysfs_t", "lnk_file", "read", "… and which driver has it"),
    ("hal_udev_t", "proc_t", "file", "open read", "what the host has mounted"),
    ("hal_udev_t", "udev_runtime_t", "file", "getattr open read", "is udev through with it?"),
    ("hal_udev_t", "usb_device_t", "chr_file", "open read write ioctl", "devices, opened for QEMU"),
    ("hal_udev_t", "fixed_disk_device_t", "blk_file", "open read write ioctl", "disks, opened for QEMU"),
    ("hal_udev_t", "removable_device_t", "blk_file", "open read ioctl", "DVD drives, and their trays"),
    ("hal_udev_t", "kmsg_device_t", "chr_file", "open read", "why a disk has failed"),
    ("hal_udev_t", "hal_udev_t", "capability2", "syslog", "… which may be kept from others"),
    ("hal_qemu_t", "hal_udev_t", "fd", "use", "… and handed over"),
    ("hal_udev_t", "hal_qmp_t", "sock_file", "write", "QMP"),
    ("hal_udev_t", "hal_qemu_launch_t", "unix_stream_socket", "connectto", "… by the launcher's socket"),
    ("hal_udev_t", "hal_var_run_t", "file", "create write rename unlink", "its state"),
    ("hal_udev_t", "hal_var_lib_t", "file", "create write rename unlink", "which port is which"),
    ("hal_udev_t", "hal_etc_t", "file", "open read", "hal.toml"),
    # the product's network
    ("hal_netcfg_t", "hal_netcfg_t", "capability", "net_admin", "interfaces"),
    ("hal_netcfg_t", "hal_netcfg_t", "netlink_route_socket", "create bind nlmsg_read nlmsg_write", "… are made"),
    ("hal_netcfg_t", "tun_tap_device_t", "chr_file", "open read write ioctl", "taps"),
    ("hal_netcfg_t", "hal_netcfg_t", "tun_socket", "create", "… are made"),
    ("hal_qemu_launch_t", "hal_netcfg_t", "tun_socket", "relabelfrom", "… and attached to"),
    ("hal_netcfg_t", "hal_netcfg_t", "udp_socket", "create ioctl", "permanent addresses of NICs"),
    ("hal_netcfg_t", "hal_netcfg_t", "unix_dgram_socket", "create ioctl", "an interface's number"),
    ("hal_netcfg_t", "sysfs_t", "file", "open read write", "the NICs; a bond's ARP targets; their drivers"),
    ("hal_netcfg_t", "udev_runtime_t", "file", "open read", "their names"),
    ("hal_netcfg_t", "proc_net_t", "file", "open read", "bonds"),
    ("hal_netcfg_t", "sysctl_net_t", "file", "open read write", "IPv6 and bridge netfilter off"),
    ("hal_netcfg_t", "hal_netcfg_t", "netlink_netfilter_socket", "create bind read", "has the firewall changed?"),
    ("hal_netcfg_t", "iptables_exec_t", "file", "execute read open map getattr", "nft"),
    ("hal_netcfg_t", "iptables_t", "process", "transition sigkill", "… which is ended when it hangs"),
    ("hal_netcfg_t", "iptables_t", "process2", "nnp_transition", "… with NoNewPrivileges="),
    ("iptables_t", "hal_netcfg_t", "fifo_file", "open read write getattr", "rules by /dev/stdin, and what it says"),
    ("iptables_t", "hal_netcfg_t", "process", "sigchld", "… and its end"),
    ("hal_netcfg_t", "hal_qmp_t", "sock_file", "write", "the state of cables"),
    ("hal_netcfg_t", "hal_qemu_launch_t", "unix_stream_socket", "connectto", "… by the launcher's socket"),
    ("hal_netcfg_t", "hal_qemu_lock_t", "file", "open read lock", "does the product run?"),
    ("hal_netcfg_t", "boolean_t", "file", "open read", "the boolean hal_direct_nics"),
    ("hal_netcfg_t", "security_t", "file", "open read", "whether the kernel enforces it"),
    ("hal_netcfg_t", "hal_var_run_t", "file", "create write rename unlink lock", "its state"),
    ("hal_netcfg_t", "NetworkManager_runtime_t", "file", "create write rename unlink", "which NICs are none of its"),
    # the product's screen and keyboard
    ("hal_console_t", "tty_device_t", "chr_file", "open read write ioctl getattr", "tty1"),
    ("hal_console_t", "framebuf_device_t", "chr_file", "open read write ioctl map", "the framebuffer"),
    ("hal_console_t", "hal_qmp_t", "sock_file", "write", "asks QEMU for its picture"),
    ("hal_console_t", "hal_qemu_launch_t", "unix_stream_socket", "connectto", "… by the launcher's socket"),
    ("hal_qemu_t", "hal_console_t", "fd", "use", "… and hands over one end of a connection"),
    ("hal_qemu_t", "hal_console_t", "unix_stream_socket", "read write getattr", "… that QEMU talks on"),
    ("hal_qemu_t", "hal_events_t", "file", "append", "what is said on the serial ports"),
    ("hal_console_t", "hal_var_run_t", "file", "create write rename unlink", "its state"),
    ("hal_console_t", "hal_etc_t", "file", "open read", "hal.toml"),
    ("hal_console_t", "usr_t", "file", "open read", "the letters of QEMU's VGA BIOS"),
    ("hal_qemu_t", "unconfined_t", "unix_stream_socket", "read write", "hal console --attach"),
    # all programs of HAL
    ("hal_vmm_t", "hal_etc_t", "file", "open read", "hal.toml"),
    ("hal_vmm_plan_t", "hal_etc_t", "file", "open read", "hal.toml"),
    ("hal_netcfg_t", "hal_etc_t", "file", "open read", "hal.toml, ports.d"),
    ("hal_vmm_t", "lib_t", "file", "open read", "HAL itself; its defaults"),
    # systemd's part
    ("init_t", "hal_var_run_t", "dir", "mounton", "ReadWritePaths="),
    ("init_t", "hal_var_lib_t", "dir", "mounton", "ReadWritePaths="),
    ("init_t", "hal_image_t", "dir", "mounton", "ReadWritePaths="),
    ("init_t", "hal_qemu_t", "process", "sigkill signal", "systemctl stop"),
    ("systemd_tmpfiles_t", "hal_var_run_t", "dir", "create setattr", "tmpfiles.d"),
]

TOUCH = "open read write append create unlink rename"

FORBIDDEN = [
    # QEMU and the host's files
    ("hal_qemu_t", "shadow_t", "file", TOUCH, "the host's passwords"),
    ("hal_qemu_t", "fixed_disk_device_t", "blk_file", "open append create setattr", "a disk that it was not given"),
    ("hal_qemu_t", "removable_device_t", "blk_file", "open append create setattr", "a DVD that it was not given"),
    ("hal_qemu_t", "fixed_disk_device_t", "chr_file", "open", "a disk by its other door"),
    ("hal_qemu_t", "scsi_generic_device_t", "chr_file", "open read write", "a disk by a third one"),
    ("hal_qemu_t", "usb_device_t", "chr_file", "open", "a USB device that it was not given"),
    ("hal_qemu_t", "tty_device_t", "chr_file", "open", "the console, a serial port that it was not given"),
    ("hal_qemu_t", "usbtty_device_t", "chr_file", "open", "… one on USB"),
    ("hal_qemu_t", "tun_tap_device_t", "chr_file", "open", "a network of its own"),
    ("hal_qemu_t", "vhost_device_t", "chr_file", "open", "… by vhost"),
    ("hal_qemu_t", "memory_device_t", "chr_file", "open read write", "the host's memory"),
    ("hal_qemu_t", "vfio_device_t", "chr_file", "append create setattr unlink", "more than to use PCI devices"),
    ("hal_qemu_t", "random_device_t", "chr_file", "write", "the kernel's entropy"),
    ("hal_qemu_t", "hal_image_t", "file", "open create unlink", "an image that it was not given"),
    ("hal_qemu_t", "hal_dump_t", "file", TOUCH, "memory dumps of earlier products"),
    ("hal_qemu_t", "hal_key_t", "file", TOUCH, "keys"),
    ("hal_qemu_t", "hal_inbox_t", "file", TOUCH, "what other channels of the product have brought"),
    ("hal_qemu_t", "hal_etc_t", "file", TOUCH, "HAL's configuration"),
    ("hal_qemu_t", "hal_var_lib_t", "file", TOUCH, "HAL's state"),
    ("hal_qemu_t", "hal_var_run_t", "file", TOUCH, "the launch plan, that of its next start too"),
    ("hal_qemu_t", "hal_var_run_t", "dir", "write add_name remove_name", "a file beside it"),
    ("hal_qemu_t", "hal_events_t", "dir", "write add_name remove_name", "a journal that it made itself"),
    ("hal_qemu_t", "hal_events_t", "file", "create unlink rename", "… or made disappear"),
    ("hal_qemu_t", "hal_qemu_lock_t", "file", "open create unlink", "another lock"),
    ("hal_qemu_t", "hal_boot_t", "file", "write create unlink", "the kernel that it boots from"),
    ("hal_qemu_t", "hal_unit_file_t", "file", TOUCH, "HAL's units"),
    ("hal_qemu_t", "sysfs_t", "file", "write append", "the host's hardware"),
    ("hal_qemu_t", "etc_t", "file", "write append create", "the host's configuration"),
    ("hal_qemu_t", "usr_t", "file", "write append create", "the host's programs"),
    ("hal_qemu_t", "lib_t", "file", "write append create", "the host's libraries"),
    ("hal_qemu_t", "tmp_t", "dir", "write add_name", "a file in /tmp"),
    ("hal_qemu_t", "var_log_t", "dir", "write add_name", "the host's logs"),
    ("hal_qemu_t", "user_home_t", "file", TOUCH, "somebody's files"),
    ("hal_qemu_t", "boot_t", "file", "open read write", "the host's kernel"),
    # QEMU and programs
    ("hal_qemu_t", "shell_exec_t", "file", "execute execute_no_trans", "a shell"),
    ("hal_qemu_t", "bin_t", "file", "execute execute_no_trans", "any program"),
    ("hal_qemu_t", "qemu_exec_t", "file", "execute_no_trans", "another QEMU"),
    ("hal_qemu_t", "hal_vmm_exec_t", "file", "execute execute_no_trans", "HAL's"),
    ("hal_qemu_t", "usr_t", "file", "execute", "code from a data file"),
    ("hal_qemu_t", "hal_image_t", "file", "execute map", "code from a disk"),
    ("hal_qemu_t", "hal_qemu_tmpfs_t", "file", "execute", "code from the product's memory"),
    ("hal_qemu_t", "hal_qemu_t", "process", "ptrace execstack execheap setexec setcurrent dyntransition", "itself"),
    ("hal_qemu_t", "hal_qemu_t", "process", "setrlimit setsched setcap", "its limits, its CPUs"),
    ("hal_qemu_t", "hal_vmm_t", "process", "ptrace sigkill signal transition", "the guest manager"),
    ("hal_qemu_t", "init_t", "process", "ptrace sigkill signal transition", "systemd"),
    ("hal_qemu_t", "unconfined_t", "process", "ptrace sigkill signal transition", "an administrator's shell"),
    # QEMU and the rest of the host
    ("hal_qemu_t", "hal_qmp_t", "sock_file", "write create unlink", "its own QMP, as a client"),
    ("hal_qemu_t", "hal_channel_t", "sock_file", "write create unlink", "… and channels"),
    ("hal_qemu_t", "hal_qemu_launch_t", "unix_stream_socket", "connectto", "… by the launcher's label"),
    ("hal_qemu_t", "init_t", "unix_stream_socket", "connectto", "systemd"),
    ("hal_qemu_t", "system_dbusd_t", "unix_stream_socket", "connectto", "D-Bus"),
    ("hal_qemu_t", "hal_unit_file_t", "service", "start stop", "HAL's units"),
    ("hal_qemu_t", "hal_qemu_t", "tun_socket", "create relabelto attach_queue", "another tap"),
    ("hal_qemu_t", "hal_qemu_t", "netlink_kobject_uevent_socket", "write", "made-up device events"),
    ("hal_qemu_t", "kernel_t", "system", "module_request syslog_read", "the kernel"),
    ("hal_qemu_t", "security_t", "security", "load_policy setenforce setbool", "SELinux"),
    # the probe: a QEMU that gets nothing
    ("hal_qemu_probe_t", "fixed_disk_device_t", "blk_file", "open read write", "disks"),
    ("hal_qemu_probe_t", "removable_device_t", "blk_file", "open read write", "DVD drives"),
    ("hal_qemu_probe_t", "usb_device_t", "chr_file", "open read write", "USB devices"),
    ("hal_qemu_probe_t", "tun_tap_device_t", "chr_file", "open read write", "taps"),
    ("hal_qemu_probe_t", "hal_image_t", "file", TOUCH, "images"),
    ("hal_qemu_probe_t", "hal_var_run_t", "file", TOUCH, "the plan that is being made"),
    ("hal_qemu_probe_t", "hal_events_t", "file", TOUCH, "the running QEMU's journal"),
    ("hal_qemu_probe_t", "shadow_t", "file", TOUCH, "the host's passwords"),
    ("hal_qemu_probe_t", "bin_t", "file", "execute execute_no_trans", "any program"),
    ("hal_qemu_probe_t", "shell_exec_t", "file", "execute execute_no_trans", "a shell"),
    # the launcher
    ("hal_qemu_launch_t", "shadow_t", "file", TOUCH, "the host's passwords"),
    ("hal_qemu_launch_t", "shell_exec_t", "file", "execute execute_no_trans", "a shell"),
    ("hal_qemu_launch_t", "bin_t", "file", "execute_no_trans", "any program but QEMU"),
    ("hal_qemu_launch_t", "qemu_exec_t", "file", "execute_no_trans", "a QEMU with the launcher's rights"),
    ("hal_qemu_launch_t", "hal_etc_t", "file", "write create unlink", "HAL's configuration"),
    ("hal_qemu_launch_t", "hal_var_run_t", "file", "write create unlink", "the plan that it carries out"),
    ("hal_qemu_launch_t", "hal_var_lib_t", "file", "write create unlink", "HAL's state"),
    ("hal_qemu_launch_t", "hal_dump_t", "file", TOUCH, "memory dumps"),
    ("hal_qemu_launch_t", "hal_key_t", "file", TOUCH, "keys"),
    ("hal_qemu_launch_t", "hal_inbox_t", "file", TOUCH, "what the product has handed over"),
    ("hal_qemu_launch_t", "memory_device_t", "chr_file", "open read write", "the host's memory"),
    ("hal_qemu_launch_t", "sysfs_t", "file", "write append", "the host's hardware"),
    ("hal_qemu_launch_t", "usb_device_t", "chr_file", "open", "USB devices: they are hal-udev's"),
    ("hal_qemu_launch_t", "hal_qemu_launch_t", "capability", "sys_admin sys_rawio dac_override mknod", "more"),
    ("hal_qemu_launch_t", "hal_unit_file_t", "service", "start stop", "units"),
    # the guest manager, which reads what the product says
    ("hal_vmm_t", "shadow_t", "file", TOUCH, "the host's passwords"),
    ("hal_vmm_t", "fixed_disk_device_t", "blk_file", "open read write", "disks"),
    ("hal_vmm_t", "removable_device_t", "blk_file", "open read write", "DVD drives"),
    ("hal_vmm_t", "hal_image_t", "file", TOUCH, "images"),
    ("hal_vmm_t", "hal_key_t", "file", TOUCH, "keys"),
    ("hal_vmm_t", "hal_inbox_t", "file", TOUCH, "what the product has handed over"),
    ("hal_vmm_t", "kvm_device_t", "chr_file", "open read write", "KVM"),
    ("hal_vmm_t", "tun_tap_device_t", "chr_file", "open read write", "taps"),
    ("hal_vmm_t", "sysfs_t", "file", "write append", "the host's hardware"),
    ("hal_vmm_t", "hal_etc_t", "file", "write create unlink", "HAL's configuration"),
    ("hal_vmm_t", "hal_unit_file_t", "file", "write create unlink", "HAL's units"),
    ("hal_vmm_t", "hal_boot_t", "file", "write create unlink", "the kernel that the product boots"),
    ("hal_vmm_t", "shell_exec_t", "file", "execute execute_no_trans", "a shell"),
    ("hal_vmm_t", "qemu_exec_t", "file", "execute execute_no_trans", "QEMU: that is hal-qemu.service's"),
    ("hal_vmm_t", "hal_qemu_t", "process", "ptrace transition dyntransition", "QEMU's memory"),
    ("hal_vmm_t", "hal_qemu_probe_t", "process", "transition", "a QEMU of its own"),
    ("hal_vmm_t", "hal_vmm_t", "capability", "sys_admin net_admin sys_module sys_ptrace setuid sys_boot", "more"),
    ("hal_vmm_t", "sshd_t", "process", "sigkill signal", "other programs"),
    ("hal_vmm_t", "kernel_t", "system", "module_request", "kernel modules"),
    ("hal_vmm_t", "init_t", "system", "reload halt", "systemd itself"),
    # the planner
    ("hal_vmm_plan_t", "shadow_t", "file", TOUCH, "the host's passwords"),
    ("hal_vmm_plan_t", "fixed_disk_device_t", "blk_file", "open read write", "disks: what they are is in /sys"),
    ("hal_vmm_plan_t", "removable_device_t", "blk_file", "open read write", "DVD drives"),
    ("hal_vmm_plan_t", "hal_image_t", "file", "open read write", "images"),
    ("hal_vmm_plan_t", "hal_dump_t", "file", TOUCH, "memory dumps"),
    ("hal_vmm_plan_t", "hal_key_t", "file", TOUCH, "keys"),
    ("hal_vmm_plan_t", "hal_inbox_t", "file", TOUCH, "what the product has handed over"),
    ("hal_vmm_plan_t", "hal_qmp_t", "sock_file", "write", "the running product"),
    ("hal_vmm_plan_t", "hal_channel_t", "sock_file", "write", "the running product"),
    ("hal_vmm_plan_t", "hal_qemu_t", "process", "transition ptrace sigkill signal setsched", "the running QEMU"),
    ("hal_vmm_plan_t", "hal_events_t", "file", TOUCH, "its journal"),
    ("hal_vmm_plan_t", "qemu_exec_t", "file", "execute_no_trans", "a QEMU with the planner's rights"),
    ("hal_vmm_plan_t", "shell_exec_t", "file", "execute execute_no_trans", "a shell"),
    ("hal_vmm_plan_t", "bin_t", "file", "execute_no_trans", "any program but QEMU"),
    ("hal_vmm_plan_t", "hal_etc_t", "file", "write create unlink", "HAL's configuration"),
    ("hal_vmm_plan_t", "hal_vmm_plan_t", "udp_socket", "bind connect read write", "a network"),
    ("hal_vmm_plan_t", "kernel_t", "system", "module_request", "kernel modules"),
    ("hal_vmm_plan_t", "hal_unit_file_t", "service", "start stop", "units"),
    # the product's network
    ("hal_udev_t", "shadow_t", "file", TOUCH, "the host's passwords"),
    ("hal_udev_t", "fixed_disk_device_t", "blk_file", "create unlink setattr", "disks that are not there"),
    ("hal_udev_t", "removable_device_t", "blk_file", "write append create unlink", "discs"),
    ("hal_udev_t", "kmsg_device_t", "chr_file", "write append", "the kernel's log"),
    ("hal_udev_t", "proc_kmsg_t", "file", "open read", "… and the way to it that empties it"),
    ("hal_udev_t", "kvm_device_t", "chr_file", "open read write", "KVM"),
    ("hal_udev_t", "memory_device_t", "chr_file", "open read write", "the host's memory"),
    ("hal_udev_t", "vfio_device_t", "chr_file", "open read write", "PCI devices"),
    ("hal_udev_t", "sysfs_t", "file", "write append", "the host's hardware"),
    ("hal_udev_t", "udev_runtime_t", "file", "write create unlink", "what udev knows"),
    ("hal_udev_t", "udev_rules_t", "file", "write create unlink", "what udev does"),
    ("hal_udev_t", "hal_udev_t", "netlink_kobject_uevent_socket", "write", "made-up device events"),
    ("hal_udev_t", "hal_udev_t", "netlink_route_socket", "create", "interfaces"),
    ("hal_udev_t", "hal_udev_t", "packet_socket", "create", "a LAN's frames"),
    ("hal_udev_t", "hal_udev_t", "tcp_socket", "create", "a network"),
    ("hal_udev_t", "hal_udev_t", "udp_socket", "create", "a network"),
    ("hal_udev_t", "hal_udev_t", "capability", "dac_override sys_admin sys_rawio net_admin setuid", "any power"),
    ("hal_udev_t", "kernel_t", "system", "module_request", "kernel modules"),
    ("hal_udev_t", "bin_t", "file", "execute_no_trans", "any program"),
    ("hal_udev_t", "shell_exec_t", "file", "execute execute_no_trans", "a shell"),
    ("hal_udev_t", "qemu_exec_t", "file", "execute execute_no_trans", "QEMU"),
    ("hal_udev_t", "hal_qemu_t", "process", "transition ptrace sigkill signal setsched", "the running QEMU"),
    ("hal_udev_t", "hal_channel_t", "sock_file", "write", "what the product says"),
    ("hal_udev_t", "hal_events_t", "file", TOUCH, "QEMU's journal"),
    ("hal_udev_t", "hal_image_t", "file", TOUCH, "images"),
    ("hal_udev_t", "hal_dump_t", "file", TOUCH, "memory dumps"),
    ("hal_udev_t", "hal_key_t", "file", TOUCH, "keys"),
    ("hal_udev_t", "hal_inbox_t", "file", TOUCH, "what the product has handed over"),
    ("hal_udev_t", "hal_etc_t", "file", "write create unlink", "HAL's configuration"),
    ("hal_udev_t", "hal_unit_file_t", "service", "start stop", "units"),
    ("hal_netcfg_t", "shadow_t", "file", TOUCH, "the host's passwords"),
    ("hal_netcfg_t", "fixed_disk_device_t", "blk_file", "open read write", "disks"),
    ("hal_netcfg_t", "removable_device_t", "blk_file", "open read write", "DVD drives"),
    ("hal_netcfg_t", "kvm_device_t", "chr_file", "open read write", "KVM"),
    ("hal_netcfg_t", "vhost_device_t", "chr_file", "open read write", "what the product sends"),
    ("hal_netcfg_t", "memory_device_t", "chr_file", "open read write", "the host's memory"),
    ("hal_netcfg_t", "vfio_device_t", "chr_file", "open read write", "PCI devices"),
    ("hal_netcfg_t", "hal_netcfg_t", "packet_socket", "create", "a LAN's frames"),
    ("hal_netcfg_t", "hal_netcfg_t", "rawip_socket", "create", "a network"),
    ("hal_netcfg_t", "hal_netcfg_t", "tcp_socket", "create", "a network"),
    ("hal_netcfg_t", "hal_netcfg_t", "udp_socket", "bind connect read write", "a network"),
    ("hal_netcfg_t", "hal_netcfg_t", "netlink_netfilter_socket", "write", "the firewall, but by nft"),
    ("hal_netcfg_t", "hal_netcfg_t", "tun_socket", "relabelfrom relabelto attach_queue", "a tap that is there"),
    ("hal_netcfg_t", "hal_qemu_launch_t", "tun_socket", "relabelfrom", "the product's tap"),
    ("hal_netcfg_t", "hal_netcfg_t", "capability", "net_raw sys_admin sys_module dac_override setuid", "more"),
    ("hal_netcfg_t", "kernel_t", "system", "module_request", "kernel modules"),
    ("hal_netcfg_t", "sysctl_kernel_t", "file", "write", "the kernel, but for its network"),
    ("hal_netcfg_t", "bin_t", "file", "execute_no_trans", "any program but nft"),
    ("hal_netcfg_t", "iptables_exec_t", "file", "execute_no_trans", "nft with more rights than its own"),
    ("hal_netcfg_t", "shell_exec_t", "file", "execute execute_no_trans", "a shell"),
    ("hal_netcfg_t", "qemu_exec_t", "file", "execute execute_no_trans", "QEMU"),
    ("hal_netcfg_t", "hal_qemu_t", "process", "transition ptrace sigkill signal setsched", "the running QEMU"),
    ("hal_netcfg_t", "hal_channel_t", "sock_file", "write", "what the product says"),
    ("hal_netcfg_t", "hal_events_t", "file", TOUCH, "QEMU's journal"),
    ("hal_netcfg_t", "hal_image_t", "file", TOUCH, "images"),
    ("hal_netcfg_t", "hal_dump_t", "file", TOUCH, "memory dumps"),
    ("hal_netcfg_t", "hal_key_t", "file", TOUCH, "keys"),
    ("hal_netcfg_t", "hal_inbox_t", "file", TOUCH, "what the product has handed over"),
    ("hal_netcfg_t", "hal_boot_t", "file", TOUCH, "the kernel that the product boots"),
    ("hal_netcfg_t", "hal_var_lib_t", "file", TOUCH, "HAL's state"),
    ("hal_netcfg_t", "hal_etc_t", "file", "write create unlink", "HAL's configuration"),
    ("hal_netcfg_t", "hal_unit_file_t", "file", "write create unlink", "HAL's units"),
    ("hal_netcfg_t", "hal_unit_file_t", "service", "start stop", "units"),
    ("hal_netcfg_t", "NetworkManager_etc_t", "file", "write create unlink", "NetworkManager's configuration"),
    ("hal_netcfg_t", "NetworkManager_t", "process", "sigkill signal", "NetworkManager"),
    ("hal_netcfg_t", "cert_t", "file", "open read", "certificates"),
    ("hal_netcfg_t", "system_dbusd_t", "unix_stream_socket", "connectto", "D-Bus"),
    # the product's screen, which shows what the product wants
    ("hal_console_t", "shadow_t", "file", TOUCH, "the host's passwords"),
    ("hal_console_t", "fixed_disk_device_t", "blk_file", "open read write", "disks"),
    ("hal_console_t", "removable_device_t", "blk_file", "open read write", "DVD drives"),
    ("hal_console_t", "event_device_t", "chr_file", "open read write", "keyboards, but for its terminal's"),
    ("hal_console_t", "memory_device_t", "chr_file", "open read write", "the host's memory"),
    ("hal_console_t", "kvm_device_t", "chr_file", "open read write", "KVM"),
    ("hal_console_t", "bin_t", "file", "execute_no_trans", "any program"),
    ("hal_console_t", "shell_exec_t", "file", "execute execute_no_trans", "a shell"),
    ("hal_console_t", "hal_console_t", "capability", "sys_tty_config sys_admin dac_override", "more"),
    ("hal_console_t", "hal_console_t", "tcp_socket", "create", "a network"),
    ("hal_console_t", "hal_console_t", "udp_socket", "create", "a network"),
    ("hal_console_t", "hal_qemu_t", "process", "transition ptrace sigkill signal", "the running QEMU"),
    ("hal_console_t", "hal_channel_t", "sock_file", "write", "the product's agent"),
    ("hal_console_t", "hal_events_t", "file", TOUCH, "QEMU's journal"),
    ("hal_console_t", "hal_image_t", "file", TOUCH, "images"),
    ("hal_console_t", "hal_dump_t", "file", TOUCH, "memory dumps"),
    ("hal_console_t", "hal_key_t", "file", TOUCH, "keys"),
    ("hal_console_t", "hal_inbox_t", "file", TOUCH, "what the product has handed over"),
    ("hal_console_t", "hal_var_lib_t", "file", "write create unlink", "HAL's state"),
    ("hal_console_t", "hal_etc_t", "file", "write create unlink", "HAL's configuration"),
    ("hal_console_t", "hal_unit_file_t", "service", "start stop", "units"),
    # other programs of the host
    ("httpd_t", "hal_qmp_t", "sock_file", "write", "rules the product"),
    ("sshd_t", "hal_qmp_t", "sock_file", "write", "rules the product"),
    ("httpd_t", "hal_dump_t", "file", "open read", "the product's secrets"),
    ("udev_t", "hal_qemu_t", "process", "transition ptrace", "QEMU"),
    ("NetworkManager_t", "hal_netcfg_t", "process", "transition ptrace sigkill signal", "the product's network"),
    ("iptables_t", "hal_var_run_t", "file", "write create unlink", "HAL's state"),
    ("qemu_t", "hal_image_t", "file", "open read write", "another QEMU, of libvirt's say"),
    ("svirt_t", "hal_image_t", "file", "open read write", "… of libvirt's"),
]


Row = tuple[str, str, str, str, str]


def name(row: Row) -> str:
    return f"{row[0]} → {row[1]}:{row[2]} {row[4]}"


def targets(facts: dict[str, Any], source: str, object_class: str, permission: str) -> set[str]:
    """All that a domain may do this with, if only under a condition."""
    rules = (key.split() for key in facts["allowed"])
    return {rule[1] for rule in rules if rule[0] == source and rule[2:] == [object_class, permission]}


def sources(facts: dict[str, Any], target: str, object_class: str, permission: str) -> set[str]:
    """All confined domains that may do this, whatever the booleans are."""
    rules = (key.split() for key, condition in facts["allowed"].items() if not condition)
    return {rule[0] for rule in rules if rule[1:] == [target, object_class, permission]}


@pytest.mark.parametrize("row", ALLOWED, ids=name)
def test_allowed(facts: dict[str, Any], row: Row) -> None:
    source, target, object_class, permissions, _ = row
    conditions = {one: facts["allowed"].get(f"{source} {target} {object_class} {one}") for one in permissions.split()}
    assert conditions == dict.fromkeys(permissions.split(), "")


@pytest.mark.parametrize("row", FORBIDDEN, ids=name)
def test_forbidden(facts: dict[str, Any], row: Row) -> None:
    source, target, object_class, permissions, _ = row
    # What does not exist is allowed to nobody: a row with a slip of the pen would never fail.
    assert {source, target} <= set(facts["known types"])
    assert set(permissions.split()) <= set(facts["known permissions"][object_class])
    assert not [one for one in permissions.split() if f"{source} {target} {object_class} {one}" in facts["allowed"]]


@pytest.mark.parametrize("domain", ["hal_qemu_t", "hal_qemu_probe_t"])
def test_qemu_has_no_capability_and_no_network(facts: dict[str, Any], domain: str) -> None:
    on_itself = {key.split()[2] for key in facts["allowed"] if key.split()[:2] == [domain, domain]}
    sockets = {one for one in on_itself if one.endswith("socket")}
    assert not {one for one in on_itself if one.startswith(("cap", "packet"))}
    assert sockets == {"netlink_kobject_uevent_socket", "unix_stream_socket"}
    assert not {one for one in ("name_bind", "name_connect", "node_bind") if targets(facts, domain, "tcp_socket", one)}


def test_what_qemu_opens_is_a_short_list(facts: dict[str, Any]) -> None:
    """All of it: of the host's devices KVM, of its files nothing that is secret or that differs from host to host."""
    everybody = {"devtty_t", "null_device_t", "urandom_device_t", "zero_device_t"}  # … may open these
    with_boolean = {"vfio_device_t"}
    assert targets(facts, "hal_qemu_t", "chr_file", "open") == {"kvm_device_t", *with_boolean, *everybody}
    assert targets(facts, "hal_qemu_t", "blk_file", "open") == set()
    assert targets(facts, "hal_qemu_t", "sock_file", "write") == {"setrans_runtime_t"}  # … ask for labels in words
    libraries = {"ld_so_cache_t", "ld_so_t", "lib_t", "textrel_shlib_t"}
    data = {"cpu_online_t", "etc_t", "locale_t", "sysctl_crypto_t", "sysfs_t", "usr_t"}
    own = {"hal_boot_t", "hal_events_t", "hal_qemu_t", "hal_qemu_tmpfs_t", "qemu_exec_t"}
    assert targets(facts, "hal_qemu_t", "file", "open") == libraries | data | own


def test_what_qemu_changes_is_a_short_list(facts: dict[str, Any]) -> None:
    files = {"hal_events_t", "hal_image_t", "hal_qemu_lock_t", "hal_qemu_t", "hal_qemu_tmpfs_t"}
    assert targets(facts, "hal_qemu_t", "file", "write") == files
    assert targets(facts, "hal_qemu_t", "dir", "write") == set()
    assert targets(facts, "hal_qemu_t", "blk_file", "write") == {"fixed_disk_device_t", "removable_device_t"}


@pytest.mark.parametrize("domain", ["hal_qemu_t", "hal_qemu_probe_t"])
def test_qemu_runs_no_program_and_leaves_its_domain_for_no_other(facts: dict[str, Any], domain: str) -> None:
    assert targets(facts, domain, "file", "execute_no_trans") == set()
    assert targets(facts, domain, "process", "transition") == set()
    assert targets(facts, domain, "process", "dyntransition") == set()
    assert targets(facts, domain, "file", "execute") == {"ld_so_t", "lib_t", "qemu_exec_t", "textrel_shlib_t"}


def test_who_enters_a_domain(facts: dict[str, Any]) -> None:
    enter = {domain: sources(facts, domain, "process", "transition") for domain in facts["types"]}
    assert {domain: who for domain, who in enter.items() if who} == {
        "hal_qemu_t": {"hal_qemu_launch_t"},
        "hal_qemu_probe_t": {"hal_vmm_plan_t"},
        "hal_qemu_launch_t": {"init_t"},
        "hal_vmm_t": {"init_t"},
        "hal_vmm_plan_t": {"init_t"},
        "hal_netcfg_t": {"init_t"},
        "hal_udev_t": {"init_t"},
        "hal_console_t": {"init_t"},
    }


def test_where_a_program_leads(facts: dict[str, Any]) -> None:
    processes = {rule: new for rule, new in facts["transitions"].items() if rule.split()[2] == "process"}
    of_scripts = {rule for rule in processes if rule.startswith("initrc_t ")}  # the reference policy's: no part of HAL
    assert {rule: new for rule, new in processes.items() if rule not in of_scripts and new.startswith("hal_")} == {
        "init_t hal_qemu_launch_exec_t process": "hal_qemu_launch_t",
        "init_t hal_vmm_exec_t process": "hal_vmm_t",
        "init_t hal_netcfg_exec_t process": "hal_netcfg_t",
        "init_t hal_udev_exec_t process": "hal_udev_t",
        "init_t hal_console_exec_t process": "hal_console_t",
        "hal_qemu_launch_t qemu_exec_t process": "hal_qemu_t",
        "hal_vmm_plan_t qemu_exec_t process": "hal_qemu_probe_t",
    }
    # The planner is entered by name only: the unit says so.
    assert "init_t hal_vmm_exec_t file entrypoint" not in facts["allowed"]
    assert "hal_vmm_plan_t hal_vmm_exec_t file entrypoint" in facts["allowed"]


def test_new_files_get_their_types_without_being_relabelled(facts: dict[str, Any]) -> None:
    files = {rule: new for rule, new in facts["transitions"].items() if rule.split()[2] != "process"}
    assert files == {
        "hal_qemu_launch_t hal_var_run_t file qemu.lock": "hal_qemu_lock_t",
        "hal_qemu_launch_t hal_var_run_t sock_file": "hal_channel_t",
        "hal_qemu_t hugetlbfs_t file": "hal_qemu_tmpfs_t",
        "hal_qemu_t tmpfs_t file": "hal_qemu_tmpfs_t",
        "hal_vmm_plan_t hal_var_run_t dir boot": "hal_boot_t",
        "hal_vmm_plan_t tmp_t file": "hal_vmm_tmp_t",
        "hal_vmm_t hal_var_lib_t dir dumps": "hal_dump_t",
    }


def test_who_rules_the_product(facts: dict[str, Any]) -> None:
    administrator = {"sysadm_t"}  # the reference policy's confined one
    writers = sources(facts, "hal_qmp_t", "sock_file", "write")
    clients = {"hal_console_t", "hal_netcfg_t", "hal_udev_t", "hal_vmm_t", "init_t"}
    assert writers - administrator == {"hal_qemu_launch_t", *clients}
    assert sources(facts, "hal_qemu_launch_t", "unix_stream_socket", "connectto") == clients
    assert sources(facts, "hal_qemu_t", "process", "ptrace") <= administrator | {"init_t"}


def test_emulation_needs_the_boolean(facts: dict[str, Any]) -> None:
    assert facts["booleans"] == {"hal_direct_nics": False, "hal_qemu_tcg": False}
    assert facts["allowed"]["hal_qemu_t hal_qemu_t process execmem"] == "hal_qemu_tcg is true"
    # The probe has no guest but one of ten bytes, and has to answer without KVM, too.
    assert facts["allowed"]["hal_qemu_probe_t hal_qemu_probe_t process execmem"] == ""


@pytest.mark.parametrize("domain", ["hal_qemu_t", "hal_qemu_launch_t"])
def test_pci_devices_need_the_boolean(facts: dict[str, Any], domain: str) -> None:
    allowed = {rule: condition for rule, condition in facts["allowed"].items() if f"{domain} vfio_device_t " in rule}
    assert f"{domain} vfio_device_t chr_file open" in allowed
    assert set(allowed.values()) == {"hal_direct_nics is true"}
    assert "hal_qemu_probe_t vfio_device_t chr_file open" not in facts["allowed"]


def test_devices_are_asked_what_is_needed_and_no_more(facts: dict[str, Any]) -> None:
    siocethtool = 0x8946  # include/uapi/linux/sockios.h
    tunsetiff, tunsetpersist = 0x54CA, 0x54CB  # include/uapi/linux/if_tun.h, its lower two bytes
    termios = {0x5401, 0x5402, 0x5413}  # include/uapi/asm-generic/ioctls.h; not TIOCSTI, which types
    keyboard_and_beeper = {0x4B2F, 0x4B32, 0x4B33, 0x4B3A, 0x4B45}  # include/uapi/linux/kd.h
    virtual_terminal = {0x5602, 0x5603, 0x5605, 0x5606}  # include/uapi/linux/vt.h
    blkgetsize64 = 0x1272  # include/uapi/linux/fs.h: a disk's size, which does no harm; not SG_IO
    drive = {
        0x5309,
        0x5319,
        0x5326,
        0x5329,
    }  # include/uapi/linux/cdrom.h: tray, lock, what is in it; not CDROM_SEND_PACKET
    usbdevfs_ioctl = 0x5512  # include/uapi/linux/usbdevice_fs.h: what a driver of the host's is told
    assert facts["ioctls"] == {
        "hal_vmm_plan_t hal_vmm_plan_t udp_socket": [siocethtool],
        "hal_netcfg_t hal_netcfg_t udp_socket": [siocethtool],
        "hal_netcfg_t tun_tap_device_t chr_file": [tunsetiff, tunsetpersist],
        "hal_udev_t usb_device_t chr_file": [usbdevfs_ioctl],
        "hal_udev_t fixed_disk_device_t blk_file": [blkgetsize64],
        "hal_udev_t removable_device_t blk_file": sorted(drive),
        "hal_console_t tty_device_t chr_file": sorted({*termios, *keyboard_and_beeper, *virtual_terminal}),
        "hal_console_t framebuf_device_t chr_file": [0x4600, 0x4602],  # include/uapi/linux/fb.h: what it says of itself
    }


def test_what_netcfg_runs_and_changes_is_a_short_list(facts: dict[str, Any]) -> None:
    assert targets(facts, "hal_netcfg_t", "process", "transition") == {"iptables_t"}
    assert targets(facts, "hal_netcfg_t", "file", "execute_no_trans") == set()
    files = {"NetworkManager_runtime_t", "hal_netcfg_t", "hal_var_run_t", "sysctl_net_t", "sysfs_t"}
    assert targets(facts, "hal_netcfg_t", "file", "write") == {"init_tmpfs_t", *files}  # the first by every daemon
    assert targets(facts, "hal_netcfg_t", "blk_file", "open") == set()


def test_no_domain_is_permissive_or_unconfined(facts: dict[str, Any]) -> None:
    domains = {one for one, attributes in facts["types"].items() if "domain" in attributes}
    qemu = {"hal_qemu_launch_t", "hal_qemu_probe_t", "hal_qemu_t"}
    assert domains == {*qemu, "hal_console_t", "hal_netcfg_t", "hal_udev_t", "hal_vmm_plan_t", "hal_vmm_t"}
    assert not [one for one in domains if "unconfined_domain_type" in facts["types"][one] or one in facts["permissive"]]
