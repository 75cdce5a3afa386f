"""What a USB device is: see :mod:`hal_core.machine`, which has it, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

# A USB interface's class; with its subclass "boot interface" and protocol "keyboard" (HID 1.11, 4.2 and 4.3).
HID = "03"
BOOT_KEYBOARD = (HID, "01", "01")


@dataclass(frozen=True)
class UsbInterface:
    """What a USB device does: a composite device has several."""

    number: int
    class_id: str  # two hex digits, "08" is storage (usb.org, "Defined Class Codes")
    subclass: str
    protocol: str
    driver: str  # the host's: "usb-storage"; "usbfs" where a program has it, as QEMU does; "" for none
    ttys: tuple[str, ...] = ()  # "ttyUSB0": the host's serial ports on it


@dataclass(frozen=True)
class UsbDevice:
    """A plugged-in USB device; hubs are listed too, with ``hub`` set."""

    port: str  # the physical port path, "1-1.4": the only stable name (the device number changes on every replug)
    vendor_id: str  # "046d"
    product_id: str
    manufacturer: str
    product: str
    serial: str
    speed_mbps: Optional[int]
    hub: bool
    path: str = ""  # "0000:00:14.0/usb2/1.4": the port, however the kernel numbers its buses; "" if unknown
    bus: Optional[int] = None  # both are in the name of its node, /dev/bus/usb/001/005
    number: Optional[int] = None  # another one after every replug
    configured: bool = True  # False: the kernel could not read what it is, or has no power for it
    interfaces: tuple[UsbInterface, ...] = ()
    hal_device: bool = False  # it carries a file system that the host has mounted: HAL's own
    token: Optional[bool] = None  # of what looks like a keyboard: it is a security token (FIDO); None: not known

    @property
    def keyboard(self) -> bool:
        """It looks like one, or like a receiver: it types, and all of it is HID, unlike a token with a smart card."""
        return all(one.class_id == HID for one in self.interfaces) and any(
            (one.class_id, one.subclass, one.protocol) == BOOT_KEYBOARD for one in self.interfaces
        )
