"""The files that HAL's configuration is read from, in the order in which later ones override earlier ones.

1. ``/usr/lib/hal/hal.toml``: the defaults that the packages ship, every key documented in place
2. ``/etc/hal/hal.toml``: the administrator's file
3. ``/etc/hal/hal.toml.d/*.toml``, by name: for other packages and for automation

None of them has to exist. What they may say is not known here: see :mod:`hal_core.config`.
"""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass, field
from typing import Any, Optional

from hal_core import paths
from hal_core.errors import ConfigError

_LARGEST_BYTES = 1 << 20  # a hundred times any real one: a wrong file, a device, a runaway generator


@dataclass(frozen=True)
class ConfigFile:
    """One file that exists, with either what it says or why it could not be read."""

    path: str
    content: dict[str, Any] = field(default_factory=dict)
    problem: Optional[ConfigError] = None


def read() -> list[ConfigFile]:
    """Every configuration file that exists, in order. A file that cannot be read is in the list with its problem."""
    directory = os.path.join(paths.config_dir(), "hal.toml.d")
    files = [os.path.join(paths.defaults_dir(), "hal.toml"), os.path.join(paths.config_dir(), "hal.toml")]
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        names = []
    except OSError as error:
        return [*_existing(files), ConfigFile(directory, problem=_unreadable(directory, error))]
    # A name with a leading dot is an editor's or a package manager's temporary file, as the shell's * has it too.
    files += [os.path.join(directory, name) for name in names if name.endswith(".toml") and name[0] != "."]
    return _existing(files)


def _existing(files: list[str]) -> list[ConfigFile]:
    # A link to nowhere exists: somebody meant something by it.
    return [_read_one(path) for path in files if os.path.lexists(path)]


def _read_one(path: str) -> ConfigFile:
    try:
        # Not blocking, so that a FIFO put there by mistake does not hang every command.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return ConfigFile(path, problem=ConfigError(f"{path}: cannot be read: not a regular file"))
            data = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        return ConfigFile(path, problem=_unreadable(path, error))
    if len(data) > _LARGEST_BYTES:
        return ConfigFile(path, problem=ConfigError(f"{path}: larger than {_LARGEST_BYTES} bytes, the most allowed"))
    try:
        return ConfigFile(path, content=parse(data))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        wrong = f"byte 0x{data[error.start]:02x} in line {line} is not UTF-8, which is what TOML is written in"
        return ConfigFile(path, problem=ConfigError(f"{path}: {wrong}"))
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        return ConfigFile(path, problem=ConfigError(f"{path}: not valid TOML: {reason}", hint=_toml_hint(reason)))


def parse(data: bytes) -> dict[str, Any]:
    """What a TOML file says; a UTF-8 byte order mark, as some editors put there, is passed over.

    :raise ValueError: not TOML. :raise UnicodeDecodeError: not UTF-8 (a ValueError too).
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    content: dict[str, Any] = tomllib.loads(data.decode("utf-8-sig"))
    return content


def _unreadable(path: str, error: OSError) -> ConfigError:
    return ConfigError(f"{path}: cannot be read: {error.strerror or error}")


def _toml_hint(reason: str) -> str:
    return "texts need quotation marks, true and false have none" if "Invalid value" in reason else ""
