"""``hal check``: everything that is wrong in every configuration file, at once."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
from typing import Any

from hal_core import config, config_doc, config_files
from hal_core.errors import ConfigError

_GROUP = "hal.config"
_EPILOG = "Exit status: 0 no problems, 78 something is wrong. The files and keys are in hal.toml(5)."


def main(arguments: list[str]) -> int:
    """The command; returns its exit status.

    :raise ConfigError: an installed package's declaration cannot be loaded, and ``--defaults`` needs it.
    """
    options = _parser().parse_args(arguments)
    tables, problems = installed_tables()
    if options.defaults:
        if problems:
            raise problems[0]
        sys.stdout.write(config_doc.defaults_toml(tables))
        return 0
    files = config_files.read()
    problems += _all_problems(files, tables)
    unchecked = sorted({table for file in files for table in file.content if table in config.TABLES} - set(tables))
    if options.json:
        _print_json(files, tables, unchecked, problems)
    else:
        _print_text(files, tables, unchecked, problems)
    return ConfigError.exit_status if problems else 0


def installed_tables() -> tuple[dict[str, type[Any]], list[ConfigError]]:
    """The configuration dataclass of every installed package, in the order of ``config.TABLES``, and what is broken.

    A package announces its own in its metadata: entry point group ``hal.config``, the table's name, ``module:Class``.
    """
    found: dict[str, type[Any]] = {}
    problems: list[ConfigError] = []
    for entry in _entry_points():
        try:
            found[entry.name] = entry.load()
        except (ImportError, AttributeError, TypeError) as error:
            problems.append(ConfigError(f"table {entry.name}: {entry.value} cannot be loaded: {error}", "reinstall it"))
    return {table: found[table] for table in config.TABLES if table in found}, problems


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    if sys.version_info >= (3, 10):
        return list(importlib.metadata.entry_points(group=_GROUP))
    return list(importlib.metadata.entry_points().get(_GROUP, []))


def _all_problems(files: list[config_files.ConfigFile], tables: dict[str, type[Any]]) -> list[ConfigError]:
    """Each problem once, though every table's own check finds those that concern whole files."""
    found = [problem for file in files for problem in config.file_problems(file)]
    found += [problem for table, cls in tables.items() for problem in config.problems(cls, table)]
    return list({str(problem): problem for problem in found}.values())


def _print_text(
    files: list[config_files.ConfigFile],
    tables: dict[str, type[Any]],
    unchecked: list[str],
    problems: list[ConfigError],
) -> None:
    for problem in problems:
        print(problem)
    for table in unchecked:
        print(f"[{table}] is not checked: its package is not installed here")
    if not problems:
        print(f"{_count(files, 'file')}, {_count(tables, 'table')}: no problems")


def _print_json(
    files: list[config_files.ConfigFile],
    tables: dict[str, type[Any]],
    unchecked: list[str],
    problems: list[ConfigError],
) -> None:
    report = {
        "files": [file.path for file in files],
        "tables": list(tables),
        "unchecked": unchecked,
        "problems": [{"message": problem.message, "hint": problem.hint} for problem in problems],
    }
    print(json.dumps(report, indent=2))


def _count(things: list[config_files.ConfigFile] | dict[str, type[Any]], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hal check", description="Check HAL's configuration files.", epilog=_EPILOG)
    parser.add_argument("--json", action="store_true", help="print files, tables and problems as JSON")
    parser.add_argument("--defaults", action="store_true", help="print hal.toml with every key and its default")
    return parser
