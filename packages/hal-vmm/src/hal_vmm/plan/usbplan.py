"""The product's USB ports: hal-udev plugs into them what is plugged into the server.

Thirty-two devices are what fits: 45 ports on three xHCI controllers, or 36 on six EHCI ones, each of which has three
UHCI companions for slow devices and six ports, as in the ICH9 of a real server. There are no hubs: QEMU's only one is a
USB 1 hub, and would slow every device behind it down. A product of the era ``ide`` has two of those controllers, as an
ICH9 has: its kernel lets a UHCI run a thousand times a second even when nothing is plugged in.

A product that was installed when there was one controller keeps that one: :mod:`hal_vmm.plan.pinned`.
"""

from __future__ import annotations

from dataclasses import dataclass

from hal_vmm.era import Era
from hal_vmm.plan import slots

XHCI_PORTS, EHCI_PORTS = 15, 6  # QEMU's most (hw/usb/hcd-xhci.h, hcd-ehci.h)
_EHCI_FUNCTION = 7  # as in the ICH9: its companions are functions 0 to 2 of the same slot


@dataclass(frozen=True)
class UsbController:
    """One controller, with its companions."""

    id: str  # QEMU's: "xhci"
    slot: int
    function: int
    ports: int

    @property
    def bus(self) -> str:
        """QEMU's name for what its ports are on: "xhci.0"."""
        return f"{self.id}.0"


def plan(era: Era, count: int) -> tuple[UsbController, ...]:
    """:param count: how many the product has, or has had so far."""
    if era.usb == ("qemu-xhci",):
        return tuple(UsbController(_id("xhci", index), slots.XHCI, index, XHCI_PORTS) for index in range(count))
    return tuple(
        UsbController(_id("ehci", index), slot, _EHCI_FUNCTION, EHCI_PORTS)
        for index, slot in zip(range(count), slots.OLD_USB)
    )


def most(era: Era) -> int:
    """How many there is a place for."""
    return slots.FUNCTIONS if era.usb == ("qemu-xhci",) else len(slots.OLD_USB)


def _id(name: str, index: int) -> str:
    return f"{name}{index + 1}" if index else name
