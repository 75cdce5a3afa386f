"""A USB device's node: opened for QEMU, after the host's drivers have let go of the device."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct

from hal_core.errors import HostError
from hal_core.machine_usb import UsbDevice

# include/uapi/linux/usbdevice_fs.h: one ioctl that has another one in it, for the driver of an interface.
_USBDEVFS_IOCTL, _DISCONNECT, _CONNECT = 0xC0105512, 0x5516, 0x5517
MAJOR = 189  # of USB devices (Linux, Documentation/admin-guide/devices.txt)
_DESCRIPTOR_BYTES = 18
_WITHOUT_DRIVER = (errno.ENODATA, errno.ENOTTY)


def open_for_qemu(path: str, device: UsbDevice) -> int:
    """The descriptor of a device that no driver of the host's has any more.

    :raise HostError: it is gone, it is another one by now, or a driver does not let go.
    """
    fd = _open(path, device)
    try:
        for interface in device.interfaces:
            if interface.driver not in ("", "usbfs"):
                _tell_driver(fd, interface.number, _DISCONNECT)
    except OSError as error:
        os.close(fd)
        raise HostError(f"{path}: the host's driver does not let go: {error.strerror}") from None
    return fd


def give_back(path: str, device: UsbDevice) -> None:
    """Let the host's drivers have the device again.

    :raise HostError: it is gone, or a driver does not want it.
    """
    fd = _open(path, device)
    try:
        for interface in device.interfaces:
            _tell_driver(fd, interface.number, _CONNECT)
    except OSError as error:
        raise HostError(f"{path}: the host's driver does not take it: {error.strerror}") from None
    finally:
        os.close(fd)


def _open(path: str, device: UsbDevice) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from None
    found = os.fstat(fd)
    try:
        is_it = _is_it(fd, found, device)
    except OSError as error:
        os.close(fd)
        raise HostError(f"{path}: {error.strerror}") from None
    if not is_it:
        os.close(fd)
        raise HostError(f"{path}: is not the device at {device.port}")
    return fd


def _is_it(fd: int, found: os.stat_result, device: UsbDevice) -> bool:
    """It has the device's numbers, and says of itself what the device says (USB 2.0 specification, 9.6.1).

    :raise OSError: it says nothing, because it is gone.
    """
    if not stat.S_ISCHR(found.st_mode) or (os.major(found.st_rdev), os.minor(found.st_rdev)) != (MAJOR, minor(device)):
        return False
    descriptor = os.pread(fd, _DESCRIPTOR_BYTES, 0)
    if len(descriptor) < _DESCRIPTOR_BYTES:
        return False
    vendor, product = struct.unpack_from("<HH", descriptor, 8)
    return (f"{vendor:04x}", f"{product:04x}") == (device.vendor_id, device.product_id)


def _tell_driver(fd: int, interface: int, what: int) -> None:
    """:raise OSError: it could not be done; not because there is no driver, or there is one already."""
    try:
        fcntl.ioctl(fd, _USBDEVFS_IOCTL, struct.pack("iiP", interface, what, 0))
    except OSError as error:
        if error.errno not in (*_WITHOUT_DRIVER, errno.EBUSY):
            raise


def minor(device: UsbDevice) -> int:
    """Of its node (Linux, drivers/usb/core/usb.c); negative where it has no numbers."""
    return ((device.bus or 0) - 1) * 128 + (device.number or 0) - 1
