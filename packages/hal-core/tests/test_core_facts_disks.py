"""Disks and optical drives: which are real, what identifies them, how they hang, and which are HAL's own."""

from __future__ import annotations

from typing import Union

import pytest

from hal_core.anonymize import Recording
from hal_core.facts import blockdev, disks, hal_device, optical, udevdb
from hal_core.facts.tree import Tree
from hal_core.testing import sysfs

PCI = "/sys/devices/pci0000:00"


def tree(files: dict[str, Union[str, int, bytes]], links: dict[str, str] | None = None) -> Tree:
    content = {path: text if isinstance(text, bytes) else f"{text}\n".encode() for path, text in files.items()}
    return sysfs.tree(Recording(content, links or {}, ()))


def block(name: str, **files: Union[str, int]) -> dict[str, Union[str, int, bytes]]:
    """A block device's files; two underscores are a slash: device__model is device/model."""
    directory = f"/sys/block/{name}"
    made: dict[str, Union[str, int, bytes]] = {f"{directory}/size": 2048}
    made.update({f"{directory}/{key.replace('__', '/')}": value for key, value in files.items()})
    return made


def test_only_hardware_is_a_disk() -> None:
    real = ["sda", "sdaa", "hdb", "vda", "xvda", "nvme0n1", "nvme1n12", "mmcblk0", "cciss!c0d0"]
    unreal = [
        "loop0",
        "ram0",
        "zram0",
        "dm-0",
        "md127",
        "sr0",
        "fd0",
        "nbd0",
        "nvme0c0n1",
        "mmcblk0boot0",
        "mmcblk0rpmb",
    ]
    files: dict[str, Union[str, int, bytes]] = {}
    for name in real + unreal:
        files.update(block(name))
    found = disks.read(tree(files))
    assert sorted(disk.name for disk in found) == sorted(name.replace("!", "/") for name in real)
    assert {disk.path for disk in found} >= {"/dev/sda", "/dev/cciss/c0d0"}


def test_an_empty_card_reader_is_no_disk_but_one_of_unknown_size_is() -> None:
    files = {**block("sda", size=0, removable=1), **block("sdb"), "/sys/block/sdc/removable": 0}
    assert [(disk.name, disk.size_bytes) for disk in disks.read(tree(files))] == [("sdb", 1 << 20), ("sdc", 0)]


def test_links_that_lead_nowhere_are_still_devices() -> None:
    links = {"/sys/block/sda": f"../devices{PCI[12:]}/0000:00:1f.2/host0/block/sda", "/sys/block/sr0": "../gone/sr0"}
    recorded = tree({}, links)
    assert [disk.name for disk in disks.read(recorded)] == ["sda"]
    assert [drive.name for drive in optical.read(recorded)] == ["sr0"]


def test_ide_drives_are_told_apart_by_their_medium() -> None:
    files = {**block("hda", device__media="cdrom"), **block("hdb", device__media="disk"), **block("hdc")}
    assert [disk.name for disk in disks.read(tree(files))] == ["hdb", "hdc"]
    assert [(drive.name, drive.transport) for drive in optical.read(tree(files))] == [("hda", "ide")]


UDEV = """S:disk/by-id/wwn-0x5000c500a1b2c3d4
I:123
E:ID_BUS=scsi
E:ID_MODEL=ST9300605SS
E:ID_MODEL_ENC=ST9300605SS\\x20\\x20\\x20\\x20\\x20
E:ID_SERIAL=35000c500a1b2c3d4
E:ID_SERIAL_SHORT=5000c500a1b2c3d4
E:ID_SCSI_SERIAL=6XP00Q1B
E:ID_WWN=0x5000c500a1b2c3d4
E:ID_WWN_WITH_EXTENSION=0x5000c500a1b2c3d4
E:ID_PATH=pci-0000:01:00.0-scsi-0:2:0:0
E:ID_ATA_ROTATION_RATE_RPM=10500
E:BROKEN
G:systemd
"""


def test_identity_comes_from_udev() -> None:
    files = {
        **block("sda", dev="8:0", device__model="SOMETHING", device__vendor="SEAGATE "),
        "/run/udev/data/b8:0": UDEV,
    }
    (disk,) = disks.read(tree(files))
    assert disk.serial == "6XP00Q1B"
    assert disk.wwn == disk.identity == "0x5000c500a1b2c3d4"
    assert disk.by_path == "pci-0000:01:00.0-scsi-0:2:0:0"
    assert (disk.model, disk.vendor) == ("ST9300605SS", "SEAGATE")
    assert disk.rotation_rpm == 10500


def test_identity_falls_back_on_sysfs() -> None:
    page = b"\x00\x80\x00\x0c  6XP00Q1B  padding behind the page"
    files = block("sda", device__wwid="naa.5000c500a1b2c3d4", device__model="ST9300605SS     ")
    (disk,) = disks.read(tree({**files, "/sys/block/sda/device/vpd_pg80": page}))
    assert (disk.serial, disk.wwn, disk.model) == ("6XP00Q1B", "0x5000c500a1b2c3d4", "ST9300605SS")
    files = block("nvme0n1", wwid="eui.0025385b71b0c1d2", device__serial="S4EV  ", device__model="Samsung SSD 970")
    (disk,) = disks.read(tree(files))
    assert (disk.serial, disk.wwn, disk.transport) == ("S4EV", "eui.0025385b71b0c1d2", "nvme")
    (disk,) = disks.read(tree(block("sda", device__wwid="t10.ATA     ST4000  Z300ABCD", dev="nonsense")))
    assert (disk.wwn, disk.serial, disk.identity) == ("", "", "sda")
    (disk,) = disks.read(tree(block("vda", serial="virt-1", device__vendor="0x1af4")))
    assert (disk.serial, disk.vendor, disk.transport) == ("virt-1", "", "virtio")


def test_block_sizes_and_flags() -> None:
    queue: dict[str, Union[str, int]] = {
        "queue__logical_block_size": 512,
        "queue__physical_block_size": 4096,
        "queue__rotational": 0,
        "queue__discard_max_bytes": 2147450880,
    }
    (disk,) = disks.read(tree(block("sda", ro=1, removable=1, **queue)))
    assert (disk.logical_block_bytes, disk.physical_block_bytes) == (512, 4096)
    assert (disk.rotational, disk.discard, disk.read_only, disk.removable) == (False, True, True, True)
    (old,) = disks.read(tree(block("sda", queue__hw_sector_size=4096)))
    assert (old.logical_block_bytes, old.physical_block_bytes) == (4096, 4096)
    assert (old.rotational, old.discard, old.read_only, old.removable) == (True, False, False, False)


@pytest.mark.parametrize(
    ("name", "path", "files", "transport"),
    [
        ("sda", "/usb2/2-3/2-3:1.0/host6/target6:0:0/6:0:0:0", {}, "usb"),
        ("sda", "/ata1/host0/target0:0:0/0:0:0:0", {}, "sata"),
        ("sda", "/host0/port-0:1/end_device-0:1/target0:0:1/0:0:1:0", {}, "sas"),
        ("sda", "/host0/port-0:1/end_device-0:1/target0:0:1/0:0:1:0", {"device/vendor": "ATA"}, "sata"),
        ("sda", "/host0/target0:2:0/0:2:0:0", {"device/vendor": "DELL"}, "scsi"),
        ("sda", "/host1/target1:0:0/1:0:0:0", {"../../../../scsi_host/host1/proc_name": "ata_piix"}, "sata"),
        ("sda", "/host3/rport-3:0-1/target3:0:0/3:0:0:0", {}, "fc"),
        ("nvme0n1", "/nvme/nvme0", {}, "nvme"),
        ("hda", "/ide0/0.0", {}, "ide"),
        ("xvda", "/vbd-51712", {}, "xen"),
        ("mmcblk0", "/mmc_host/mmc0/mmc0:0001", {}, "mmc"),
    ],
)
def test_transport(name: str, path: str, files: dict[str, str], transport: str) -> None:
    device = f"{PCI}/0000:00:1f.2{path}"
    content: dict[str, Union[str, int, bytes]] = {f"{device}/block/{name}/size": 8, f"{device}/type": 0}
    for where, text in files.items():
        if where.startswith("device/"):
            content[f"{device}/{where[len('device/') :]}"] = text
        else:
            content[f"{PCI}/0000:00:1f.2/host1/scsi_host/host1/proc_name"] = text
    links = {f"/sys/block/{name}": f"{device}/block/{name}", f"{device}/block/{name}/device": "../.."}
    (disk,) = disks.read(tree(content, links))
    assert disk.transport == transport


def test_the_hosts_order_is_by_controller_then_target_not_by_name() -> None:
    places = {
        "sda": "0000:00:1c.0/0000:0a:00.0/host0/target0:0:10/0:0:10:0",
        "sdb": "0000:00:1c.0/0000:0a:00.0/host0/target0:0:9/0:0:9:0",
        "sdc": "0000:00:02.0/0000:10:00.0/host1/target1:0:0/1:0:0:0",
        "sdd": "0000:00:02.0/0000:09:00.0/host2/target2:0:0/2:0:0:0",
    }
    files: dict[str, Union[str, int, bytes]] = {}
    links = {}
    for name, place in places.items():
        files[f"{PCI}/{place}/block/{name}/size"] = 8
        links[f"/sys/block/{name}"] = f"{PCI}/{place}/block/{name}"
    files[f"{PCI}/0000:00:02.0/0000:09:00.0/numa_node"] = 1
    files[f"{PCI}/0000:00:02.0/0000:10:00.0/numa_node"] = -1
    found = disks.read(tree(files, links))
    assert [disk.name for disk in found] == ["sdd", "sdc", "sdb", "sda"]
    assert [disk.node for disk in found] == [1, None, None, None]


def test_a_multipath_nvme_disk_hangs_where_its_first_controller_does() -> None:
    real = "/sys/devices/virtual/nvme-subsystem/nvme-subsys0"
    controller = "/sys/devices/pci10000:e0/10000:e0:06.0/10000:e1:00.0"
    files: dict[str, Union[str, int, bytes]] = {
        f"{real}/nvme0n1/size": 8,
        f"{real}/model": "Multi Path",
        f"{real}/serial": "MP1",
        f"{controller}/numa_node": 1,
        f"{controller}/nvme/nvme0/nvme0c0n1/size": 8,
    }
    links = {
        "/sys/block/nvme0n1": f"{real}/nvme0n1",
        "/sys/block/nvme0c0n1": f"{controller}/nvme/nvme0/nvme0c0n1",
        f"{real}/nvme0n1/device": "../../nvme-subsys0",
        f"{real}/nvme0": f"{controller}/nvme/nvme0",
    }
    (disk,) = disks.read(tree(files, links))
    assert (disk.name, disk.serial, disk.model, disk.node) == ("nvme0n1", "MP1", "Multi Path", 1)


def test_partitions_are_counted_and_hold_their_holders() -> None:
    files = {**block("nvme0n1")}
    for number in (1, 2, 10):
        files[f"/sys/block/nvme0n1/nvme0n1p{number}/size"] = number
    files["/sys/block/nvme0n1/nvme0n1p2/holders/dm-0/x"] = 1
    files["/sys/block/nvme0n1/holders/md127/x"] = 1
    (disk,) = disks.read(tree(files))
    assert [(part.name, part.size_bytes) for part in disk.partitions] == [
        ("nvme0n1p1", 512),
        ("nvme0n1p2", 1024),
        ("nvme0n1p10", 5120),
    ]
    assert disk.partitions[1].holders == ("dm-0",)
    assert disk.holders == ("md127",)


STACK = {
    # sdb2 and sdc2 are a mirror, md127; on it dm-0 (LVM); sda2 holds dm-1, encrypted swap.
    "/sys/class/block/dm-0/dm/name": "vg-root",
    "/sys/class/block/dm-0/slaves/md127/x": "",
    "/sys/class/block/md127/slaves/sdb2/x": "",
    "/sys/class/block/md127/slaves/sdc2/x": "",
    "/sys/class/block/dm-1/dm/name": "swap",
    "/sys/class/block/dm-1/slaves/sda2/x": "",
}
OWNER = {
    "sda": ["sda1", "sda2"],
    "sdb": ["sdb1", "sdb2"],
    "sdc": ["sdc2"],
    "sdd": ["sdd1"],
    "cciss/c0d0": ["cciss/c0d0p1"],
}


def own(files: dict[str, str], links: dict[str, str] | None = None) -> set[str]:
    stack: dict[str, Union[str, int, bytes]] = {**STACK, **files}
    return set(hal_device.find(tree(stack, links), OWNER))


@pytest.mark.parametrize(
    ("mountinfo", "expected"),
    [
        ("27 1 8:1 / / rw - ext4 /dev/sda1 rw", {"sda"}),
        ("27 1 8:1 / / rw shared:1 master:2 - ext4 /dev/root rw", {"sda"}),
        ("27 1 253:0 / / rw - xfs /dev/mapper/vg-root rw", {"sdb", "sdc"}),
        ("27 1 0:35 /root / rw - btrfs /dev/sdd1 rw", {"sdd"}),
        ("27 1 0:35 / / rw - overlay overlay rw\n30 27 8:49 / /run/initramfs/live ro - vfat /dev/sdd1 ro", {"sdd"}),
        ("27 1 104:1 / / rw - ext4 /dev/cciss/c0d0p1 rw", {"cciss/c0d0"}),
        ("27 1 11:0 / /mnt ro - iso9660 /dev/sr0 ro", set()),
        ("27 1 0:22 / /home rw - nfs server:/home rw", set()),
        ("garbage\n\n27 1\n - \n", set()),
    ],
)
def test_what_is_mounted_is_hals_own(mountinfo: str, expected: set[str]) -> None:
    links = {
        "/sys/dev/block/8:1": "../../devices/x/block/sda/sda1",
        "/sys/dev/block/8:49": "../../devices/x/block/sdd/sdd1",
        "/sys/dev/block/253:0": "../../devices/virtual/block/dm-0",
        "/sys/dev/block/104:1": "../../devices/x/block/cciss!c0d0/cciss!c0d0p1",
        "/sys/dev/block/11:0": "../../devices/x/block/sr0",
    }
    assert own({"/proc/self/mountinfo": mountinfo}, links) == expected


def test_old_recordings_have_only_mounts() -> None:
    mounts = (
        "rootfs / rootfs rw 0 0\n/dev/mapper/vg-root / xfs rw 0 0\n/dev/sdd1 /a\\040b ext4 rw 0 0\nnone /x tmpfs rw 0 0"
    )
    assert own({"/proc/mounts": mounts}) == {"sdb", "sdc", "sdd"}


def test_swap_counts_but_not_a_swap_file() -> None:
    swaps = "Filename Type Size Used Priority\n/dev/dm-1 partition 8 0 -2\n/var/swap file 8 0 -3\nshort"
    assert own({"/proc/swaps": swaps}) == {"sda"}


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("root=/dev/sdd1", {"sdd"}),
        ("root=UUID=1c5e-AA", {"sdb"}),
        ("root=LABEL=system", {"sdb"}),
        ("root=PARTLABEL=hal-root", {"sdb"}),
        ("root=/dev/disk/by-uuid/1c5e-aa", {"sdb"}),
        ("root=/dev/sda1 root=/dev/sdd1", {"sdd"}),
        ("root=/dev/mapper/vg-root", {"sdb", "sdc"}),
        ("root=ZFS=tank/root", set()),
        ("quiet notroot=/dev/sda1", set()),
        ("root=UUID=", set()),
    ],
)
def test_the_command_line_is_asked_if_no_mount_leads_to_a_disk(root: str, expected: set[str]) -> None:
    files = {
        "/proc/cmdline": f"BOOT_IMAGE=/vmlinuz {root} ro",
        "/sys/class/block/sdb1/dev": "8:17",
        "/run/udev/data/b8:17": "E:ID_FS_UUID=1C5E-AA\nE:ID_FS_LABEL=system\nE:ID_PART_ENTRY_NAME=hal-root",
    }
    assert own(files) == expected
    mounted = {**files, "/proc/self/mountinfo": "27 1 0:9 / / rw - ext4 /dev/sda1 rw"}
    assert own(mounted) == {"sda"}


def test_a_stack_that_is_its_own_slave_ends() -> None:
    files = {"/proc/swaps": "Filename\n/dev/dm-7 partition", "/sys/class/block/dm-7/slaves/dm-7/x": ""}
    assert own(files) == set()


def test_udev_values_are_decoded_and_harmless() -> None:
    assert udevdb.decode(r"WDC\x20WD40\xc3\xa9\x20\x20\x1b[2J\x2") == r"WDC WD40é  [2J\x2"
    assert udevdb.properties("E:ID_PATH=a=b\nE:OTHER=x\nE:ID_BUS") == {"ID_PATH": "a=b", "ID_BUS": ""}


@pytest.mark.parametrize("page", [b"", b"\0\x80", b"\0\x80\xff\xff", b"\0\x80\0\0junk"])
def test_a_page_cut_short_is_no_serial(page: bytes) -> None:
    assert blockdev.page80(page) == ""
