#!/bin/busybox sh
# shellcheck shell=dash
# The end of an initramfs whose system is on a disk: wait for it, mount it, go there. The kernel's command line says which
# and how: root=PARTLABEL=..., LABEL=..., UUID=... or /dev/...; rootfstype= (ext4), rootflags=, init= (/sbin/init).
patience=180 # seconds: a slow USB disk on a busy machine

root='' rootfstype=ext4 rootflags=noatime init=/sbin/init
read -r cmdline </proc/cmdline
for word in $cmdline; do
    case $word in
    root=* | rootfstype=* | rootflags=* | init=*) eval "${word%%=*}=\${word#*=}" ;;
    esac
done

device_of_root() {
    case $root in
    PARTLABEL=*)
        for uevent in /sys/class/block/*/uevent; do
            grep -qsxF "PARTNAME=${root#PARTLABEL=}" "$uevent" || continue
            sed -n 's|^DEVNAME=|/dev/|p' "$uevent"
            return
        done
        ;;
    LABEL=* | UUID=*) findfs "$root" 2>/dev/null ;;
    /dev/*) [ ! -b "$root" ] || echo "$root" ;;
    esac
}

find_and_mount() {
    # A shell can wait for no event, so it looks five times a second.
    tries=$((patience * 5))
    device=$(device_of_root)
    while [ -z "$device" ]; do
        [ $((tries -= 1)) -gt 0 ] || return 1
        sleep 0.2
        device=$(device_of_root)
    done
    mount -t "$rootfstype" -o "rw,$rootflags" "$device" /sysroot
}

until find_and_mount; do
    echo "initramfs: cannot mount root=$root: ${device:-not found after $patience s; allowed are PARTLABEL=, LABEL=, UUID= and /dev/}"
    echo "initramfs: the disks and partitions that are there, in sectors:"
    for block in /sys/class/block/*; do
        [ ! -e "$block" ] || echo "  /dev/${block##*/} $(cat "$block/size") $(sed -n 's/^PARTNAME=/PARTLABEL=/p' "$block/uevent")"
    done
    echo "initramfs: exit tries again; to go on with another one, first mount it at /sysroot"
    setsid cttyhack sh
    if grep -q ' /sysroot ' /proc/mounts; then break; fi
done
for filesystem in dev sys proc; do mount --move "/$filesystem" "/sysroot/$filesystem"; done
exec switch_root /sysroot "$init"
