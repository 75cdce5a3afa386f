"""A real NIC in place of a virtual one, where hal-netcfg has made one ready (/run/hal/netcfg/direct.json, a contract).

What :mod:`hal_core.lent` is for others; the launcher imports less. QEMU from 9.0 on gets descriptors: of the device,
and of an iommufd. An older one opens two nodes itself, /dev/vfio/vfio and that of the NIC's IOMMU group, which is
given to its user.

A NIC that cannot be handed over must not keep the product from starting. So all that QEMU would do with it is tried
here first, and where that fails the product has its virtual NIC, without a link, as if a cable were out.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys

from hal_core import quickjson
from hal_core.errors import HostError

TYPE_CHECKING = False  # typing.TYPE_CHECKING, without importing typing
if TYPE_CHECKING:
    from typing import Any, Callable

SYSFS = "/sys/bus/pci/devices"
DEV = "/dev"

# include/uapi/linux/vfio.h
_GET_STATUS, _SET_CONTAINER, _SET_IOMMU = 0x3B67, 0x3B68, 0x3B66
_VIABLE = 0x1
_TYPE1_V2 = 3

# udev gives a node its label a moment after the kernel has made it, and at boot that may be the moment before this one.
_ATTEMPTS, _PAUSE_SECONDS = 40, 0.05


def ready(run_dir: str) -> dict[int, str]:
    """Which PCI device is there for which NIC of the product's.

    :raise HostError: what is written down cannot be understood.
    """
    path = os.path.join(run_dir, "netcfg", "direct.json")
    try:
        with open(path, encoding="utf-8") as file:
            return {int(lan): _address(one["device"]) for lan, one in quickjson.loads(file.read()).items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise HostError(f"{path} is damaged: {error}") from None


def take(plan: dict[str, Any], run_dir: str, uid: int | None, program: str, place: Callable[[int, int], None]) -> None:
    """Change the plan for every NIC that is ready, and open what QEMU is to have open for it.

    :param uid: of QEMU's user; None: ours.
    :param place: gives a descriptor the number that QEMU expects.
    """
    try:
        devices = ready(run_dir)
    except HostError as error:
        _warn(program, error.message)
        return
    for direct in plan["directs"]:
        address = devices.get(direct["lan"])
        if address is None:
            continue
        try:
            by_fd = _hand_over(address, direct, uid, place)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            _warn(program, f"NIC {direct['lan']} ({address}): {where}{error.strerror}")
            continue
        _replace(plan, direct, address, by_fd)


def _hand_over(address: str, direct: dict[str, Any], uid: int | None, place: Callable[[int, int], None]) -> bool:
    """Whether by descriptors.

    :raise OSError: it cannot be.
    """
    group = os.path.basename(os.readlink(f"{SYSFS}/{address}/iommu_group"))
    node = f"{DEV}/vfio/{group}"
    device = _device_node(address) if direct["fd"] >= 0 else ""
    if os.path.exists(node) or not device:  # a kernel may have the one way, or the other, or both
        _try(node)
    if device:
        try:
            place(os.open(device, os.O_RDWR | os.O_CLOEXEC), direct["fd"])
            # The same number for all of them: one that is opened again takes the last one's place.
            place(os.open(f"{DEV}/iommu", os.O_RDWR | os.O_CLOEXEC), direct["iommufd"])
        except OSError:
            if not os.path.exists(node):
                raise  # else the other way is as good: a policy may know only that
        else:
            return True
    if uid is not None:
        os.chown(node, uid, -1)
    return False


def _device_node(address: str) -> str:
    """The node of the device alone, "/dev/vfio/devices/vfio0"; "" before Linux 6.6, or where it was built without."""
    try:
        names = os.listdir(f"{SYSFS}/{address}/vfio-dev")
    except FileNotFoundError:
        return ""
    path = f"{DEV}/vfio/devices/{names[0]}" if names else ""
    return path if os.path.exists(path) and os.path.exists(f"{DEV}/iommu") else ""


def _try(node: str) -> None:
    """What QEMU will do: take the group, and put it behind the IOMMU (Documentation/driver-api/vfio.rst).

    :raise OSError: the kernel refuses it.
    """
    group = _open_soon(node)
    try:
        answer = fcntl.ioctl(group, _GET_STATUS, struct.pack("=II", 8, 0))
        if not struct.unpack("=II", answer)[1] & _VIABLE:
            raise OSError(1, "another device of its IOMMU group is the host's", node)
        container = os.open(f"{DEV}/vfio/vfio", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(group, _SET_CONTAINER, struct.pack("=i", container))
            fcntl.ioctl(container, _SET_IOMMU, _TYPE1_V2)
        finally:
            os.close(container)
    finally:
        os.close(group)


def _open_soon(node: str) -> int:
    for _ in range(_ATTEMPTS - 1):
        try:
            return os.open(node, os.O_RDWR | os.O_CLOEXEC)
        except PermissionError:
            select.select([], [], [], _PAUSE_SECONDS)
    return os.open(node, os.O_RDWR | os.O_CLOEXEC)


def _replace(plan: dict[str, Any], direct: dict[str, Any], address: str, by_fd: bool) -> None:
    netdev, nic = direct["replaces"]
    argv: list[str] = plan["argv"]
    index = argv.index(netdev)
    del argv[index - 1 : index + 1]
    if by_fd:
        argv[argv.index(nic)] = f"{direct['device']},fd={direct['fd']},iommufd=iommufd"
        if not any(word.startswith("iommufd,") for word in argv):
            argv += ["-object", f"iommufd,id=iommufd,fd={direct['iommufd']}"]
    else:
        argv[argv.index(nic)] = f"{direct['device']},host={address}"
    for kind in ("taps", "nodes"):
        plan[kind] = [one for one in plan[kind] if one["fd"] not in direct["unused"]]
    plan["memlock"] = plan["direct_memlock"]


def _address(text: object) -> str:
    if not isinstance(text, str) or not text or text.strip("0123456789abcdef:."):
        raise ValueError(f"{text!r} is no PCI address")
    return text


def _warn(program: str, message: str) -> None:
    sys.stderr.write(f"<4>{program}: {message}; the product gets a virtual NIC without a link in its place\n")
