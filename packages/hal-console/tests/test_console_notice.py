"""What the screen says while there is no product on it, and when."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal_console import notice, product
from hal_console.product import Product

RESCUE = "The product has crashed 5 times within 30 minutes; it is not started again.\nTry again with: hal vmm start"


@pytest.mark.parametrize(
    ("state", "since", "expected"),
    [
        ("running", None, False),
        ("starting", 10.0, False),  # for a moment the last picture stays
        ("starting", 8.0, False),
        ("starting", 7.0, True),
        ("restarting", -math.inf, True),  # there never was a picture
        ("rescue", 10.0, True),
        ("stopped", 10.0, True),
        ("host reboot", 10.0, True),
        ("rescue", None, False),  # QEMU is there: its picture says more
    ],
)
def test_when(state: str, since: Optional[float], expected: bool) -> None:
    assert notice.due(Product(state), since, now=10.0) is expected


def test_the_rescue_state_says_what_to_do() -> None:
    said = notice.lines(Product("rescue", why="too many crashes", rescue=RESCUE))
    assert said[1] == "Please call the support of its vendor, and read this to them."
    assert said[3:] == RESCUE.splitlines()


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (Product(), "The product is being started."),
        (Product("restarting", "crashed; next start in 2 s", "heartbeats-missed"), "It had missed its heartbeats"),
        (Product("restarting", "", "guest-panic"), "Its operating system had crashed."),
        (Product("stopped", "hal vmm stop; start it again with: hal vmm start"), "hal vmm start"),
        (Product("host power-off"), "switches itself off"),
        (Product("something that a later version says"), "The product is being started."),
    ],
)
def test_what(known: Product, expected: str) -> None:
    assert expected in "\n".join(notice.lines(known))


@given(st.lists(st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=200), min_size=1, max_size=8))
@pytest.mark.parametrize(("columns", "rows"), [(80, 25), (160, 50), (40, 12), (22, 3)])
def test_a_page_fits_its_screen(columns: int, rows: int, paragraphs: list[str]) -> None:
    lines = notice.page(paragraphs, columns, rows).split("\r\n")
    assert len(lines) <= rows
    assert max(map(len, lines)) <= columns


def test_a_page_is_in_the_middle() -> None:
    assert notice.page(["one"], 9, 5) == "\r\n\r\n   one"


# --- what is read of hal-vmm's files ----------------------------------------------------------------------------------


def state(tmp_path: Path, content: object, rescue: Optional[str] = None) -> Product:
    (tmp_path / "vmm").mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "vmm" / "state.json").write_text(text)
    if rescue is not None:
        (tmp_path / "vmm" / "rescue").write_text(rescue)
    return product.read(str(tmp_path))


def test_a_state_file(tmp_path: Path) -> None:
    saved = {"state": "restarting", "why": "crashed", "missed": 5, "last_exit": {"reason": "heartbeats-missed"}}
    assert state(tmp_path, saved) == Product("restarting", "crashed", "heartbeats-missed", 5)


def test_nothing_is_known_without_one(tmp_path: Path) -> None:
    assert product.read(str(tmp_path)) == Product()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "[" * 100000, {"state": 7, "why": [], "last_exit": 3}])
def test_a_damaged_one_is_none(tmp_path: Path, content: object) -> None:
    assert state(tmp_path, content) == Product()


def test_what_a_terminal_would_obey_does_not_reach_it(tmp_path: Path) -> None:
    saved = {"state": "rescue", "why": "died: \x1b[2J\x9b31mqemu → gone\nevil"}
    read = state(tmp_path, saved, "a\x1b]0;x\x07b\n→ c\n" + "x" * 5000)
    assert read.why == "died:  [2J 31mqemu -> gone evil"
    assert read.rescue.splitlines()[:2] == ["a ]0;x b", "-> c"]
    assert len(read.rescue) < 1300
