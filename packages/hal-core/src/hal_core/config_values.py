"""One configuration value: what it may be, in code and in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Union

_SHOWN = 60  # characters of a wrong value that a message shows

_NOUNS = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}
_ITEMS = {"tuple[str, ...]": "str", "tuple[int, ...]": "int"}


class Rejected(Exception):
    """A value is not allowed; ``index`` says which item of an array, ``[2]``, or is empty."""

    def __init__(self, value: object, allowed: str, index: str = "") -> None:
        super().__init__(f"{show(value)}: allowed is {allowed}")
        self.value = value
        self.allowed = allowed
        self.index = index


@dataclass(frozen=True)
class Option:
    """A key of a table.

    :raise TypeError: its type is none of those that can be configured.
    """

    name: str
    kind: str  # its annotation: "str", "int", "bool", "float", "tuple[str, ...]", "tuple[int, ...]"
    default: object
    doc: str
    low: Optional[Union[int, float]] = None
    high: Optional[Union[int, float]] = None
    choices: tuple[object, ...] = ()
    pattern: str = ""

    def __post_init__(self) -> None:
        if self.kind not in (*_NOUNS, *_ITEMS):
            raise TypeError(f"{self.name}: a configuration option cannot be a {self.kind}")

    @property
    def is_array(self) -> bool:
        return self.kind in _ITEMS

    @property
    def allowed(self) -> str:
        """In words: "a whole number from 1 to 3600"."""
        return f"an array, each item {self._one_allowed}" if self.is_array else self._one_allowed

    def accept(self, value: object) -> object:
        """The value as the program uses it: an array becomes a tuple, and a whole number does for a number.

        :raise Rejected: it is not allowed.
        """
        if not self.is_array:
            return self._accept_one(value)
        if not isinstance(value, list):
            raise Rejected(value, self.allowed)
        return tuple(self._accept_one(item, f"[{index}]") for index, item in enumerate(value))

    def _accept_one(self, value: object, index: str = "") -> object:
        item_kind = _ITEMS.get(self.kind, self.kind)
        if item_kind == "float" and type(value) is int:
            value = float(value)
        # type() and not isinstance(): true is an int in Python, and is none in TOML.
        if type(value).__name__ != item_kind or not self._is_within(value):
            raise Rejected(value, self._one_allowed, index)
        return value

    def _is_within(self, value: object) -> bool:
        if self.choices and value not in self.choices:
            return False
        if isinstance(value, str):
            # It may end up in an argument list, a unit file or a line of a log: no control characters in any of them.
            return value.isprintable() and self._matches(value)
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            return False  # TOML has no more (toml.io/en/v1.0.0#integer), though Python's reader does
        if isinstance(value, (int, float)):
            low = -math.inf if self.low is None else self.low
            high = math.inf if self.high is None else self.high
            return low <= value <= high and (isinstance(value, int) or math.isfinite(value))
        return True

    def _matches(self, text: str) -> bool:
        if not self.pattern:
            return True
        import re  # only where a pattern is: it is slow to import

        return re.fullmatch(self.pattern, text) is not None

    @property
    def _one_allowed(self) -> str:
        if self.choices:
            shown = [show(choice) for choice in self.choices]
            return " or ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
        noun = _NOUNS[_ITEMS.get(self.kind, self.kind)]
        if self.pattern:
            return f"{noun} that matches {self.pattern}"
        if self.low is not None and self.high is not None:
            return f"{noun} from {self.low} to {self.high}"
        if self.low is not None:
            return f"{noun}, {self.low} or more"
        if self.high is not None:
            return f"{noun}, {self.high} or less"
        return noun


def toml(value: object) -> str:
    """A value as TOML writes it, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(_escaped(character) for character in value) + '"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    if isinstance(value, int) and value.bit_length() > 64:
        return hex(value)  # in decimal, Python refuses to print a very long one
    return str(value)


def show(value: object) -> str:
    """A value for a message: as TOML, on one line, cut off where it is long."""
    if isinstance(value, dict):
        return "a table"
    text = toml(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def show_key(key: str) -> str:
    """A key for a message: bare where TOML lets it be, in quotation marks otherwise."""
    bare = key.isascii() and key.replace("-", "_").replace("_", "a").isalnum()
    return key if bare and len(key) <= _SHOWN else show(key)


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
