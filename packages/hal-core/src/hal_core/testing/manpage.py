"""A manual page as its tests read it: words without fonts and macros, section by section."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

#: An option, and not the end of a word.
OPTION = r"(?<![\w`-])--[a-z][a-z-]*"

_LAYOUT = r"\.(T|RS|RE|PP|IP|nf|fi|br|in|EX|EE)|'"  # requests that say nothing (man(7), groff_man(7), tbl(1))
_CHARACTERS = {"\\-": "-", "\\(aq": "'", "\\(dq": '"'}


def words(page: Path) -> str:
    """The page's words, one line a request; headings begin with "# "."""
    lines = []
    for line in re.sub(r"\\f[BIPR]", "", page.read_text()).splitlines():
        if re.match(r"\.S[HS] ", line):
            lines.append("# " + line[4:])
        elif re.match(_LAYOUT, line):
            lines.append("")
        else:
            spaced = re.sub(r"^\.(BR|RB|IR|RI|BI)\s+", "\t", line)
            # Alternating fonts join their words; quotes keep blanks.
            if spaced.startswith("\t"):
                spaced = "".join(quoted or word for quoted, word in re.findall(r'"([^"]*)"|(\S+)', spaced))
            lines.append(re.sub(r"^\.[BI]\s+", "", spaced))
    text = "\n".join(lines)
    for escaped, character in _CHARACTERS.items():
        text = text.replace(escaped, character)
    return text


def section(page: str, name: str) -> str:
    """What is below one heading.

    :param page: from :func:`words`.
    """
    found = re.search(rf"^# {re.escape(name)}\n(.*?)(?=^# |\Z)", page, re.MULTILINE | re.DOTALL)
    if not found:
        raise AssertionError(f"no section {name}")
    return found[1]


def described(page: str, verbs: Iterable[str]) -> dict[str, str]:
    """What the page says about each verb: from its entry to the next verb's."""
    parts = re.split(rf"^({'|'.join(verbs)})(?= |$)", section(page, "VERBS"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))
