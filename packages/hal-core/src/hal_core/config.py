"""Configuration: a package declares its table of hal.toml as a frozen dataclass, and loads it checked.

::

    @dataclass(frozen=True)
    class ConsoleConfig:
        tty: int = option(1, "Virtual terminal that shows the product's screen.", low=1, high=63)
        keys: KeysConfig = section(KeysConfig, "Keys that HAL keeps for itself.")
        port: Mapping[int, PortConfig] = numbered(PortConfig, "One serial port.", low=0, high=3)

    config = load(ConsoleConfig, "console")

What no single key can say, such as two keys that exclude each other, a table's class says in a method ``wrong``; see
:class:`Checked`.

The declaration is all there is: the checks, the messages, the documented ``hal.toml`` and hal.toml(5)
(:mod:`hal_core.config_doc`) come from it. Files and their order: :mod:`hal_core.config_files`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Protocol, TypeVar, Union, cast, runtime_checkable

from hal_core import config_files
from hal_core.config_values import Option, Rejected, show, show_key
from hal_core.errors import ConfigError

#: One table per package. Any other is a typing mistake; one of a package that is not installed here is not.
TABLES = ("core", "vmm", "console", "udev", "netcfg", "snmpd", "syslog", "access", "collectd", "installer")

T = TypeVar("T")
Number = Union[int, float]


@runtime_checkable
class Checked(Protocol):
    """A table whose values are also looked at together, once each of them is allowed by itself."""

    def wrong(self) -> Iterator[ConfigError]:
        """What makes no sense. A message begins with the key, "udev.keep[0]: …"; it may be in any of the files."""


@dataclass(frozen=True)
class Section:
    """A sub-table, ``[vmm.cpu]``, or any number that are alike: ``[netcfg.lan.0]``, or in a row, ``[[udev.keep]]``."""

    name: str
    doc: str
    cls: type[Any]
    numbers: Sequence[int] = ()  # that those may have; empty: it is one table, and has none
    in_a_row: bool = False  # an array of tables (toml.io/en/v1.0.0#array-of-tables)

    @property
    def allowed(self) -> str:
        """Which numbers, in words: "0 to 127"."""
        return f"{self.numbers[0]} to {self.numbers[-1]}"


def option(
    default: T,
    doc: str,
    *,
    low: Optional[Number] = None,
    high: Optional[Number] = None,
    choices: Sequence[object] = (),
    pattern: str = "",
) -> T:
    """A field of a configuration table: ``str``, ``int``, ``bool``, ``float``, or a tuple of ``str`` or ``int``.

    :param doc: plain text, sentences; the unit of a number is said here.
    :param low, high: allowed range, inclusive. Of a tuple, every limit holds for each of its items.
    :param pattern: regular expression that the whole text must match.
    """
    limits = {"doc": doc, "low": low, "high": high, "choices": tuple(choices), "pattern": pattern}
    return dataclasses.field(default=default, metadata={"option": limits})


def section(cls: type[T], doc: str) -> T:
    """A field that is itself such a table."""
    return dataclasses.field(default_factory=cls, metadata={"section": (doc, cls)})


def numbered(cls: type[T], doc: str, *, low: int, high: int) -> Mapping[int, T]:
    """A field of such tables by number, in its order: those that the files have, so none by default.

    :param low, high: allowed numbers, inclusive.
    """
    return dataclasses.field(default_factory=dict, metadata={"section": (doc, cls, range(low, high + 1))})


def listed(cls: type[T], doc: str) -> tuple[T, ...]:
    """A field of such tables in a row, ``[[udev.keep]]``: none by default; those of a later file replace them all."""
    return dataclasses.field(default=(), metadata={"section": (doc, cls, (), True)})


def declared(cls: type[Any]) -> dict[str, Union[Option, Section]]:
    """What a configuration dataclass declares, by key, in order. The field ``class_`` has the key ``class``.

    :raise TypeError: a field is not made by :func:`option`, :func:`section`, :func:`numbered` or :func:`listed`, or has
        a type that an option cannot have.
    """
    found: dict[str, Union[Option, Section]] = {}
    for field in dataclasses.fields(cls):
        key = _key(field)
        if "section" in field.metadata:
            found[key] = Section(key, *field.metadata["section"])
        elif "option" in field.metadata:
            kind = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))
            kind = str(field.type) if kind == "tuple" else kind
            found[key] = Option(key, kind, field.default, **field.metadata["option"])
        else:
            raise TypeError(f"{cls.__name__}.{field.name} is made by none of option(), section(), numbered(), listed()")
    return found


def load(cls: type[T], table: str) -> T:
    """The table as all files together have it, later ones overriding earlier ones key by key.

    :raise ConfigError: the first thing that is wrong in any file. Nothing has been changed then; exit status 78.
    """
    values, problems_found = _collect(cls, table)
    for problem in problems_found:
        raise problem
    built = _build(cls, values)
    for problem in _wrong_together(built):
        raise problem
    return built


def problems(cls: type[Any], table: str) -> list[ConfigError]:
    """Everything that :func:`load` would raise, were it to go on, in the order of the files."""
    values, found = _collect(cls, table)
    return found or list(_wrong_together(_build(cls, values)))


def file_problems(file: config_files.ConfigFile) -> Iterator[ConfigError]:
    """What is wrong with a file whoever looks at it: not readable, not TOML, a table that no package has."""
    if file.problem:
        yield file.problem
    for name, value in file.content.items():
        if name in TABLES:
            continue
        if isinstance(value, dict):
            what, hint = f"[{show_key(name)}]: no such table", _did_you_mean(name, TABLES)
        else:
            what, hint = f"{show_key(name)} = {show(value)}: not in any table", "write it under its table, as [vmm]"
        yield ConfigError(f"{file.path}: {what}; allowed are {', '.join(TABLES)}", hint)


def _collect(cls: type[Any], table: str) -> tuple[dict[str, Any], list[ConfigError]]:
    values: dict[str, Any] = {}
    found: list[ConfigError] = []
    for file in config_files.read():
        found.extend(file_problems(file))
        if table in file.content:
            found.extend(_take(cls, file.content[table], f"{file.path}: {table}", values))
    return values, found


def _take(cls: type[Any], content: object, where: str, values: dict[str, Any]) -> Iterator[ConfigError]:
    """Add what one file says in one table to ``values``; yields what is wrong with it."""
    if not isinstance(content, dict):
        yield ConfigError(f"{where} = {show(content)}: allowed is a table")
        return
    known = declared(cls)
    for key, value in content.items():
        declaration = known.get(key)
        if declaration is None:
            yield ConfigError(
                f"{where}.{show_key(key)}: no such key; allowed are {', '.join(known)}", _meant_key(key, cls)
            )
        elif isinstance(declaration, Section) and declaration.numbers:
            yield from _take_numbered(declaration, value, f"{where}.{key}", values.setdefault(key, {}))
        elif isinstance(declaration, Section) and declaration.in_a_row:
            values[key] = []
            yield from _take_listed(declaration, value, f"{where}.{key}", values[key])
        elif isinstance(declaration, Section):
            yield from _take(declaration.cls, value, f"{where}.{key}", values.setdefault(key, {}))
        else:
            try:
                values[key] = declaration.accept(value)
            except Rejected as rejected:
                found = f"{where}.{key}{rejected.index} = {show(rejected.value)}"
                hint = _did_you_mean(rejected.value, declaration.choices)
                yield ConfigError(f"{found}: allowed is {rejected.allowed}", hint)


def _take_numbered(section: Section, content: object, where: str, values: dict[int, Any]) -> Iterator[ConfigError]:
    if not isinstance(content, dict):
        yield ConfigError(f"{where} = {show(content)}: allowed are tables with numbers from {section.allowed}")
        return
    known = {str(number): number for number in section.numbers}  # TOML's keys are texts: 07 would be another than 7
    for key, value in content.items():
        if key in known:
            yield from _take(section.cls, value, f"{where}.{key}", values.setdefault(known[key], {}))
        else:
            found = f"{where}.{show_key(key)}: no such number"
            yield ConfigError(f"{found}; allowed are {section.allowed}", _meant_number(key, section))


def _take_listed(section: Section, content: object, where: str, values: list[dict[str, Any]]) -> Iterator[ConfigError]:
    if not isinstance(content, list):
        yield ConfigError(f"{where} = {show(content)}: allowed are tables in a row, [[…{section.name}]]")
        return
    for index, table in enumerate(content):
        values.append({})
        yield from _take(section.cls, table, f"{where}[{index}]", values[-1])


def _build(cls: type[T], values: dict[str, Any]) -> T:
    known = declared(cls)
    fields = {_key(field): field.name for field in dataclasses.fields(cast(Any, cls))}
    return cls(**{fields[key]: _built(known[key], value) for key, value in values.items()})


def _wrong_together(built: object) -> Iterator[ConfigError]:
    if isinstance(built, Checked):
        yield from built.wrong()


def _key(field: dataclasses.Field[Any]) -> str:
    """A keyword of Python's can be a key, and no field."""
    return field.name.rstrip("_")


def _built(declaration: Union[Option, Section], value: Any) -> object:
    if isinstance(declaration, Option):
        return value
    if declaration.in_a_row:
        return tuple(_build(declaration.cls, one) for one in value)
    if not declaration.numbers:
        return _build(declaration.cls, value)
    return {number: _build(declaration.cls, value[number]) for number in sorted(value)}


def _meant_key(key: str, cls: type[Any], prefix: str = "") -> str:
    """A hint at a similar key here, or at one of this very name in a sub-table: a forgotten ``[vmm.memory]`` line."""
    dotted = list(_dotted(cls, prefix))
    elsewhere = [name for name in dotted if name.endswith(f".{key}")]
    return f'did you mean "{elsewhere[0]}"?' if elsewhere else _did_you_mean(key, dotted)


def _meant_number(key: str, section: Section) -> str:
    """A hint at the number as it has to be written, or at a key that is to have one: a forgotten ``.0``."""
    written = [str(number) for number in section.numbers]
    plain = key.lstrip("0") or key[-1:]
    return f'did you mean "{plain}"?' if plain in written else _meant_key(key, section.cls, f"{written[0]}.")


def _dotted(cls: type[Any], prefix: str = "") -> Iterator[str]:
    for key, declaration in declared(cls).items():
        yield prefix + key
        if isinstance(declaration, Section):
            number = f"{declaration.numbers[0]}." if declaration.numbers else ""
            yield from _dotted(declaration.cls, f"{prefix}{key}.{number}")


def _did_you_mean(given: object, known: Sequence[object]) -> str:
    import difflib  # only when something is wrong: it is slow to import

    texts = [name for name in known if isinstance(name, str)]
    close = difflib.get_close_matches(given, texts, n=1) if isinstance(given, str) else []
    return f'did you mean "{close[0]}"?' if close else ""
