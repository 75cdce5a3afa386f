"""A table of a TOML file, whose keys are taken one by one, so that what nobody took is known to be no key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NoReturn, Optional, TypeVar

from lab.errors import LabError

_Type = TypeVar("_Type")


class Table:
    """A table.

    :param where: the file, and where in it: for messages
    :raise LabError: every method, on a value that is not allowed: file, key, what was found, and what is allowed
    """

    def __init__(self, where: str, content: dict[str, Any]) -> None:
        self._where = where
        self._content = content
        self._known: list[str] = []

    def take(self, key: str, kind: type[_Type], allowed: str, default: Optional[_Type] = None) -> _Type:
        self._known.append(key)
        value = self._content.get(key, default)
        if value is None:
            raise LabError(f"{self._where}: {key} is missing; allowed: {allowed}")
        if type(value) is not kind:  # not isinstance: to Python, true is a number
            self._refuse(key, allowed)
        return value

    def text(self, key: str, form: tuple[str, str], default: Optional[str] = None) -> str:
        pattern, allowed = form
        value = self.take(key, str, allowed, default)
        if value != default and not re.fullmatch(pattern, value):
            self._refuse(key, allowed)
        return value

    def choice(self, key: str, allowed: Sequence[str]) -> str:
        value = self.take(key, str, ", ".join(allowed))
        if value not in allowed:
            self._refuse(key, ", ".join(allowed))
        return value

    def number(self, key: str, least: int, most: int, default: Optional[int] = None) -> int:
        value = self.take(key, int, f"{least} to {most}", default)
        if not least <= value <= most:
            self._refuse(key, f"{least} to {most}")
        return value

    def numbers(self, key: str) -> tuple[int, ...]:
        allowed = "a list of numbers, from 0"
        values = self.take(key, list, allowed)
        if not all(type(value) is int and value >= 0 for value in values):
            self._refuse(key, allowed)
        return tuple(values)

    def truth(self, key: str, default: Optional[bool] = None) -> bool:
        return self.take(key, bool, "true, false", default)

    def table(self, key: str) -> Table:
        return Table(f"{self._where}: [{key}]", self.take(key, dict, f"a table, [{key}]"))

    def tables(self, key: str) -> list[Table]:
        contents = self.take(key, list, f"tables, [[{key}]]", [])
        if not all(isinstance(content, dict) for content in contents):
            self._refuse(key, f"tables, [[{key}]]")
        return [Table(f"{self._where}: [[{key}]] {n}", content) for n, content in enumerate(contents, 1)]

    def end(self) -> None:
        """All keys were taken."""
        for key in self._content:
            if key not in self._known:
                raise LabError(f"{self._where}: {key}: there is no such key; allowed: {', '.join(self._known)}")

    def _refuse(self, key: str, allowed: str) -> NoReturn:
        raise LabError(f"{self._where}: {key} is {self._content[key]!r}; allowed: {allowed}")
