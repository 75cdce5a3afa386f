"""Text tables."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hal_core import table


def test_columns_are_aligned_and_numbers_to_the_right() -> None:
    rows = [("sda", 1000, "fast"), ("nvme0n1", 5, None), ("sdb", 70, "")]
    assert table.render(["disk", "GiB", "note"], rows, indent="  ") == (
        "  disk      GiB  note\n  sda      1000  fast\n  nvme0n1     5  -\n  sdb        70  -"
    )


def test_a_column_that_is_not_all_numbers_is_aligned_to_the_left() -> None:
    assert table.render(["n"], [[1], [True]]) == "n\n1\nTrue"
    assert table.render(["number"], [[10], [None]]) == "number\n10\n-"


def test_an_empty_table_is_its_headers() -> None:
    assert table.render(["a", "bb"], []) == "a  bb"


cells = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)


@given(rows=st.lists(st.tuples(cells, cells, cells), min_size=1))
def test_nothing_is_cut_off_and_columns_begin_together(rows: list[tuple[str, str, str]]) -> None:
    lines = table.render(["a", "b", "c"], rows).split("\n")
    assert [tuple(line.split()) for line in lines[1:]] == rows
    starts = {line.index("  " + row[1], len(row[0])) for line, row in zip(lines[1:], rows)} if rows else set()
    width = max(1, *(len(row[0]) for row in rows))
    assert all(line[width : width + 2] == "  " and line[width + 2] != " " for line in lines)
    assert starts <= set(range(width + 1))
