"""Devices that hal.toml keeps for the host, by any name that an administrator would use for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hal_core.errors import ConfigError

EVERYTHING = "*"


class Keepers:
    """The names listed under one key, and which of them have been seen on this server."""

    def __init__(self, key: str, names: Sequence[str]) -> None:
        self.key = key
        self._names = frozenset(name.lower() for name in names)
        self._unseen = {name.lower(): name for name in names if name != EVERYTHING}

    def keeps(self, names: Iterable[str]) -> bool:
        """Whether a device with these names (empty ones do not count) stays with the host."""
        given = {name.lower() for name in names if name} & self._names
        for name in given:
            self._unseen.pop(name, None)
        return bool(given) or EVERYTHING in self._names

    @property
    def absent(self) -> tuple[str, ...]:
        """The names, in small letters, that no device has had so far."""
        return tuple(self._unseen)

    def check(self, there: Sequence[str], first_time: bool) -> tuple[str, ...]:
        """Names that no device has: an error the first time, a note ever after.

        A typing mistake would hand a disk with the host's data to the product: that must not pass. Once the hardware is
        pinned, a name without a device more likely means that the device died, and then the product has to boot.

        :raise ConfigError: the first time.
        """
        if not self._unseen:
            return ()
        name = next(iter(self._unseen.values()))
        if first_time:
            raise ConfigError(
                f'{self.key}: "{name}": no such device on this server; there is {", ".join(there) or "none"}',
                "give a name as `hal facts` shows it",
            )
        return tuple(f'{self.key}: "{name}": no such device on this server now' for name in self._unseen.values())
