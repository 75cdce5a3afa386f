"""Reading JSON without importing ``json``, for the programs whose start-up time is felt.

``import json`` costs nearly as much again as a bare interpreter's start (docs/benchmarks.md), because its pure-Python
half compiles regular expressions. The scanner inside CPython, which ``json`` itself uses, needs none of that.
"""

from __future__ import annotations

from _json import make_scanner

TYPE_CHECKING = False  # typing.TYPE_CHECKING, without importing typing
if TYPE_CHECKING:
    from typing import Any

_WHITE_SPACE = " \t\n\r"


class _Context:
    """The part of ``json.JSONDecoder`` that the scanner looks at."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def loads(text: str) -> Any:
    """The value of a JSON text.

    :raise ValueError: not JSON, cut short, or with something behind it; the message says where.
    """
    start = len(text) - len(text.lstrip(_WHITE_SPACE))
    try:
        value, end = make_scanner(_Context())(text, start)  # type: ignore[arg-type]  # any object with those names does
    except (StopIteration, SystemError, ValueError):
        end = None
    if end is None or text[end:].strip(_WHITE_SPACE):
        import json  # only now: it says precisely what is wrong

        return json.loads(text)
    return value
