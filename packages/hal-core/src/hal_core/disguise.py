"""Replacing what identifies a server by something of the same shape, the same everywhere, that leads nowhere.

A serial number keeps its length, its punctuation, and which of its characters are digits, capitals and small letters.
A MAC keeps its vendor's half and a WWN its vendor's part, since drivers and engineers look at those. The replacements
come from HMAC-SHA256 under a key that is forgotten afterwards (RFC 2104), so they cannot be led back, not even by
trying all serial numbers of a vendor.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

MAC = re.compile(r"(?<![0-9a-fA-F:])(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}(?![0-9a-fA-F:])")
UUID = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9a-fA-F])")
# NAA types 2, 3, 5 and 6 (SPC-4, 7.8.6.6), 64 or 128 bits.
_WWN = re.compile("[2356][0-9a-f]{15}(?:[0-9a-f]{16})?")

_DIGITS = "0123456789"
_HEX = "0123456789abcdef"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
# What firmware says when nobody gave it a serial number or an asset tag. It identifies nothing.
_PLACEHOLDER = re.compile(
    r"[\s0.x:-]*|(?:ff:){5}ff|0?123456789|n/?a|none|null|empty|invalid|unknown|oem|default string"
    r"|not .*(?:specified|available|set)"
    r"|to be filled.*|no asset (?:tag|information).*|asset[ -_]?tag.*|(?:system|chassis|base ?board) serial.*",
    re.IGNORECASE,
)
# Which secrets are looked for outside the field that they were found in: an asset tag may be "DELL", "7" or "10000",
# and would be found everywhere. Those of less than 12 characters are not looked for inside other words either.
_TELLING = re.compile(r"(?=.*[0-9])(?=.*[^0-9]).{5,}|.{8,}", re.DOTALL)
_LONG = 12


class Disguise:
    """One recording's replacements.

    :param key: random, at least 16 bytes; the same key gives the same replacements.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: dict[str, str] = {}  # lower case and with underscores, to its replacement
        self._used: set[str] = set()
        self._pattern = re.compile(r"(?!)")

    def learn(self, secrets: Iterable[str]) -> None:
        """These, and every MAC and UUID, are replaced by :meth:`text` from now on."""
        for secret in secrets:
            if not is_placeholder(secret):
                self._replacement(secret.strip())
        longest_first = sorted(self._known, key=lambda secret: (-len(secret), secret))
        found = [_pattern(secret) for secret in longest_first if _TELLING.fullmatch(secret)]
        self._pattern = re.compile("|".join([MAC.pattern, UUID.pattern, *found]), re.IGNORECASE)

    def whole(self, secret: str) -> str:
        """The replacement of a field that is one secret; placeholders stay as they are."""
        stripped = secret.strip()
        if is_placeholder(stripped):
            return secret
        return secret.replace(stripped, self._replacement(stripped))

    def text(self, text: str) -> str:
        """A text with all secrets in it replaced."""
        return self._pattern.sub(lambda match: self.whole(match[0]), text)

    def _replacement(self, secret: str) -> str:
        compact = secret.replace(":", "").replace("-", "").lower()
        if MAC.fullmatch(secret):
            return _shaped_like(secret, self._mapped(compact, keep=6))
        if UUID.fullmatch(secret):
            return _shaped_like(secret, self._mapped(compact, keep=0))
        canonical = re.sub(r"\s", "_", secret.lower())
        if _WWN.fullmatch(canonical):
            first, rest = canonical[:16], canonical[16:]
            # Volumes of one controller share the first half, and must go on sharing it.
            mapped = self._mapped(first, keep=7) + (self._mapped(canonical, keep=0)[16:] if rest else "")
        else:
            mapped = self._mapped(canonical, keep=0)
        return _shaped_like(secret, mapped)

    def _mapped(self, canonical: str, keep: int) -> str:
        known = self._known.get(canonical)
        if known is not None:
            return known
        for attempt in range(64):
            new = canonical[:keep] + self._made_up(canonical, attempt)[keep:]
            if new != canonical and new not in self._used:
                break  # two secrets look alike only where so few shapes exist that all are taken
        self._known[canonical] = new
        self._used.add(new)
        return new

    def _made_up(self, canonical: str, attempt: int) -> str:
        is_hex = (
            len(canonical) >= 12 and not canonical.isdigit() and all(char in _HEX or char in "-_" for char in canonical)
        )
        noise = b""
        while len(noise) < len(canonical):
            message = b"%d\0%d\0%s" % (attempt, len(noise), canonical.encode("utf-8", "surrogateescape"))
            noise += hmac.new(self._key, message, hashlib.sha256).digest()
        return "".join(_char(char, value, is_hex) for char, value in zip(canonical, noise))


def is_placeholder(text: str) -> bool:
    """True for what firmware puts where nothing is known."""
    return bool(_PLACEHOLDER.fullmatch(text.strip()))


def _char(char: str, value: int, is_hex: bool) -> str:
    if is_hex and char in _HEX:
        return _HEX[value % 16]
    if char in _DIGITS:
        return _DIGITS[value % 10]
    if char in _LETTERS:
        return _LETTERS[value % 26]
    return char if char.isascii() else _LETTERS[value % 26]


def _shaped_like(original: str, mapped: str) -> str:
    """The replacement with the original's capitals, white space and separators."""
    new = iter(mapped.upper() if original.isupper() else mapped)
    separators = ":-" if len(mapped) < len(original) else ""
    shaped = []
    for char in original:
        if char in separators:
            shaped.append(char)
            continue
        replaced = next(new, "")
        shaped.append(char if char.isspace() else replaced.upper() if char.isupper() else replaced)
    return "".join(shaped)


def _pattern(canonical: str) -> str:
    pattern = re.escape(canonical).replace("_", r"[\s_]")
    return pattern if len(canonical) >= _LONG else rf"(?<![0-9A-Za-z]){pattern}(?![0-9A-Za-z])"
