"""The files that are made from the code and checked in; ``ci/generate`` writes them, a test compares them."""

from __future__ import annotations

import configparser
import importlib
from pathlib import Path
from typing import Any

from hal_core import atomic, config_doc
from hal_core.config import TABLES

ROOT = Path(__file__).resolve().parents[2]


def tables() -> dict[str, type[Any]]:
    """The configuration dataclass of every package in the working tree, as its setup.cfg announces it."""
    found: dict[str, type[Any]] = {}
    for file in sorted(ROOT.glob("packages/*/setup.cfg")):
        setup = configparser.ConfigParser()
        setup.read_string(file.read_text())
        for line in filter(None, setup.get("options.entry_points", "hal.config", fallback="").split("\n")):
            table, _, target = line.partition("=")
            module, _, name = target.strip().partition(":")
            found[table.strip()] = getattr(importlib.import_module(module), name)
    return {table: found[table] for table in TABLES if table in found}


def generated() -> dict[Path, str]:
    """What each file ought to be."""
    core = ROOT / "packages/hal-core"
    declared = tables()
    return {
        core / "etc/hal.toml": config_doc.defaults_toml(declared),
        core / "man/hal.toml.5": config_doc.man_page(declared),
    }


def main() -> None:
    for path, content in generated().items():
        changed = not path.is_file() or path.read_text() != content
        if changed:
            atomic.write(str(path), content)
        print(f"{'written' if changed else 'up to date'}: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
