"""Gives Python programs the distribution's interpreter and options, for %py3_shebang_fix: PYTHON FLAGS FILE…."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def main() -> None:
    python, flags, *files = sys.argv[1:]
    for file in map(Path, files):
        if file.is_symlink() or not file.is_file():
            continue
        first, newline, rest = file.read_bytes().partition(b"\n")
        match = re.match(rb"#!\s*\S*?(?:env\s+(?:-S\s+)?)?[^\s/]*python[0-9.]*(?:\s+-([A-Za-z]+))?\s*$", first)
        if match is None:
            continue
        had = (match[1] or b"").decode()
        options = flags + "".join(option for option in had if option not in flags)
        # With a space, as EL's pathfix.py writes it.
        file.write_bytes(f"#! {python}{' -' + options if options else ''}".encode() + newline + rest)


if __name__ == "__main__":
    main()
