"""Which ports of the host the product may reach: what installed packages declare, each in a file of its own.

Read are ``/usr/lib/hal/ports.d/NAME.toml`` and ``/etc/hal/ports.d/NAME.toml``. The latter replaces a packaged file of
the same name; an empty one switches it off::

    [[port]]
    protocol = "tcp"
    port = 2514
    what = "syslog (RELP)"
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hal_core import config_files, paths
from hal_core.config_values import Option, Rejected, show, show_key
from hal_core.errors import ConfigError

DIRECTORY = "ports.d"

_KEYS = (
    Option("protocol", "str", None, "Transport protocol.", choices=("tcp", "udp")),
    Option("port", "int", None, "Port on the host.", low=1, high=65535),
    # It becomes part of an nftables comment, which has at most 127 bytes, and no way to write a quotation mark.
    Option("what", "str", None, "What answers there, for people.", pattern=r"[!#-~][ !#-~]{0,59}"),
)


@dataclass(frozen=True, order=True)
class Port:
    protocol: str  # "tcp" or "udp"
    port: int
    what: str  # "syslog (RELP)"


def read() -> tuple[Port, ...]:
    """What all files together declare, sorted. Of a port that several declare, the first file by name says what it is.

    :raise ConfigError: the first thing that is wrong in any file.
    """
    found: dict[tuple[str, int], Port] = {}
    for path in _files():
        for port in _declared(path):
            found.setdefault((port.protocol, port.port), port)
    return tuple(sorted(found.values()))


def candidates() -> list[str]:
    """The files that may be read; none where a directory cannot be."""
    try:
        return _files()
    except ConfigError:
        return []


def _files() -> list[str]:
    by_name: dict[str, str] = {}
    for base in (paths.defaults_dir(), paths.config_dir()):
        directory = os.path.join(base, DIRECTORY)
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError(f"{directory}: cannot be read: {error.strerror}") from None
        # Without those with a leading dot, as in hal.toml.d: an editor's temporary files.
        by_name.update({name: os.path.join(directory, name) for name in names if _counts(name)})
    return [by_name[name] for name in sorted(by_name)]


def _counts(name: str) -> bool:
    return name.endswith(".toml") and name[0] != "."


def _declared(path: str) -> Iterator[Port]:
    content = _content(path)
    for key in content:
        if key != "port":
            raise ConfigError(f"{path}: {show_key(key)}: no such key; allowed is [[port]]")
    entries = content.get("port", [])
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: port = {show(entries)}: allowed is [[port]], with two brackets")
    for index, entry in enumerate(entries):
        yield _port(f"{path}: port[{index}]", entry)


def _content(path: str) -> dict[str, object]:
    if not os.path.isfile(path):  # opening a FIFO would wait for its other end
        raise ConfigError(f"{path}: cannot be read: not a regular file")
    try:
        with open(path, "rb") as file:
            return config_files.parse(file.read())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid TOML: {' '.join(str(error).split())}") from None


def _port(where: str, entry: object) -> Port:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where} = {show(entry)}: allowed is a table")
    known = {option.name: option for option in _KEYS}
    for key in entry:
        if key not in known:
            raise ConfigError(f"{where}.{show_key(key)}: no such key; allowed are {', '.join(known)}")
    values: dict[str, Any] = {}
    for key, option in known.items():
        if key not in entry:
            raise ConfigError(f"{where}.{key}: missing; allowed is {option.allowed}")
        try:
            values[key] = option.accept(entry[key])
        except Rejected as rejected:
            raise ConfigError(f"{where}.{key} = {show(rejected.value)}: allowed is {rejected.allowed}") from None
    return Port(**values)
