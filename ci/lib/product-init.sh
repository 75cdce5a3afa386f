#!/bin/busybox sh
# shellcheck shell=dash
# The demo's product: a small appliance that says what hardware it sees, beats, and waits for commands on its console.
# What is done first, as in every initramfs of ours, is in lab/images/init-modules.sh.
mkdir -p /dev/virtio-ports
for port in /sys/class/virtio-ports/*; do
    [ -e "$port/name" ] && ln -s "../${port##*/}" "/dev/virtio-ports/$(cat "$port/name")"
done

dmi() { cat "/sys/class/dmi/id/$1" 2>/dev/null; }
echo "PRODUCT up after $(cut -d' ' -f1 /proc/uptime) s"
echo "PRODUCT sees $(grep -c ^processor /proc/cpuinfo) CPU(s), $(($(sed -n 's/MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo) / 1024)) MiB," \
    "$(dmi sys_vendor) $(dmi product_name)"
for nic in /sys/class/net/*; do
    [ -e "$nic/device" ] && echo "PRODUCT sees NIC ${nic##*/} $(cat "$nic/address")"
done
for disk in /sys/block/sd*; do
    [ -e "$disk" ] && echo "PRODUCT sees disk ${disk##*/}"
done

# hal-guest's, as in a real product, but in a hurry.
mkdir -p /etc/sysconfig
echo INTERVAL=1 >/etc/sysconfig/hal-heartbeat
hal-heartbeat &
if [ -e /dev/virtio-ports/org.qemu.guest_agent.0 ]; then
    qemu-ga -m virtio-serial -p /dev/virtio-ports/org.qemu.guest_agent.0 -t /run >/dev/null 2>&1 &
fi
echo "PRODUCT ready: commands are hang, crash, reboot -f, poweroff -f"
exec setsid cttyhack sh
