"""Text with colours for a terminal, as ECMA-48 has it: only what is not there already."""

from __future__ import annotations

from collections.abc import Sequence

from hal_console.screen.letters import UNKNOWN, Cell

_MOSTLY = 0.5  # of the cells that are not blank: from there on it is no text


class TextScreen:
    """What a terminal of so many columns and lines shows of a product's text.

    A larger product's lower lines are shown: that is where a command line is.
    """

    def __init__(self, columns: int, lines: int) -> None:
        self.columns = columns
        self.lines = lines
        self._shown: list[list[Cell]] = []

    def forget(self) -> None:
        """Nobody knows what is on the terminal."""
        self._shown = []

    def show(self, rows: Sequence[Sequence[Cell]], graphics: str) -> str:
        """What to write.

        :param graphics: said in place of a picture that is no text.
        """
        if mostly_unknown(rows):
            rows = [[Cell(letter, 7, 0) for letter in graphics]]
        visible = [list(row[: self.columns]) for row in rows[-self.lines :]]
        parts = []
        if len(visible) != len(self._shown):
            parts.append("\033[0m\033[2J")
            self._shown = [[] for _ in visible]
        cursor = None
        for number, (row, before) in enumerate(zip(visible, self._shown), 1):
            cursor = next(((number, column) for column, cell in enumerate(row, 1) if cell.cursor), cursor)
            if row != before:
                parts.append(f"\033[{number}H{_line(row)}\033[0m\033[K")
        self._shown = visible
        if cursor:
            parts.append("\033[{};{}H".format(*cursor))
        return "".join(parts)


def mostly_unknown(rows: Sequence[Sequence[Cell]]) -> bool:
    cells = [cell for row in rows for cell in row if cell.letter != " "]
    return sum(cell.letter == UNKNOWN for cell in cells) > _MOSTLY * len(cells)


def _line(row: Sequence[Cell]) -> str:
    end = len(row)
    while end and row[end - 1].letter == " " and not row[end - 1].paper:
        end -= 1
    parts, colours = [], (-1, -1)
    for cell in row[:end]:
        if (cell.ink, cell.paper) != colours:
            colours = (cell.ink, cell.paper)
            parts.append(f"\033[{_code(cell.ink, 30)};{_code(cell.paper, 40)}m")
        parts.append(cell.letter)
    return "".join(parts)


def _code(colour: int, normal: int) -> int:
    """SGR: 30 to 37 and 40 to 47, the bright ones 60 higher (xterm, and Linux since 4.13)."""
    return normal + (colour & 7) + (60 if colour & 8 else 0)
