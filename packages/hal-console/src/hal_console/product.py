"""How the product is doing, from the files of hal-vmm's guest manager: read as data, and none of it believed blindly.

``<run>/vmm/state.json`` and ``<run>/vmm/rescue`` are contracts between the packages (docs/architecture.md).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

_LONGEST = 300  # characters of a reason that are shown


@dataclass(frozen=True)
class Product:
    """:ivar state: the guest manager's word, "running" or "rescue"; "" where it has not said anything yet."""

    state: str = ""
    why: str = ""
    last_exit: str = ""  # why its last run ended; "" where that is not known
    missed: int = 0  # heartbeats
    rescue: str = ""  # what the guest manager says when it has given up


def read(run_dir: str) -> Product:
    """What is known now. A file that is missing or damaged is nothing known: the screen has to show something."""
    try:
        with open(os.path.join(run_dir, "vmm", "state.json"), encoding="utf-8") as file:
            saved = json.load(file)
    except (OSError, ValueError, RecursionError):
        saved = {}
    if not isinstance(saved, dict):
        saved = {}
    last, missed = saved.get("last_exit"), saved.get("missed")
    return Product(
        state=_line(saved.get("state")),
        why=_line(saved.get("why")),
        last_exit=_line(last.get("reason")) if isinstance(last, dict) else "",
        missed=missed if type(missed) is int else 0,
        rescue=_rescue(os.path.join(run_dir, "vmm", "rescue")),
    )


def _rescue(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(4 * _LONGEST)
    except OSError:
        return ""
    return "\n".join(_line(line) for line in text.splitlines())


def _line(value: object) -> str:
    """One line of printable ASCII: it goes to a terminal, which obeys what is not."""
    text = value[:_LONGEST] if isinstance(value, str) else ""
    text = text.replace("→", "->").replace("…", "...")
    return "".join(letter if letter.isascii() and letter.isprintable() else " " for letter in text).strip()
