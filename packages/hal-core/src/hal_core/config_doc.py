"""The documentation of hal.toml, made from the packages' own declarations: the default file and the manual page.

Both are checked in (``etc/hal.toml``, ``man/hal.toml.5``) and written anew by ``ci/generate``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from hal_core.config import Section, declared
from hal_core.config_values import Option, toml

_FILE_HEAD = """\
HAL's configuration: every key there is, with its default.

With no file at all HAL works, and derives everything from the hardware: configuration is for exceptions. Do not edit
/usr/lib/hal/hal.toml. Put just what you want otherwise into /etc/hal/hal.toml or /etc/hal/hal.toml.d/NAME.toml, under
the same table, and run `hal check`. See hal.toml(5).
"""

_PAGE_HEAD = r"""
.TH HAL.TOML 5 2026-11-22 "HAL" "HAL's files"
.SH NAME
hal.toml \- HAL's configuration
.SH SYNOPSIS
.nf
/usr/lib/hal/hal.toml
/etc/hal/hal.toml
/etc/hal/hal.toml.d/*.toml
.fi
.SH DESCRIPTION
With no file at all HAL works, and derives everything from the hardware: configuration is for exceptions.
.PP
The files are TOML, in UTF\-8. They are read in the order above, those in
.I hal.toml.d
by name, and a later one overrides an earlier one key by key; an array replaces the whole earlier array. The first file
belongs to the packages and shows every key with its default: do not edit it.
.PP
There is one table per package. An unknown table or key, a value of the wrong type or out of range, and a file that
cannot be read are errors: the command says in one line which file, which key, what it found and what is allowed,
changes nothing, and ends with exit status 78. A bad value is an error even where a later file overrides it.
.BR hal\-check (1)
lists all of them at once.
.SH KEYS
"""

_PAGE_TAIL = r"""
.SH ENVIRONMENT
.TP
.B HAL_CONFIG_DIR
is used instead of
.IR /etc/hal .
.TP
.B HAL_DEFAULTS_DIR
is used instead of
.IR /usr/lib/hal .
.SH EXAMPLES
Keep a disk and 2 GiB of memory for the host, for a product that is older than virtio:
.PP
.nf
[vmm]
era = "pre\-virtio"

[vmm.memory]
host_mib = 2048

[vmm.devices]
keep_disks = ["sdb"]
.fi
.SH SEE ALSO
.BR hal (1),
.BR hal\-check (1),
.BR hal\-vmm (1)
"""


def defaults_toml(tables: Mapping[str, type[Any]]) -> str:
    """The complete default hal.toml. Reading it changes nothing: every key is given its default.

    :param tables: the configuration dataclass of each table, in the order in which they are to appear.
    """
    parts = [_comment(_FILE_HEAD)]
    for table, cls in tables.items():
        parts.extend(_toml_table(table, cls.__doc__ or "", cls))
    return "\n".join(parts)


def man_section(tables: Mapping[str, type[Any]]) -> str:
    """The keys of these tables as roff (man macros), one subsection for each table and sub-table."""
    return "".join(part for table, cls in tables.items() for part in _man_table(table, cls.__doc__ or "", cls))


def man_page(tables: Mapping[str, type[Any]]) -> str:
    """The manual page hal.toml(5)."""
    return _PAGE_HEAD.lstrip() + man_section(tables) + _PAGE_TAIL.lstrip()


def _split(cls: type[Any]) -> tuple[list[Option], list[Section]]:
    """In TOML a table's own keys come before its sub-tables."""
    found = declared(cls).values()
    return [one for one in found if isinstance(one, Option)], [one for one in found if isinstance(one, Section)]


def _head(path: str, in_a_row: bool) -> str:
    return f"[[{path}]]" if in_a_row else f"[{path}]"


def _toml_table(path: str, doc: str, cls: type[Any], mark: str = "", in_a_row: bool = False) -> Iterator[str]:
    options, sections = _split(cls)
    yield f"{_comment(doc)}{mark}{_head(path, in_a_row)}\n"
    for option in options:
        yield f"{_comment(_with_allowed(option))}{mark}{option.name} = {toml(option.default)}\n"
    for section in sections:
        inside = f"{path}.{section.name}"
        # By default there is none of those, so the first one is shown in a comment.
        if section.in_a_row:
            yield from _toml_table(inside, _with_row(section, inside), section.cls, "# ", True)
        elif section.numbers:
            yield from _toml_table(f"{inside}.{section.numbers[0]}", _with_numbers(section, inside), section.cls, "# ")
        else:
            yield from _toml_table(inside, section.doc, section.cls, mark)


def _man_table(path: str, doc: str, cls: type[Any], in_a_row: bool = False) -> Iterator[str]:
    options, sections = _split(cls)
    yield f".SS {_roff(_head(path, in_a_row))}\n{_roff(doc)}\n"
    for option in options:
        yield f'.TP\n.BR {option.name} " = {_roff_argument(toml(option.default))}"\n{_roff(_with_allowed(option))}\n'
    for section in sections:
        inside = f"{path}.{section.name}"
        if section.in_a_row:
            yield from _man_table(inside, _with_row(section, inside), section.cls, True)
        elif section.numbers:
            yield from _man_table(f"{inside}.N", _with_numbers(section, inside), section.cls)
        else:
            yield from _man_table(inside, section.doc, section.cls)


def _with_allowed(option: Option) -> str:
    """What the type alone says already is not said again."""
    limited = option.choices or option.pattern or option.low is not None or option.high is not None
    return f"{option.doc}\nAllowed: {option.allowed}." if limited else option.doc


def _with_numbers(section: Section, path: str) -> str:
    return f"{section.doc}\nAllowed: [{path}.N], N from {section.allowed}. By default there is none."


def _with_row(section: Section, path: str) -> str:
    return f"{section.doc}\nAllowed: any number of [[{path}]]. By default there is none."


def _comment(text: str) -> str:
    lines: list[str] = []
    for paragraph in text.strip().split("\n\n"):
        for line in _logical_lines(paragraph):
            lines.extend(textwrap.wrap(line, 98, break_long_words=False, break_on_hyphens=False))
        lines.append("")
    return "".join(f"# {line}".rstrip() + "\n" for line in lines[:-1])


def _logical_lines(paragraph: str) -> list[str]:
    """What is allowed starts a line of its own; everything else is filled."""
    text, mark, allowed = paragraph.partition("\nAllowed: ")
    return [text.replace("\n", " "), *([mark.strip() + " " + allowed] if mark else [])]


def _roff(text: str) -> str:
    """Running text: a backslash, a hyphen and a control character at the start of a line would mean something else."""
    escaped = text.strip().replace("\\", "\\e").replace("-", "\\-")
    lines = textwrap.wrap(escaped, 110, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"\\&{line}" if line[0] in ".'" else line for line in lines)


def _roff_argument(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
