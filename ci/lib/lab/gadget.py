"""USB devices that the host's own kernel plays, by dummy_hcd, for what QEMU cannot plug in: several functions of HID.

A FAKE device at a FAKE controller; all above is real, from the kernel's USB core and HID drivers on. (Linux,
Documentation/usb/gadget_configfs.rst and gadget_hid.rst.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: What plays them; Enterprise Linux's kernel has none.
MODULES = ("dummy_hcd", "usb_f_hid")
_MOST = 2
_CONFIGFS = "/run/gadgets"
_ROOT = f"{_CONFIGFS}/usb_gadget"


@dataclass(frozen=True)
class Function:
    """One interface of HID.

    :ivar kind: subclass and protocol, (1, 1) for a boot keyboard
    :ivar report: its longest report, in bytes
    :ivar descriptor: its report descriptor
    """

    kind: tuple[int, int]
    report: int
    descriptor: bytes


@dataclass(frozen=True)
class Gadget:
    """A device.

    :ivar ids: vendor and product
    """

    ids: tuple[int, int]
    serial: str
    functions: Sequence[Function]


def controllers() -> str:
    """A script for sh: the host gets controllers, with room for two devices."""
    # By systemd: a shell of the host's, which came by the agent, may not run mount(8) where SELinux enforces.
    mount = f"systemd-mount --quiet --fsck=no --type=configfs configfs {_CONFIGFS}"
    return f"set -e; modprobe dummy_hcd num={_MOST}; modprobe usb_f_hid; {mount}"


def plug(gadget: Gadget, controller: int) -> str:
    """A script for sh: plug it into one of them, from 0."""
    vendor, product = gadget.ids
    lines = [
        "set -e",
        f"mkdir {_ROOT}/g{controller}; cd {_ROOT}/g{controller}",
        f"echo {vendor} >idVendor; echo {product} >idProduct",
        f"mkdir strings/0x409 configs/c.1; echo {gadget.serial} >strings/0x409/serialnumber",
    ]
    for number, function in enumerate(gadget.functions):
        place = f"functions/hid.g{controller}n{number}"
        subclass, protocol = function.kind
        descriptor = "".join(f"\\{byte:03o}" for byte in function.descriptor)
        lines += [
            f"mkdir {place}; echo {subclass} >{place}/subclass; echo {protocol} >{place}/protocol",
            f"echo {function.report} >{place}/report_length; printf '{descriptor}' >{place}/report_desc",
            f"ln -s {place} configs/c.1",
        ]
    return "\n".join([*lines, f"echo dummy_udc.{controller} >UDC"])


def pull(controller: int) -> str:
    """A script for sh: pull it out."""
    return f"echo '' >{_ROOT}/g{controller}/UDC"
