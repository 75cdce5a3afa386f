"""Text tables that people can read: aligned columns, no lines, nothing cut off."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def render(headers: Sequence[str], rows: Iterable[Sequence[object]], indent: str = "") -> str:
    """A table as text, without a trailing newline; ``None`` and the empty string are shown as a dash.

    Columns in which every value is an ``int`` or ``float`` are aligned to the right.
    """
    data = [list(row) for row in rows]
    cells = [[_cell(value) for value in row] for row in data]
    right = [bool(data) and all(_is_number(row[column]) for row in data) for column in range(len(headers))]
    widths = [max([len(header), *(len(row[column]) for row in cells)]) for column, header in enumerate(headers)]
    lines = [_line(headers, widths, right), *(_line(row, widths, right) for row in cells)]
    return "\n".join(indent + line for line in lines)


def _cell(value: object) -> str:
    return "-" if value is None or value == "" else str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (
        cell.rjust(width) if to_right else cell.ljust(width) for cell, width, to_right in zip(cells, widths, right)
    )
    return "  ".join(padded).rstrip()
