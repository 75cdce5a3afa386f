"""The quick reader reads what json reads, refuses what json refuses, and does not import it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from hal_core import quickjson

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(value=values, indent=st.none() | st.integers(0, 3), space=st.text(alphabet=" \t\r\n", max_size=3))
def test_every_value_reads_back(value: object, indent: int | None, space: str) -> None:
    assert quickjson.loads(space + json.dumps(value, indent=indent) + space) == value


@given(text=st.text() | values.map(json.dumps).flatmap(lambda text: st.integers(0, len(text)).map(lambda n: text[:n])))
def test_it_accepts_just_what_json_accepts(text: str) -> None:
    assert outcome(quickjson.loads, text) == outcome(json.loads, text)


def outcome(loads: Callable[[str], object], text: str) -> str:
    """The value or the complaint, as text, in which NaN equals itself."""
    try:
        return repr(loads(text))
    except ValueError as error:
        return f"ValueError: {error}"


def test_it_does_not_import_json() -> None:
    program = "import sys; from hal_core import quickjson; quickjson.loads('{}'); print('json' in sys.modules)"
    path = str(quickjson.__file__).rpartition("/hal_core/")[0]
    run = subprocess.run(
        [sys.executable, "-ISc", f"import sys; sys.path.insert(0, {path!r}); {program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "False\n"
