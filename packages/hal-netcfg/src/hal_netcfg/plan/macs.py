"""What a NIC of the host wears instead of its permanent MAC address, which the product wears."""

from __future__ import annotations

_LOCAL = 0x02  # the U/L bit of the first octet: IEEE 802-2014, 8.2


def host_mac(permanent: str) -> str:
    """A locally administered address for the host's NIC; the same on every boot, another one for every NIC.

    The permanent address with its U/L bit set. So two HAL servers on one LAN differ, because their permanent addresses
    do. A permanent address that is locally administered itself (a virtual machine's) gets another bit changed: equal to
    the product's it must not be, or the bridge would keep the product's frames for the host.

    :param permanent: lower case, with colons.
    """
    first, rest = int(permanent[:2], 16), permanent[2:]
    return f"{first ^ 0x40 if first & _LOCAL else first | _LOCAL:02x}{rest}"
