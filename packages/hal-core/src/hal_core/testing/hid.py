"""HID report descriptors as devices have them, for made-up and recorded servers."""

from __future__ import annotations

#: Device Class Definition for HID 1.11, B.1: what a keyboard, and a token that types, say of their boot interface.
KEYBOARD = bytes.fromhex(
    "05010906a101050719e029e71500250175019508810295017508810395057501050819012905910295017503910395067508150025650507"
    "190029658100c0"
)
#: The same, B.2.
MOUSE = bytes.fromhex(
    "05010902a1010901a100050919012903150025019503750181029501750581010501093009311581257f750895028106c0c0"
)
#: FIDO's CTAP 2.0, 8.1.8.2, with packets of 64 bytes.
FIDO = bytes.fromhex("06d0f10901a1010920150026ff007508954081020921150026ff00750895409102c0")
