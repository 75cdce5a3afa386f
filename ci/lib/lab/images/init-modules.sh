#!/bin/busybox sh
# shellcheck shell=dash
# The beginning of every initramfs of ours: busybox's commands, the kernel's file systems, and the modules in their order.
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/lib/modules/$module"; done </etc/modules

